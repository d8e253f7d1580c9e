"""Light on people: sun, sky, bounce, and the shadows they throw on the ground and on each other."""

from dataclasses import dataclass

import cv2
import numpy as np

from .raster import nearest, rasterise
from .transforms import Array, Floats, Ints, smoothstep, unit


@dataclass(frozen=True)
class Light:
    """Illumination of a scene, linear colours.

    Attributes:
        to_sun: `[3]` unit vector towards the sun; its z is at least 0.25.
        sun: `[3]` colour times strength; small when overcast.
        sky: `[3]` light from above.
        bounce: `[3]` light from the ground.
        softness: Blur of shadow edges on the ground, metres.
    """

    to_sun: Array
    sun: Array
    sky: Array
    bounce: Array
    softness: float

    def on_ground(self) -> Array:
        """Irradiance `[3]` of open level ground."""
        return np.asarray(self.sun * self.to_sun[2] + self.sky)

    def shade(self, normals: Floats, lit: Floats, to_eye: Floats, gloss: Floats) -> tuple[Floats, Floats]:
        """Light that falls on surface points.

        Args:
            normals: `[P, 3]` unit.
            lit: `[P, 2]`: share of the sun that arrives, share of the sky that is open.
            to_eye: `[P, 3]` unit, towards the camera.
            gloss: `[P]` 0..1.

        Returns:
            `(diffuse [P, 3], highlight [P, 3])`; colour = albedo * diffuse + highlight.
        """
        sun_dir = self.to_sun.astype(np.float32)
        facing = normals @ sun_dir
        # A little wrap stands for light that scatters in skin and cloth.
        direct = np.clip((facing + 0.12) / 1.12, 0.0, None) * lit[:, 0]
        up = 0.5 + 0.5 * normals[:, 2]
        diffuse = (
            direct[:, None] * self.sun.astype(np.float32)
            + (up * lit[:, 1])[:, None] * self.sky.astype(np.float32)
            + ((1.0 - up) * (0.35 + 0.65 * lit[:, 1]))[:, None] * self.bounce.astype(np.float32)
        )
        half = sun_dir + to_eye
        half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
        shine = np.clip(np.einsum("pc,pc->p", normals, half), 0.0, 1.0) ** 24
        rim = (1.0 - np.clip(np.einsum("pc,pc->p", normals, to_eye), 0.0, 1.0)) ** 3
        strength = gloss * (0.35 * shine * direct)
        highlight = strength[:, None] * self.sun.astype(np.float32)
        highlight += (0.10 * (gloss + 0.25) * rim * up * lit[:, 1])[:, None] * self.sky.astype(np.float32)
        return diffuse, highlight


@dataclass(frozen=True)
class ShadowMap:
    """Heights of the lowest-lying shadow casters, seen along the sun, on a ground grid.

    Attributes:
        corner: `[2]` ground position of pixel (0, 0), metres.
        scale: Pixels a metre.
        height: `[R, C]` height above which a point is in the sun, metres; 0 where nothing casts.
        contact: `[R, C]` share of the sky that nearby feet hide from the ground, 0..1.
    """

    corner: Array
    scale: float
    height: Floats
    contact: Floats

    def sunlit(self, points: Floats, to_sun: Array) -> Floats:
        """Share of the sun that reaches points, `[N, 3] -> [N]`; averaged over five taps."""
        along = (to_sun[:2] / to_sun[2]).astype(np.float32)
        ground = points[:, :2] - points[:, 2:] * along
        base = (ground - self.corner.astype(np.float32)) * np.float32(self.scale)
        rows, columns = self.height.shape
        total = np.zeros(len(points), np.float32)
        taps = ((0.0, 0.0), (0.9, 0.3), (-0.9, -0.3), (0.3, -0.9), (-0.3, 0.9))
        for dx, dy in taps:
            x = np.clip(np.rint(base[:, 0] + dx), 0, columns - 1).astype(np.int64)
            y = np.clip(np.rint(base[:, 1] + dy), 0, rows - 1).astype(np.int64)
            # The bias keeps a surface from shading itself over one grid step.
            total += self.height[y, x] < points[:, 2] + 0.075
        return np.asarray(total / len(taps))

    def homography(self) -> Array:
        """`[3, 3]` from map pixels to ground metres."""
        s = 1.0 / self.scale
        return np.array([[s, 0.0, self.corner[0]], [0.0, s, self.corner[1]], [0.0, 0.0, 1.0]])

    def dimming(self, light: Light) -> Floats:
        """Factor on ground colour, `[R, C, 3]`: sun shadows blurred by the light's softness, and contact shade."""
        cast = (self.height > 0.0).astype(np.float32)
        sigma = max(0.6, light.softness * self.scale)
        cast = cv2.GaussianBlur(cast, (0, 0), sigma)
        open_sky = (1.0 - self.contact)[..., None]
        light_left = light.sun * light.to_sun[2] * (1.0 - cast)[..., None] + light.sky * open_sky
        return np.asarray(light_left / light.on_ground(), np.float32)


def cast_shadows(
    vertices: Floats, faces: Ints, feet: Array, light: Light, *, pixels_a_metre: float = 36.0, limit: int = 900
) -> ShadowMap:
    """Render what the sun cannot see.

    Args:
        vertices: `[V, 3]` of all people, metres.
        faces: `[F, 3]`.
        feet: `[N, 3]` ankles and toes: where contact shade gathers.
        light: The sun.
        pixels_a_metre: Finest grid.
        limit: Largest side of the grid; a larger area gets a coarser one.
    """
    along = light.to_sun[:2] / light.to_sun[2]
    ground = vertices[:, :2] - vertices[:, 2:] * along.astype(np.float32)
    low = np.minimum(ground.min(axis=0), feet[:, :2].min(axis=0)) - 0.6
    high = np.maximum(ground.max(axis=0), feet[:, :2].max(axis=0)) + 0.6
    scale = min(pixels_a_metre, limit / float((high - low).max()))
    columns, rows = (int(n) for n in np.ceil((high - low) * scale))
    xy = ((ground - low.astype(np.float32)) * np.float32(scale)).astype(np.float32)
    # Seen from the sun the winding is mirrored (the grid's y points up); nearest to the sun = highest.
    xy[:, 1] = rows - 1 - xy[:, 1]
    depth = 50.0 - vertices[:, 2]
    found = nearest(rasterise(xy, depth.astype(np.float32), faces, width=columns, height=rows), rows * columns)
    height = np.zeros(rows * columns, np.float32)
    height[found.pixel] = 50.0 - found.depth
    contact = np.zeros((rows, columns), np.float32)
    for x, y, z in feet:
        near = 0.85 * float(smoothstep(0.30, 0.04, z))
        centre = (int((x - low[0]) * scale), int((y - low[1]) * scale))
        cv2.circle(contact, centre, max(1, int(0.07 * scale)), near, -1)
    wide = cv2.GaussianBlur(contact, (0, 0), 0.22 * scale)
    contact = cv2.GaussianBlur(contact, (0, 0), 0.05 * scale)
    contact = np.clip(0.75 * contact + 1.3 * wide, 0.0, 0.9)
    return ShadowMap(low.astype(np.float64), scale, height.reshape(rows, columns)[::-1].copy(), contact)


def sun_from(azimuth: float, elevation: float) -> Array:
    """Unit vector towards a sun at the given angles, radians."""
    return np.asarray(
        unit(np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]))
    )
