"""Skinned, textured surfaces made by sweeping cross-sections, and their merger into one figure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .skeleton import BONE, BONES
from .transforms import Array, Floats, Ints, monotone_cubic, smoothstep, unit

Weigher = Callable[[Array], Array]
Painter = Callable[[Array], Array]

ATLAS_WIDTH = 256
_PAD = 8


@dataclass(frozen=True)
class Surface:
    """One textured grid at rest.

    Attributes:
        vertices: `[V, 3]` metres, in the person's frame.
        normals: `[V, 3]` unit, outwards.
        weights: `[V, B]` share of each bone, rows sum to 1.
        uv: `[V, 2]` texture position, 0..1 in x and y.
        rings: The vertices are a grid of so many rings.
        inside_out: The grid's own winding faces inwards.
        texture: `[h, w, 3]` float32 linear colour.
        gloss: Strength of the highlight, 0 (cloth) to 1.
    """

    vertices: Array
    normals: Array
    weights: Array
    uv: Array
    rings: int
    inside_out: bool
    texture: Floats
    gloss: float = 0.0

    def thinned(self, detail: float) -> "Surface":
        """Keep a share of the rings and of the columns, the ends included."""
        rings, columns = self.rings, len(self.vertices) // self.rings
        keep_r, keep_c = max(4, round(detail * rings)), max(7, round(detail * columns))
        if keep_r >= rings and keep_c >= columns:
            return self
        r = np.unique(np.rint(np.linspace(0, rings - 1, min(keep_r, rings))).astype(np.int64))
        c = np.unique(np.rint(np.linspace(0, columns - 1, min(keep_c, columns))).astype(np.int64))
        kept = (r[:, None] * columns + c).ravel()
        return replace(
            self,
            vertices=self.vertices[kept],
            normals=self.normals[kept],
            weights=self.weights[kept],
            uv=self.uv[kept],
            rings=len(r),
        )

    def faces(self) -> Ints:
        """Triangles, counter-clockwise seen from outside, `[F, 3]`."""
        columns = len(self.vertices) // self.rings
        r, c = np.meshgrid(np.arange(self.rings - 1), np.arange(columns - 1), indexing="ij")
        a = (r * columns + c).ravel()
        b, d, e = a + 1, a + columns, a + columns + 1
        faces = np.concatenate([np.stack([a, b, e], 1), np.stack([a, e, d], 1)])
        return faces[:, ::-1] if self.inside_out else faces


@dataclass(frozen=True)
class Station:
    """One cross-section of a loft: a super-ellipse that may be flatter at the back.

    Attributes:
        at: Position along the loft's axis, metres.
        front: Radius towards the front, metres.
        back: Radius towards the back, metres.
        side: Radius sideways, metres.
        shift: Offset of the centre towards the front, metres.
        square: 2 is an ellipse, larger is boxier.
    """

    at: float
    front: float
    back: float
    side: float
    shift: float = 0.0
    square: float = 2.0


def stations(
    rows: Sequence[tuple[float, ...]], scale: float = 1.0, *, square: float = 2.0, shift: float = 0.0
) -> list[Station]:
    """Stations from a table.

    Args:
        rows: (at, radius), (at, thickness, side) or (at, front, back, side).
        scale: Metres a unit of the table and of `shift`.
        square: See `Station`.
        shift: See `Station`.
    """
    columns = {2: (0, 1, 1, 1), 3: (0, 1, 1, 2), 4: (0, 1, 2, 3)}
    result = []
    for row in rows:
        at, front, back, side = (scale * row[i] for i in columns[len(row)])
        result.append(Station(at, front, back, side, scale * shift, square))
    return result


class Loft:
    """A tube through stations.

    Args:
        stations: Cross-sections from one end to the other.
        base: `[3]` point of the axis where `at` is 0.
        axis: Unit vector along which `at` runs.
        front: Unit vector of the front direction.
        side: Unit vector of the side direction.
        displace: Moves points of the tube, `[N, 3] -> [N, 3]`; for noses, curled fingers, hats.
    """

    def __init__(
        self,
        stations: Sequence[Station],
        *,
        base: Array | None = None,
        axis: tuple[float, float, float] = (0.0, 0.0, 1.0),
        front: tuple[float, float, float] = (1.0, 0.0, 0.0),
        side: tuple[float, float, float] = (0.0, 1.0, 0.0),
        displace: Callable[[Array], Array] | None = None,
    ) -> None:
        self._table = np.array([[s.at, s.front, s.back, s.side, s.shift, s.square] for s in stations])
        girth = self._table[:, 1] + self._table[:, 2] + self._table[:, 3]
        # Rings are spaced by the length of the outline, so that closing caps get their share.
        steps = np.hypot(np.diff(self._table[:, 0]), 0.5 * np.diff(girth)) + 1e-6
        self._knots = np.concatenate([[0.0], np.cumsum(steps)]) / np.sum(steps)
        self._base = np.zeros(3) if base is None else base
        self._axis, self._front, self._side = (np.array(v) for v in (axis, front, side))
        self._displace = displace

    def points(self, around: Array, along: Array) -> Array:
        """Points of the tube, `[len(along), len(around), 3]`.

        Args:
            around: Angles, radians; 0 is the front, pi / 2 the side.
            along: 0 (first station) to 1 (last station).
        """
        ring = monotone_cubic(self._knots, self._table, along)[:, :, None]
        at, front, back, side, shift, square = (ring[:, i] for i in range(6))
        c, s = np.cos(around)[None], np.sin(around)[None]
        power = 2.0 / square
        x = np.sign(c) * np.abs(c) ** power * np.where(c >= 0, front, back) + shift
        y = np.sign(s) * np.abs(s) ** power * side
        grid = self._base + at[:, :, None] * self._axis + x[:, :, None] * self._front + y[:, :, None] * self._side
        return self._displace(grid) if self._displace else grid

    def surface(
        self,
        weigh: Weigher,
        paint: Painter,
        *,
        rings: int,
        columns: int,
        gloss: float = 0.0,
        texture_size: tuple[int, int] = (128, 128),
        dense_front: float = 0.0,
    ) -> Surface:
        """Mesh and paint the tube.

        Args:
            weigh: Bone weights of rest points, `[N, 3] -> [N, B]`.
            paint: Display colour (0..1) of rest points, `[h, w, 3] -> [h, w, 3]`.
            rings: Cross-sections in the mesh.
            columns: Faces around.
            gloss: Strength of the highlight.
            texture_size: Height and width of the texture, texels.
            dense_front: 0 spaces columns evenly, towards 1 crowds them at the front.
        """
        u = np.linspace(0.0, 1.0, columns + 1)
        v = np.linspace(0.0, 1.0, rings)
        grid = self.points(_angles(u, dense_front), v)
        h, w = texture_size
        texel_u, texel_v = (np.arange(w) + 0.5) / w, (np.arange(h) + 0.5) / h
        colours = paint(self.points(_angles(texel_u, dense_front), texel_v))
        normals, inside_out = grid_normals(grid)
        vertices = grid.reshape(-1, 3)
        uv = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
        return Surface(vertices, normals, weigh(vertices), uv, rings, inside_out, to_linear(colours), gloss)


def _angles(u: Array, dense_front: float) -> Array:
    """Angle of a texture column; the seam is at the back, the front is u = 0.5."""
    t = 2.0 * u - 1.0
    return np.asarray(np.pi * t * (1.0 - dense_front * (1.0 - np.abs(t))))


def grid_normals(grid: Array) -> tuple[Array, bool]:
    """Outward normals of a tube.

    Args:
        grid: `[R, C, 3]` rings whose first and last columns coincide.

    Returns:
        `(normals [R * C, 3], whether the grid's own winding faces inwards)`.
    """
    left = np.concatenate([grid[:, -2:-1], grid[:, :-1]], axis=1)
    right = np.concatenate([grid[:, 1:], grid[:, 1:2]], axis=1)
    normals = unit(np.cross(right - left, np.gradient(grid, axis=0)))
    middle = grid.mean(axis=1, keepdims=True)
    inside_out = float(np.sum(normals * (grid - middle))) < 0
    if inside_out:
        normals = -normals
    # A ring closed to a point has no direction of its own: it points along the tube.
    for end, inner in ((0, 1), (-1, -2)):
        if np.ptp(grid[end], axis=0).max() < 1e-4:
            normals[end] = unit(middle[end] - middle[inner])
    return normals.reshape(-1, 3), inside_out


def to_linear(colours: Array) -> Floats:
    """Display colours 0..1 to linear light (gamma 2, the renderer's own)."""
    return np.square(np.clip(colours, 0.0, 1.0)).astype(np.float32)


def rigid(bone: str) -> Weigher:
    """Weights of a part that moves with one bone."""

    def weigh(points: Array) -> Array:
        weights = np.zeros((len(points), len(BONES)))
        weights[:, BONE[bone]] = 1.0
        return weights

    return weigh


def chain(bones: Sequence[str], joints: Sequence[float], softness: float, axis: int = 2) -> Weigher:
    """Weights of a tube along a chain of bones that runs down an axis.

    Args:
        bones: From the highest to the lowest.
        joints: Coordinate of the joint between each two neighbours, metres.
        softness: Half-length of the blend at a joint, metres.
        axis: Coordinate that falls along the chain.
    """

    def weigh(points: Array) -> Array:
        weights = np.zeros((len(points), len(BONES)))
        rest = np.ones(len(points))
        for bone, joint in zip(bones, joints, strict=False):
            beyond = smoothstep(joint + softness, joint - softness, points[:, axis])
            weights[:, BONE[bone]] = rest * (1.0 - beyond)
            rest = rest * beyond
        weights[:, BONE[bones[-1]]] += rest
        return weights

    return weigh


@dataclass(frozen=True)
class Figure:
    """All surfaces of one person, merged, with a texture pyramid.

    Attributes:
        vertices: `[V, 3]` rest positions, metres.
        normals: `[V, 3]`.
        weights: `[V, B]` float32.
        uv: `[V, 2]` float32 position in the atlas, pixels of level 0.
        gloss: `[V]` float32.
        faces: `[F, 3]`.
        atlas: Linear-colour textures from full size down, each half of the one before.
    """

    vertices: Array
    normals: Array
    weights: Floats
    uv: Floats
    gloss: Floats
    faces: Ints
    atlas: tuple[Floats, ...]


def assemble(surfaces: Sequence[Surface], *, detail: float = 1.0) -> Figure:
    """Merge surfaces; their textures are stacked in one atlas of fixed width.

    Args:
        surfaces: The parts.
        detail: Share of rings and columns to keep.
    """
    surfaces = [s.thinned(detail) for s in surfaces]
    uv, faces, tiles = [], [], []
    row = start = 0
    for surface in surfaces:
        h, w = surface.texture.shape[:2]
        inner = ATLAS_WIDTH - 2 * _PAD
        if w != inner:
            tile = cv2.resize(surface.texture, (inner, h), interpolation=cv2.INTER_LINEAR)
        else:
            tile = surface.texture
        # Sides wrap around the tube; ends repeat, so that smaller pyramid levels do not bleed.
        tile = cv2.copyMakeBorder(tile, 0, 0, _PAD, _PAD, cv2.BORDER_WRAP)
        tile = cv2.copyMakeBorder(tile, _PAD, _PAD, 0, 0, cv2.BORDER_REPLICATE)
        tiles.append(tile)
        uv.append(surface.uv * (inner, h) + (_PAD - 0.5, row + _PAD - 0.5))
        faces.append(surface.faces() + start)
        row += tile.shape[0]
        start += len(surface.vertices)
    atlas = [np.concatenate(tiles)]
    for _ in range(3):
        atlas.append(cv2.resize(atlas[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return Figure(
        vertices=np.concatenate([s.vertices for s in surfaces]),
        normals=np.concatenate([s.normals for s in surfaces]),
        weights=np.concatenate([s.weights for s in surfaces]).astype(np.float32),
        uv=np.concatenate(uv).astype(np.float32),
        gloss=np.concatenate([np.full(len(s.vertices), s.gloss, np.float32) for s in surfaces]),
        faces=np.concatenate(faces),
        atlas=tuple(np.ascontiguousarray(level) for level in atlas),
    )
