"""Putting scenes together: a random one for each seed, and the street of the demonstration clip."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from . import props, scenery
from .camera import Camera
from .casting import random_look, random_physique
from .clothes import dress
from .film import render
from .ground import GroundPainter
from .light import Light, sun_from
from .motion import ARM_POSES, Attention, Gesture, Motion
from .scene import Actor, CameraMove, Lens, RenderedFrame, Scene
from .skeleton import Skeleton
from .stage import GroundShadows, Panel, paint_backdrop
from .standing import Exercise, Sit, Stand
from .transforms import Array
from .walking import Gait, Path, Walk

# Two people never come nearer to each other than this, metres between the middles of their hips.
_ELBOW_ROOM = 0.62


def render_scene(
    seed: int,
    *,
    frames: int,
    width: int = 640,
    height: int = 360,
    people: int = 5,
    fps: float = 25.0,
    samples: int = 3,
    detail: float = 0.75,
) -> Iterator[RenderedFrame]:
    """Film a random scene: place, light, camera, bodies, clothes and motions all come from the seed.

    Args:
        seed: The same seed and arguments give the same frames.
        frames: How many frames.
        width: Picture width, pixels.
        height: Picture height, pixels.
        people: How many people take part; a frame lists those whose outline touches it.
        fps: Frames a second; motions have their natural speed.
        samples: Moments that a frame is averaged from; 1 renders sharp frames.
        detail: Fineness of the bodies' meshes, 0.5 to 1; 0.75 suits people up to 300 pixels tall.

    Yields:
        One `RenderedFrame` a frame.
    """
    scene = random_scene(seed, width=width, height=height, people=people, duration_s=frames / fps, detail=detail)
    scene = replace(scene, lens=replace(scene.lens, samples=samples))
    yield from render(scene, frames=frames, fps=fps, seed=seed)


def random_scene(seed: int, *, width: int, height: int, people: int, duration_s: float, detail: float = 0.75) -> Scene:
    """A scene of `people` in a random place; see `render_scene` for the arguments."""
    rng = np.random.default_rng((seed, 1))
    overcast = float(rng.choice([0.0, 0.25, 0.6, 1.0]))
    kind = str(rng.choice(scenery.PLACES, p=[0.4, 0.2, 0.2, 0.2]))
    place = scenery.make_place(rng, kind, overcast)
    camera = _camera(rng, width, height)
    actors = []
    spread = _Spread(rng, camera, duration_s)
    for number in range(people):
        own = np.random.default_rng((seed, 2, number))
        physique = random_physique(own)
        skeleton = Skeleton(physique)
        motion = spread.motion(own, skeleton)
        figure = dress(skeleton, random_look(own, physique), int(own.integers(1 << 30)), detail=detail)
        actors.append(Actor(number + 1, skeleton, figure, motion))
    light = _light(rng, overcast, indoors=place.indoors)
    panels = [*place.panels, *_props(rng, camera, spread, indoors=place.indoors), *_seats(rng, actors, camera)]
    backdrop = paint_backdrop(
        camera,
        sky=place.sky,
        ground=lit_ground(place, light, panels),
        panels=panels,
        supersample=1.5,
        blur_beyond=(float(rng.uniform(9, 14)), float(rng.uniform(0.8, 4.0))) if rng.random() < 0.3 else None,
    )
    return Scene(camera, _move(rng, duration_s), _lens(rng, light), backdrop, light, tuple(actors))


def lit_ground(place: scenery.Place, light: Light, panels: Sequence[Panel]) -> GroundPainter:
    """The place's ground under the scene's light, with the shadows of panels (panels are painted as they look)."""
    shadows = GroundShadows(panels, light.to_sun[:2] / light.to_sun[2], light.softness)
    direct = light.sun * light.to_sun[2]

    def paint(x: Array, y: Array, footprint: Array) -> Array:
        hidden = shadows.at(x, y)[..., None]
        return np.asarray(place.ground(x, y, footprint) * (direct * (1.0 - hidden) + light.sky * (1.0 - 0.35 * hidden)))

    return paint


def _camera(rng: np.random.Generator, width: int, height: int) -> Camera:
    """From a low hand-held camera to one on a pole that looks down."""
    above = float(rng.choice([rng.uniform(0.7, 1.3), rng.uniform(1.3, 2.0), rng.uniform(2.0, 4.5)], p=[0.2, 0.5, 0.3]))
    focal = max(width, height) * rng.uniform(0.75, 1.6)
    # Looks at the middle of a person at a distance where a standing one fills 35 to 85 % of the height.
    share = rng.uniform(0.35, 0.85)
    distance = float(np.clip(1.75 * focal / (share * height), 3.2, 11.0))
    tilt = np.arctan2(above - rng.uniform(0.8, 1.1), distance)
    return Camera(
        np.array([0.0, 0.0, above]), np.pi / 2, float(tilt), float(rng.normal(0, 0.02)), float(focal), width, height
    )


def _light(rng: np.random.Generator, overcast: float, *, indoors: bool) -> Light:
    if indoors:
        warm = np.array([1.05, 0.98, 0.88]) if rng.random() < 0.5 else np.ones(3)
        top = sun_from(rng.uniform(0, 2 * np.pi), rng.uniform(1.1, 1.4))
        strength = rng.uniform(0.2, 0.5)
        return Light(top, strength * warm, (0.85 - 0.6 * strength) * warm, 0.35 * warm, 0.15)
    # The sun stands behind or beside the camera, seldom in front of it.
    azimuth = -np.pi / 2 + rng.uniform(-1.0, 1.0) * (2.6 if rng.random() < 0.25 else 1.4)
    elevation = rng.uniform(0.5, 1.15)
    low = float(np.clip((0.8 - elevation) / 0.3, 0, 1))
    colour = np.array([1.0, 0.95 - 0.12 * low, 0.86 - 0.26 * low])
    sun = (1.0 - overcast) * rng.uniform(0.75, 1.0) * colour
    sky = (0.30 + 0.50 * overcast) * np.array([0.88, 0.97, 1.12 - 0.1 * overcast])
    return Light(sun_from(azimuth, elevation), sun, sky, 0.45 * (sky + 0.35 * sun), 0.02 + 0.25 * overcast)


def _lens(rng: np.random.Generator, light: Light) -> Lens:
    tint = 1.0 + rng.normal(0, 0.04, 3)
    brightness = 1.05 / float(light.on_ground().mean() + 0.15)
    return Lens(
        exposure=float(brightness * rng.lognormal(0.0, 0.22)),
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
        noise=float(rng.choice([0.5, 2.0, 4.0, 7.0], p=[0.25, 0.35, 0.25, 0.15])),
        blur_px=float(rng.choice([0.0, rng.uniform(0.4, 1.6)], p=[0.75, 0.25])),
        vignette=float(rng.uniform(0.0, 0.25)),
        shutter=float(rng.choice([0.15, 0.5, 0.9])),
    )


def _move(rng: np.random.Generator, duration_s: float) -> CameraMove:
    # Turns stay inside the margin of the painted backdrop.
    pan = float(rng.uniform(-0.10, 0.10)) / max(duration_s, 0.5) if rng.random() < 0.35 else 0.0
    shake = float(rng.choice([0.0, rng.uniform(0.001, 0.008)], p=[0.35, 0.65]))
    zoom = float(rng.uniform(0.0, 0.10)) / max(duration_s, 0.5) if rng.random() < 0.15 else 0.0
    return CameraMove(shake, pan, zoom, float(rng.uniform(0, 100)))


class _Spread:
    """Finds places and ways for people so that they are seen and do not walk through each other."""

    def __init__(self, rng: np.random.Generator, camera: Camera, duration_s: float) -> None:
        self._rng = rng
        self._times = np.linspace(0.0, duration_s, 9)
        self._tracks: list[Array] = []
        forward = camera.rays(np.array([(camera.width - 1) / 2, (camera.height - 1) / 2]))
        height = float(camera.position[2])
        # Where the picture's middle, and its lower edge, meet a person's waist and feet.
        self.middle = (
            float(np.clip((height - 0.95) / max(-forward[2], 0.02), 3.0, 11.0))
            if height > 1.1
            else 1.75 * camera.focal_px / (0.6 * camera.height)
        )
        self.middle = float(np.clip(self.middle, 3.0, 11.0))
        self.half_view = 0.5 * camera.width / camera.focal_px

    def motion(self, rng: np.random.Generator, skeleton: Skeleton) -> Motion:
        """A motion for one more person; the roomiest of many tries."""
        best: tuple[float, Motion, Array] | None = None
        for _ in range(24):
            motion = self._try(rng, skeleton)
            track = np.array([motion.pose(float(t)).pelvis[:2] for t in self._times])
            room = min((float(np.linalg.norm(track - other, axis=1).min()) for other in self._tracks), default=9.0)
            if best is None or room > best[0]:
                best = (room, motion, track)
            if room > _ELBOW_ROOM:
                break
        assert best is not None
        self._tracks.append(best[2])
        return best[1]

    def spot(self, rng: np.random.Generator) -> Array:
        """A place on the ground inside the view, `[2]`."""
        y = self.middle * rng.uniform(0.72, 1.55)
        return np.array([rng.uniform(-0.9, 0.9) * self.half_view * y, y])

    def _try(self, rng: np.random.Generator, skeleton: Skeleton) -> Motion:
        kind = str(rng.choice(["walk", "jog", "stand", "exercise", "sit"], p=[0.46, 0.10, 0.16, 0.22, 0.06]))
        spot = self.spot(rng)
        attention = Attention(
            float(rng.normal(0.04, 0.08)),
            float(rng.uniform(0, 0.6)),
            float(rng.uniform(0.1, 0.35)),
            float(rng.uniform(0, 6)),
        )
        facing = float(-np.pi / 2 + rng.normal(0, 1.2)) if rng.random() < 0.7 else float(rng.uniform(0, 2 * np.pi))
        if kind == "stand":
            bow = float(rng.choice([0.0, rng.uniform(0.4, 1.2)], p=[0.7, 0.3]))
            return Stand(
                skeleton,
                spot,
                facing,
                random_gestures(rng),
                attention,
                bow,
                float(rng.choice(self._times)),
                float(rng.uniform(0.08, 0.2)),
                float(rng.uniform(0, 6)),
                0.2,
            )
        if kind == "sit":
            return Sit(
                skeleton,
                spot,
                facing,
                float(rng.uniform(0.38, 0.5)),
                random_gestures(rng),
                attention,
                float(rng.uniform(0, 6)),
            )
        if kind == "exercise":
            return Exercise(
                skeleton, spot, facing, seed=int(rng.integers(1 << 30)), pace_s=float(rng.uniform(0.4, 1.2))
            )
        return self._walk(rng, skeleton, spot, attention, jog=kind == "jog")

    def _walk(
        self, rng: np.random.Generator, skeleton: Skeleton, spot: Array, attention: Attention, *, jog: bool
    ) -> Walk:
        gait = random_gait(rng, skeleton, jog=jog)
        across = rng.choice([0.0, np.pi]) + rng.normal(0, 0.35)
        heading = float(across if rng.random() < 0.65 else rng.uniform(0, 2 * np.pi))
        # The walker passes the spot at some moment of the scene.
        before = gait.speed * float(rng.choice(self._times)) if rng.random() < 0.8 else 0.0
        start = spot - before * np.array([np.cos(heading), np.sin(heading)])
        bends: tuple[tuple[float, float], ...] = ()
        if rng.random() < 0.3:
            begin = float(rng.uniform(0.0, before + 0.5))
            tightness = float(rng.choice([-1, 1]) * rng.uniform(0.3, 1.6))
            bends = ((begin, tightness), (begin + float(rng.uniform(0.5, 3.0)) / abs(tightness), 0.0))
        gestures = (None, None) if jog else random_gestures(rng)
        return Walk(skeleton, Path(start, heading, bends), gait, gestures, attention)


def random_gait(rng: np.random.Generator, skeleton: Skeleton, *, jog: bool) -> Gait:
    """A way of walking for a body: step length grows with speed and legs."""
    legs = skeleton.physique.hip_height / 0.93
    phase = float(rng.random())
    if jog:
        speed = float(rng.uniform(2.2, 3.6)) * legs
        return Gait(
            speed,
            speed / float(rng.uniform(2.6, 2.9)),
            True,
            0.03,
            0.06,
            float(rng.uniform(0.45, 0.7)),
            float(rng.uniform(1.3, 1.7)),
            float(rng.uniform(0.08, 0.2)),
            1.2,
            phase,
        )
    speed = float(np.clip(rng.normal(1.3, 0.22), 0.7, 1.9)) * legs
    step = 0.70 * legs * float(np.sqrt(speed / legs / 1.35)) * float(rng.uniform(0.93, 1.07))
    return Gait(
        speed,
        step,
        False,
        float(rng.uniform(0.035, 0.075)),
        float(rng.uniform(0.03, 0.22)),
        float(rng.uniform(0.15, 0.5)),
        float(rng.uniform(0.12, 0.5)),
        float(rng.uniform(0.0, 0.12)),
        float(rng.uniform(0.6, 1.5)),
        phase,
    )


def random_gestures(rng: np.random.Generator) -> tuple[Gesture | None, Gesture | None]:
    """What the hands do: mostly nothing; a phone, pockets, a wave, crossed arms."""
    kind = rng.random()
    if kind < 0.5:
        return None, None
    names = sorted(ARM_POSES)
    if kind < 0.6:
        both = Gesture(
            ARM_POSES[str(rng.choice(["pocket", "hip", "crossed", "behind", "carry", "up", "head", "camera"]))]
        )
        return both, both
    name = names[int(rng.integers(len(names)))]
    waves = name in ("wave", "up", "side")
    begin = float(rng.uniform(-2.0, 2.0))
    one = Gesture(
        ARM_POSES[name],
        begin,
        begin + float(rng.uniform(1.5, 6.0)),
        float(rng.uniform(0.1, 0.25)) if waves else 0.0,
        float(rng.uniform(1.2, 2.2)),
    )
    return (one, None) if rng.random() < 0.5 else (None, one)


def _props(rng: np.random.Generator, camera: Camera, spread: _Spread, *, indoors: bool) -> list[Panel]:
    """Things that stand before and among the people."""
    eye = camera.position
    panels: list[Panel] = []
    kinds = ["crate", "planter"] if indoors else ["lamp", "sign", "planter", "bench", "bollard", "crate"]
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.25, 0.35, 0.25, 0.15]))):
        y = spread.middle * float(rng.uniform(0.55, 1.2))
        x = float(rng.uniform(-0.9, 0.9)) * spread.half_view * y
        match str(rng.choice(kinds)):
            case "lamp":
                panels += props.lamp_post(x, y)
            case "sign":
                panels += props.sign_post(rng, x, y)
            case "planter":
                panels += props.planter(rng, x, y, float(rng.uniform(0.8, 2.5)), eye)
            case "bench":
                panels += props.bench(rng, x, y, eye)
            case "bollard":
                panels += props.bollard(x, y)
            case _:
                wide, deep, high = rng.uniform((0.3, 0.3, 0.4), (1.2, 0.6, 1.3))
                panels += props.crate(rng, x, y, (wide, deep, high), eye)
    return panels


def _seats(rng: np.random.Generator, actors: Sequence[Actor], camera: Camera) -> list[Panel]:
    """A box under everybody who sits."""
    panels: list[Panel] = []
    for actor in actors:
        if isinstance(actor.motion, Sit):
            sit = actor.motion
            x, y = sit.place - 0.06 * np.array([np.cos(sit.heading), np.sin(sit.heading)])
            panels += props.crate(rng, float(x), float(y), (0.42, 0.34, sit.seat - 0.03), camera.position)
    return panels
