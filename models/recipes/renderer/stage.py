"""The still part of a scene: ground and textured panels, painted once with their distances.

The camera of a scene turns and zooms but does not walk, so one picture larger than the frame, with the distance
of each pixel from the camera, serves all frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .camera import Camera
from .ground import GroundPainter, SkyPainter
from .transforms import Array, Floats, unit

FAR = 1000.0


@dataclass(frozen=True)
class Panel:
    """A textured rectangle in the world.

    Attributes:
        corner: `[3]` top-left corner as one looks at it, metres.
        right: `[3]` from the top-left to the top-right corner.
        down: `[3]` from the top-left to the bottom-left corner.
        texture: `[h, w, 4]` float32 linear colour and cover (0..1).
        shade: Factor on the colour.
        casts: Throws a shadow on the ground.
    """

    corner: Array
    right: Array
    down: Array
    texture: Floats
    shade: float = 1.0
    casts: bool = False

    @property
    def middle(self) -> Array:
        """Centre, `[3]`."""
        return np.asarray(self.corner + 0.5 * self.right + 0.5 * self.down)


class GroundShadows:
    """Sun shadows that panels throw on the ground in front of the camera.

    Args:
        panels: Those with `casts` count.
        along: `[2]` ground distance that a shadow runs for each metre of height.
        softness: Blur of the edges, metres.
    """

    _LOW = np.array([-16.0, 0.0])
    _SIZE_M = (32.0, 26.0)
    _SCALE = 24.0

    def __init__(self, panels: Sequence[Panel], along: Array, softness: float) -> None:
        size = (int(self._SIZE_M[0] * self._SCALE), int(self._SIZE_M[1] * self._SCALE))
        self._map = np.zeros((size[1], size[0]), np.float32)
        for panel in panels:
            if not panel.casts:
                continue
            corners = panel.corner + np.array([np.zeros(3), panel.right, panel.right + panel.down, panel.down])
            ground = (corners[:, :2] - corners[:, 2:] * along - self._LOW) * self._SCALE
            cover = cv2.resize(panel.texture[..., 3], (64, 64), interpolation=cv2.INTER_AREA)
            source = np.array([(0, 0), (64, 0), (64, 64), (0, 64)], np.float32) - 0.5
            edge_on = abs(float(cv2.contourArea(ground.astype(np.float32)))) < 1.0
            if not edge_on:
                matrix = cv2.getPerspectiveTransform(source, ground.astype(np.float32))
                np.maximum(self._map, cv2.warpPerspective(cover, matrix, size), out=self._map)
            # What stands on the ground darkens it close by, whatever the sun does.
            if corners[2:, 2].max() < 0.05:
                foot = np.rint((corners[2:, :2] - self._LOW) * self._SCALE).astype(int)
                cv2.line(self._map, foot[0].tolist(), foot[1].tolist(), 1.0, 3)
        self._map = cv2.GaussianBlur(self._map, (0, 0), max(0.8, softness * self._SCALE))

    def at(self, x: Array, y: Array) -> Array:
        """Share of the sun that is hidden at ground positions, of the shape of `x`."""
        u, v = ((value - low) * self._SCALE for value, low in ((x, self._LOW[0]), (y, self._LOW[1])))
        # Coordinates far outside would overflow the fixed point of cv2.remap.
        u, v = (np.clip(value, -10, 10_000).astype(np.float32) for value in (u, v))
        return np.asarray(cv2.remap(self._map, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT))


@dataclass(frozen=True)
class Backdrop:
    """The painted stage.

    Attributes:
        camera: The camera that painted it; frames are taken by cameras at the same place.
        colour: `[H, W, 3]` float32 linear.
        distance: `[H, W]` float32 metres from the camera.
        ground: `[H, W]` float32, 1 where the picture shows level ground that can take a shadow.
    """

    camera: Camera
    colour: Floats
    distance: Floats
    ground: Floats

    def seen_by(self, camera: Camera) -> tuple[Floats, Floats, Floats]:
        """Colour, distance and ground mask in the picture of `camera`."""
        matrix = camera.homography_from(self.camera)
        size = (camera.width, camera.height)
        colour = cv2.warpPerspective(self.colour, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        distance = cv2.warpPerspective(
            self.distance, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
        )
        ground = cv2.warpPerspective(self.ground, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return colour, distance, ground


def paint_backdrop(
    camera: Camera,
    *,
    sky: SkyPainter,
    ground: GroundPainter,
    panels: Sequence[Panel],
    margin: float = 0.16,
    supersample: float = 2.0,
    blur_beyond: tuple[float, float] | None = None,
) -> Backdrop:
    """Paint sky, ground and panels, the farthest first.

    Args:
        camera: The frames' camera at rest.
        sky: Colour of directions.
        ground: Colour of ground positions.
        panels: Everything upright.
        margin: Extra picture on each side, share of the frame's size.
        supersample: Resolution while painting, against the frame's.
        blur_beyond: (distance in metres, sigma in pixels): what lies farther is out of focus.
    """
    grown = (int(camera.width * (1 + 2 * margin)), int(camera.height * (1 + 2 * margin)))
    final = replace(camera, width=grown[0], height=grown[1])
    size = (int(grown[0] * supersample), int(grown[1] * supersample))
    fine = replace(final, width=size[0], height=size[1], focal_px=camera.focal_px * supersample)
    xy = np.stack(np.meshgrid(np.arange(size[0], dtype=np.float64), np.arange(size[1], dtype=np.float64)), axis=-1)
    rays = fine.rays(xy)
    distance, colour, level = _ground_and_sky(fine, rays, sky, ground)
    for panel in sorted(panels, key=lambda p: -float(np.linalg.norm(p.middle - camera.position))):
        _draw_panel(fine, rays, panel, colour, distance, level)
    if blur_beyond is not None:
        colour = _defocus(colour, distance, blur_beyond[0], blur_beyond[1] * supersample)
    return Backdrop(
        final,
        cv2.resize(colour, grown, interpolation=cv2.INTER_AREA),
        cv2.resize(distance, grown, interpolation=cv2.INTER_NEAREST),
        cv2.resize(level, grown, interpolation=cv2.INTER_AREA),
    )


def _ground_and_sky(
    camera: Camera, rays: Array, sky: SkyPainter, ground: GroundPainter
) -> tuple[Floats, Floats, Floats]:
    height = float(camera.position[2])
    falls = rays[..., 2] < -1e-3
    reach = np.where(falls, -height / np.minimum(rays[..., 2], -1e-3), FAR)
    stretch = np.linalg.norm(rays, axis=-1)
    distance = np.where(falls, np.minimum(reach * stretch, FAR), FAR).astype(np.float32)
    colour = sky(rays / stretch[..., None]).astype(np.float32)
    # The first row that shows ground; all those below do.
    first = int(np.argmax(falls.any(axis=1))) if falls.any() else len(falls)
    part = rays[first:]
    x = camera.position[0] + part[..., 0] * reach[first:]
    y = camera.position[1] + part[..., 1] * reach[first:]
    # One pixel covers this much ground in depth.
    footprint = reach[first:] ** 2 / (height * camera.focal_px)
    seen = ground(x, y, footprint).astype(np.float32)
    colour[first:] = np.where(falls[first:, :, None], seen, colour[first:])
    return distance, colour, falls.astype(np.float32)


def _draw_panel(camera: Camera, rays: Array, panel: Panel, colour: Floats, distance: Floats, level: Floats) -> None:
    """Paint one panel over what is there, in place; parts behind nearer things stay hidden."""
    corners = panel.corner + np.array([np.zeros(3), panel.right, panel.right + panel.down, panel.down])
    xy, depth = camera.project(corners)
    if depth.min() < 0.1:
        return
    low = np.maximum(np.floor(xy.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(xy.max(axis=0)).astype(int) + 1, (camera.width, camera.height))
    if (high <= low).any():
        return
    texture = _reduced(panel.texture, float(np.linalg.norm(xy[1] - xy[0])), float(np.linalg.norm(xy[3] - xy[0])))
    h, w = texture.shape[:2]
    source = np.array([(0, 0), (w, 0), (w, h), (0, h)], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(source, (xy - low).astype(np.float32))
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    warped = cv2.warpPerspective(texture, matrix, size, flags=cv2.INTER_LINEAR)
    window = (slice(low[1], high[1]), slice(low[0], high[0]))
    normal = unit(np.cross(panel.right, panel.down))
    local = rays[window]
    facing = local @ normal
    reach = ((panel.corner - camera.position) @ normal) / np.where(np.abs(facing) < 1e-9, 1e-9, facing)
    away = reach * np.linalg.norm(local, axis=-1)
    seen = ((away > 0.1) & (away < distance[window] + 0.02)).astype(np.float32)[..., None]
    cover = warped[..., 3:] * seen
    colour[window] = colour[window] * (1.0 - cover) + warped[..., :3] * (panel.shade * seen)
    solid = cover[..., 0] > 0.5
    distance[window][solid] = away[solid]
    level[window] *= 1.0 - cover[..., 0]


def _reduced(texture: Floats, width_px: float, height_px: float) -> Floats:
    """Premultiplied texture, shrunk to about its size in the picture so that it does not alias."""
    ready = texture.copy()
    ready[..., :3] *= ready[..., 3:]
    h, w = texture.shape[:2]
    target = (max(2, min(w, int(np.ceil(width_px)))), max(2, min(h, int(np.ceil(height_px)))))
    if target == (w, h):
        return ready
    return np.asarray(cv2.resize(ready, target, interpolation=cv2.INTER_AREA))


def _defocus(colour: Floats, distance: Floats, beyond: float, sigma: float) -> Floats:
    """Blur what is farther than `beyond` without letting nearer colours bleed into it."""
    far = (distance > beyond).astype(np.float32)[..., None]
    blurred = cv2.GaussianBlur(colour * far, (0, 0), sigma)
    weight = cv2.GaussianBlur(far, (0, 0), sigma)
    blurred = blurred / np.maximum(weight[..., None], 1e-3)
    return np.asarray(colour * (1 - far) + blurred * far)
