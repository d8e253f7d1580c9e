"""Filming a scene: skin, light, rasterise, average over the exposure, develop."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .camera import Camera
from .light import Light, ShadowMap, cast_shadows
from .raster import Fragments, nearest, rasterise
from .scene import Actor, Lens, RenderedFrame, Scene
from .skeleton import BONE, PosedBones
from .transforms import Array, Floats, Ints
from .truth import Shot, Truth, read_truth

# Balls that stand for the body when it hides the sky from its own skin: bone, radius in metres.
_BALLS = (
    ("head", 0.11),
    ("chest", 0.15),
    ("spine", 0.14),
    ("pelvis", 0.14),
    ("left_shin", 0.07),
    ("right_shin", 0.07),
    ("left_forearm", 0.05),
    ("right_forearm", 0.05),
)


_FEET = [BONE[name] for name in ("left_foot", "left_toes", "right_foot", "right_toes")]
# Between two moments that a frame is averaged from, limbs should move by no more than this, pixels.
_FINEST_BLUR = 3.0


@dataclass(frozen=True)
class Bodies:
    """All actors at one moment, merged.

    Attributes:
        vertices: `[V, 3]` float32 world metres.
        normals: `[V, 3]` float32 unit.
        bones: One entry an actor.
    """

    vertices: Floats
    normals: Floats
    bones: tuple[PosedBones, ...]


class Troupe:
    """The surfaces of all actors, merged once for a scene."""

    def __init__(self, actors: Sequence[Actor]) -> None:
        self.actors = tuple(actors)
        figures = [a.figure for a in actors]
        self.starts = np.cumsum([0, *(len(f.vertices) for f in figures)])
        offsets = zip(figures, self.starts[:-1], strict=True)
        self.faces = np.concatenate([np.zeros((0, 3), np.int64), *(f.faces + s for f, s in offsets)])
        self.face_actor = np.repeat(np.arange(len(figures)), [len(f.faces) for f in figures])
        self.uv = np.concatenate([np.zeros((0, 2), np.float32), *(f.uv for f in figures)])
        self.gloss = np.concatenate([np.zeros(0, np.float32), *(f.gloss for f in figures)])
        self._rest = [np.pad(f.vertices, ((0, 0), (0, 1)), constant_values=1.0).astype(np.float32) for f in figures]
        self._rest_normals = [f.normals.astype(np.float32) for f in figures]

    def at(self, time_s: float) -> Bodies:
        """Skin all actors for a moment."""
        vertices, normals, bones = [np.zeros((0, 3), np.float32)], [np.zeros((0, 3), np.float32)], []
        for actor, rest, rest_normals in zip(self.actors, self._rest, self._rest_normals, strict=True):
            posed = actor.skeleton.solve(actor.motion.pose(time_s))
            matrices = posed.matrices.reshape(-1, 12).astype(np.float32)
            blended = (actor.figure.weights @ matrices).reshape(-1, 3, 4)
            vertices.append(np.matmul(blended, rest[:, :, None])[:, :, 0])
            normals.append(_unit(np.matmul(blended[:, :, :3], rest_normals[:, :, None])[:, :, 0]))
            bones.append(posed)
        return Bodies(np.concatenate(vertices), np.concatenate(normals), tuple(bones))


def _unit(vectors: Floats) -> Floats:
    length = np.sqrt(np.einsum("vi,vi->v", vectors, vectors))
    return np.asarray(vectors / np.maximum(length, 1e-6)[:, None])


def render(scene: Scene, *, frames: int, fps: float, seed: int = 0) -> Iterator[RenderedFrame]:
    """Film a scene.

    Args:
        scene: What is filmed.
        frames: How many frames.
        fps: Frames a second.
        seed: Sensor noise.
    """
    troupe = Troupe(scene.actors)
    sensor = _Sensor(scene.lens, scene.camera, seed)
    for number in range(frames):
        time_s = number / fps
        linear, truth = _expose(scene, troupe, time_s, scene.lens.shutter / fps)
        yield RenderedFrame(sensor.develop(linear, number), time_s, **vars(truth))


def _expose(scene: Scene, troupe: Troupe, time_s: float, open_s: float) -> tuple[Floats, Truth]:
    """Average of the moments while the shutter is open, linear; and the truth at the middle."""
    middle = troupe.at(time_s)
    lighting = _Lighting(scene.light, middle, troupe)
    samples = _samples(scene, troupe, time_s, open_s)
    total = np.zeros((scene.camera.height, scene.camera.width, 3), np.float32)
    shots = []
    for k in range(samples):
        offset = (k - (samples - 1) / 2) / samples
        # Samples look from slightly different sub-pixel places, which smooths edges at no cost.
        jitter = np.array([offset, (0.618034 * k) % 1.0 - 0.5]) * (samples > 1) / scene.camera.focal_px
        camera = scene.move.at(scene.camera, time_s + open_s * offset).turned(yaw=jitter[0], tilt=jitter[1])
        bodies = middle if offset == 0 else troupe.at(time_s + open_s * offset)
        colour, shot = _take(scene, troupe, camera, bodies, lighting)
        total += colour
        shots.append(shot)
    camera = scene.move.at(scene.camera, time_s)
    owner = [
        (a.track_id, b, middle.vertices[s:e])
        for a, b, s, e in zip(troupe.actors, middle.bones, troupe.starts, troupe.starts[1:], strict=False)
    ]
    total /= samples
    return total, read_truth(camera, owner, shots[samples // 2])


def _samples(scene: Scene, troupe: Troupe, time_s: float, open_s: float) -> int:
    """As many moments as it takes to keep fast limbs from falling apart into ghosts."""
    least = scene.lens.samples
    if least == 1:
        return 1
    moved = 0.0
    ends = [(scene.move.at(scene.camera, t), t) for t in (time_s - open_s / 2, time_s + open_s / 2)]
    for actor in troupe.actors:
        (before, depth), (after, _) = (c.project(actor.skeleton.solve(actor.motion.pose(t)).joints) for c, t in ends)
        size = np.array([scene.camera.width, scene.camera.height])
        near = (depth > 0.5) & ((before > -20) & (before < size + 20)).all(axis=1)
        moved = max(moved, float((np.linalg.norm(after - before, axis=1) * near).max()))
    # An odd count has a sample at the middle, where the truth is taken.
    return int(np.clip(np.ceil(moved / _FINEST_BLUR), least, 4 * least)) | 1


class _Lighting:
    """What sun and sky reach, worked out once a frame at its middle moment."""

    def __init__(self, light: Light, bodies: Bodies, troupe: Troupe) -> None:
        self.light = light
        self.shadows: ShadowMap | None = None
        sun = np.ones(len(bodies.vertices), np.float32)
        if bodies.bones:
            feet = np.concatenate([b.origins[_FEET] for b in bodies.bones])
            self.shadows = cast_shadows(bodies.vertices, troupe.faces, feet, light)
            self.dimming = self.shadows.dimming(light)
            sun = self.shadows.sunlit(bodies.vertices, light.to_sun)
        openness = [
            _open_sky(bodies.vertices[s:e], bodies.normals[s:e], b.origins)
            for b, s, e in zip(bodies.bones, troupe.starts, troupe.starts[1:], strict=False)
        ]
        sky = np.concatenate([np.zeros(0, np.float32), *openness])
        self.lit = np.stack([sun, sky], axis=1)


def _open_sky(vertices: Floats, normals: Floats, origins: Array) -> Floats:
    """Share of the sky that a body's own parts leave open, for each of its vertices."""
    hidden = np.zeros(len(vertices), np.float32)
    for bone, radius in _BALLS:
        to_ball = origins[BONE[bone]].astype(np.float32) - vertices
        squared = np.einsum("vi,vi->v", to_ball, to_ball)
        facing = np.einsum("vi,vi->v", normals, to_ball) / np.sqrt(np.maximum(squared, 1e-8))
        hidden += np.clip(facing, 0.0, 1.0) * np.minimum(radius**2 / np.maximum(squared, 1e-8), 1.0)
    return np.asarray(1.0 - np.clip(0.95 * hidden, 0.0, 0.75))


