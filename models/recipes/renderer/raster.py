"""A depth-buffered triangle rasteriser in NumPy, made for many small triangles."""

from dataclasses import dataclass

import numpy as np

from .transforms import Bools, Floats, Ints

# Tolerance of the inside test, so that no pixel falls between two triangles.
_EDGE = np.float32(-1e-4)


@dataclass(frozen=True)
class Fragments:
    """Pixels covered by triangles.

    Attributes:
        pixel: `[P]` row * width + column.
        face: `[P]` number of the triangle.
        share: `[P, 3]` float32 barycentric weight of the triangle's corners.
        depth: `[P]` float32, in the unit of the depths given.
    """

    pixel: Ints
    face: Ints
    share: Floats
    depth: Floats

    def __len__(self) -> int:
        return len(self.pixel)

    def take(self, rows: Bools | Ints) -> "Fragments":
        """A subset."""
        return Fragments(self.pixel[rows], self.face[rows], self.share[rows], self.depth[rows])


def rasterise(xy: Floats, depth: Floats, faces: Ints, *, width: int, height: int, near: float = 0.2) -> Fragments:
    """All pixels of all front-facing triangles, hidden ones included.

    Args:
        xy: `[V, 2]` picture positions; (0, 0) is the centre of the top-left pixel.
        depth: `[V]` distance of the vertices.
        faces: `[F, 3]` vertex numbers; counter-clockwise as seen in the world (y up).
        width: Picture width.
        height: Picture height.
        near: Triangles with a corner nearer than this are left out.
    """
    (ax, bx, cx), (ay, by, cy) = (xy[:, axis][faces].T for axis in (0, 1))
    za, zb, zc = depth[faces].T
    # Twice the signed area; positive faces the camera (the picture's y points down).
    area = (cx - ax) * (by - ay) - (bx - ax) * (cy - ay)
    left = np.maximum(np.ceil(np.minimum(np.minimum(ax, bx), cx)), 0)
    top = np.maximum(np.ceil(np.minimum(np.minimum(ay, by), cy)), 0)
    right = np.minimum(np.floor(np.maximum(np.maximum(ax, bx), cx)), width - 1)
    bottom = np.minimum(np.floor(np.maximum(np.maximum(ay, by), cy)), height - 1)
    ahead = np.minimum(np.minimum(za, zb), zc) > near
    keep = np.flatnonzero((area > 1e-6) & ahead & (right >= left) & (bottom >= top))
    columns = (right[keep] - left[keep]).astype(np.int32) + 1
    rows = (bottom[keep] - top[keep]).astype(np.int32) + 1
    # One candidate for each pixel of each bounding box, triangle after triangle.
    counts = columns * rows
    triangle = np.repeat(np.arange(len(keep), dtype=np.int32), counts)
    inside_box = np.arange(len(triangle), dtype=np.int32) - np.repeat(
        np.cumsum(counts, dtype=np.int32) - counts, counts
    )
    row = inside_box // columns[triangle]
    column = inside_box - row * columns[triangle]
    x0, y0 = left[keep], top[keep]

    def share(px: Floats, py: Floats, qx: Floats, qy: Floats) -> Floats:
        """Weight of the corner opposite to the edge from p to q, for all candidates."""
        inverse = 1.0 / area[keep]
        dx, dy = (qx[keep] - px[keep]) * inverse, (qy[keep] - py[keep]) * inverse
        constant = (py[keep] - y0) * dx - (px[keep] - x0) * dy
        return np.asarray(column * dy[triangle] - row * dx[triangle] + constant[triangle], np.float32)

    s0, s1 = share(bx, by, cx, cy), share(cx, cy, ax, ay)
    s2 = 1.0 - s0 - s1
    inside = np.flatnonzero((s0 >= _EDGE) & (s1 >= _EDGE) & (s2 >= _EDGE))
    triangle = triangle[inside]
    face = keep[triangle]
    pixel = (row[inside] + y0.astype(np.int64)[triangle]) * width + column[inside] + x0.astype(np.int64)[triangle]
    s0, s1, s2 = s0[inside], s1[inside], s2[inside]
    return Fragments(pixel, face, np.stack([s0, s1, s2], axis=1), s0 * za[face] + s1 * zb[face] + s2 * zc[face])


def nearest(fragments: Fragments, pixels: int) -> Fragments:
    """Keep the nearest fragment of each pixel.

    Args:
        fragments: Any order.
        pixels: Width * height of the picture.
    """
    # Positive floats sort like their bit patterns; the farthest is written first and overwritten.
    bits = fragments.depth.astype(np.float32).view(np.int32).astype(np.int64)
    key = ((np.int64(0x7FFFFFFF) - bits) << 32) | np.arange(len(fragments))
    key.sort()
    order = key & 0xFFFFFFFF
    owner = np.full(pixels, -1, np.int64)
    owner[fragments.pixel[order]] = order
    return fragments.take(owner[owner >= 0])