def _take(scene: Scene, troupe: Troupe, camera: Camera, bodies: Bodies, lighting: _Lighting) -> tuple[Floats, Shot]:
    """One sharp picture, linear."""
    colour, distance, ground = scene.backdrop.seen_by(camera)
    size = (camera.width, camera.height)
    if lighting.shadows is not None:
        matrix = camera.ground_homography() @ lighting.shadows.homography()
        dimming = cv2.warpPerspective(
            lighting.dimming, matrix, size, borderMode=cv2.BORDER_CONSTANT, borderValue=(1, 1, 1)
        )
        colour *= 1.0 + ground[..., None] * (dimming - 1.0)
    xy, depth = camera.project(bodies.vertices.astype(np.float64))
    reach = np.linalg.norm(bodies.vertices - camera.position.astype(np.float32), axis=1).astype(np.float32)
    # A distance of 0 takes a triangle that comes too near the lens out of the picture.
    reach[depth < 0.3] = 0.0
    covered = rasterise(xy.astype(np.float32), reach, troupe.faces, width=size[0], height=size[1])
    free = covered.take(covered.depth < distance.ravel()[covered.pixel])
    seen = nearest(free, size[0] * size[1])
    flat = colour.reshape(-1, 3)
    flat[seen.pixel] = _shade(scene, troupe, camera, bodies, lighting, seen)
    distance.ravel()[seen.pixel] = seen.depth
    actor = troupe.face_actor
    return colour, Shot(
        distance,
        _silhouettes(covered, actor, len(troupe.actors), size),
        np.bincount(actor[seen.face], minlength=len(troupe.actors)),
    )


def _silhouettes(fragments: Fragments, face_actor: Ints, actors: int, size: tuple[int, int]) -> Ints:
    """Pixels of each actor's outline in the picture, hidden ones included."""
    owner = face_actor[fragments.face]
    counts = np.zeros(actors, np.int64)
    for i in range(actors):
        mask = np.zeros(size[0] * size[1], np.bool_)
        mask[fragments.pixel[owner == i]] = True
        counts[i] = np.count_nonzero(mask)
    return counts


def _shade(
    scene: Scene, troupe: Troupe, camera: Camera, bodies: Bodies, lighting: _Lighting, seen: Fragments
) -> Floats:
    """Linear colour of the visible fragments, `[P, 3]`."""
    corners = troupe.faces[seen.face]

    def blend(values: Floats) -> Floats:
        a, b, c = (values[corners[:, i]] for i in range(3))
        s = seen.share
        if values.ndim == 1:
            return np.asarray(a * s[:, 0] + b * s[:, 1] + c * s[:, 2])
        return np.asarray(a * s[:, :1] + b * s[:, 1:2] + c * s[:, 2:])

    normals = _unit(blend(bodies.normals))
    to_eye = _unit(camera.position.astype(np.float32) - blend(bodies.vertices))
    diffuse, highlight = scene.light.shade(normals, blend(lighting.lit), to_eye, blend(troupe.gloss))
    return _texture(troupe, camera, seen, blend(troupe.uv)) * diffuse + highlight


def _texture(troupe: Troupe, camera: Camera, seen: Fragments, uv: Floats) -> Floats:
    """Surface colour of fragments, from the pyramid level that fits each actor's distance."""
    colour = np.zeros((len(seen), 3), np.float32)
    owner = troupe.face_actor[seen.face]
    for i, actor in enumerate(troupe.actors):
        rows = np.flatnonzero(owner == i)
        if not len(rows):
            continue
        # Textures have about 400 texels a metre; level 0 suits people some 550 pixels tall.
        pixels_a_metre = camera.focal_px / float(np.median(seen.depth[rows]))
        level = int(np.clip(np.floor(np.log2(330.0 / pixels_a_metre)), 0, len(actor.figure.atlas) - 1))
        colour[rows] = _look_up(actor.figure.atlas[level], (uv[rows] + 0.5) / 2**level - 0.5)
    return colour


def _look_up(atlas: Floats, uv: Floats) -> Floats:
    """Bilinear samples at `[P, 2]` positions; cv2.remap takes pictures, so the list is folded into rows."""
    count = len(uv)
    folded = np.pad(uv, ((0, -count % 256), (0, 0))).astype(np.float32).reshape(-1, 256, 2)
    return np.asarray(cv2.remap(atlas, folded, None, cv2.INTER_LINEAR).reshape(-1, 3)[:count])


class _Sensor:
    """Turns linear light into 8-bit pixels."""

    def __init__(self, lens: Lens, camera: Camera, seed: int) -> None:
        self._lens = lens
        self._seed = seed
        y, x = np.mgrid[0 : camera.height, 0 : camera.width].astype(np.float32)
        radius = np.hypot(x / camera.width - 0.5, y / camera.height - 0.5) / 0.7071
        gain = lens.exposure * (1.0 - lens.vignette * radius**2)
        self._gain = np.asarray(gain[..., None] * np.array(lens.tint, np.float32), np.float32)
        rng = np.random.default_rng(seed)
        shape = (camera.height + 64, camera.width + 64, 3)
        grain = rng.standard_normal(shape, np.float32) * 0.6 + rng.standard_normal((*shape[:2], 1), np.float32) * 0.8
        # Real sensor noise is softened by demosaicing.
        self._grain = cv2.GaussianBlur(grain, (0, 0), 0.6) * (1.9 * lens.noise)

    def develop(self, linear: Floats, number: int) -> NDArray[np.uint8]:
        """Expose, blur, roll off the highlights, apply gamma, add noise."""
        light = linear * self._gain
        if self._lens.blur_px > 0:
            light = cv2.GaussianBlur(light, (0, 0), self._lens.blur_px)
        light = light * (1.0 + 0.10 * light) / (1.0 + 0.30 * light)
        display = 255.0 * cv2.sqrt(np.maximum(light, 0.0))
        if self._lens.noise > 0:
            rng = np.random.default_rng((self._seed, number))
            y, x = rng.integers(0, 64, 2)
            display += self._grain[y : y + display.shape[0], x : x + display.shape[1]] * float(rng.choice([-1.0, 1.0]))
        return np.asarray(np.clip(np.rint(display), 0, 255), np.uint8)
