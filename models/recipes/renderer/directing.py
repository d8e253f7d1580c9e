"""A random scene for each seed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from . import props, scenery
from .blocking import Blocking
from .camera import Camera
from .casting import random_look, random_physique
from .clothes import dress
from .film import render
from .ground import GroundPainter
from .light import Light, sun_from
from .scene import Actor, CameraMove, Lens, RenderedFrame, Scene
from .skeleton import Skeleton
from .stage import GroundShadows, Panel, paint_backdrop
from .standing import Sit
from .transforms import Array


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
        samples: Moments that a frame is averaged from, at least; fast motion gets more. 1 renders sharp frames.
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
    place = scenery.make_place(rng, str(rng.choice(scenery.PLACES, p=[0.4, 0.2, 0.2, 0.2])), overcast)
    camera = _camera(rng, width, height)
    blocking = Blocking(camera, duration_s)
    actors = []
    for number in range(people):
        own = np.random.default_rng((seed, 2, number))
        physique = random_physique(own)
        skeleton = Skeleton(physique)
        motion = blocking.motion(own, skeleton)
        figure = dress(skeleton, random_look(own, physique), int(own.integers(1 << 30)), detail=detail)
        actors.append(Actor(number + 1, skeleton, figure, motion))
    light = _indoor_light(rng) if place.indoors else _daylight(rng, overcast)
    panels = [
        *place.panels,
        *_obstacles(rng, camera, blocking, indoors=place.indoors),
        *_seats(rng, camera, actors),
    ]
    backdrop = paint_backdrop(
        camera,
        sky=place.sky,
        ground=lit_ground(place, light, panels),
        panels=panels,
        supersample=1.5,
        blur_beyond=(rng.uniform(9, 14), rng.uniform(0.8, 4.0)) if rng.random() < 0.3 else None,
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
    low, high = ((0.7, 1.3), (1.3, 2.0), (2.0, 4.5))[rng.choice(3, p=[0.2, 0.5, 0.3])]
    above, focal = rng.uniform(low, high), max(width, height) * rng.uniform(0.75, 1.6)
    # Looks at the middle of a person at a distance where a standing one fills 35 to 85 % of the height.
    distance = float(np.clip(1.75 * focal / (rng.uniform(0.35, 0.85) * height), 3.2, 11.0))
    tilt = float(np.arctan2(above - rng.uniform(0.8, 1.1), distance))
    return Camera(np.array([0.0, 0.0, above]), np.pi / 2, tilt, rng.normal(0, 0.02), focal, width, height)


def _indoor_light(rng: np.random.Generator) -> Light:
    """Lamps: soft light from above."""
    tint = np.array([1.05, 0.98, 0.88]) if rng.random() < 0.5 else np.ones(3)
    strength = rng.uniform(0.2, 0.5)
    above = sun_from(rng.uniform(0, 2 * np.pi), rng.uniform(1.1, 1.4))
    return Light(above, strength * tint, (0.85 - 0.6 * strength) * tint, 0.35 * tint, softness=0.15)


def _daylight(rng: np.random.Generator, overcast: float) -> Light:
    """Sun behind or beside the camera, seldom in front of it; warmer and weaker when low or clouded."""
    azimuth = -np.pi / 2 + rng.uniform(-1.0, 1.0) * (2.6 if rng.random() < 0.25 else 1.4)
    elevation = rng.uniform(0.5, 1.15)
    low = float(np.clip((0.8 - elevation) / 0.3, 0, 1))
    sun = (1.0 - overcast) * rng.uniform(0.75, 1.0) * np.array([1.0, 0.95 - 0.12 * low, 0.86 - 0.26 * low])
    sky = (0.30 + 0.50 * overcast) * np.array([0.88, 0.97, 1.12 - 0.1 * overcast])
    return Light(sun_from(azimuth, elevation), sun, sky, 0.45 * (sky + 0.35 * sun), 0.02 + 0.25 * overcast)


def _lens(rng: np.random.Generator, light: Light) -> Lens:
    """Exposed for the ground, more or less; any quality from a good camera to a poor one."""
    red, green, blue = 1.0 + rng.normal(0, 0.04, 3)
    return Lens(
        exposure=1.05 / (float(light.on_ground().mean()) + 0.15) * rng.lognormal(0.0, 0.22),
        tint=(float(red), float(green), float(blue)),
        noise=float(rng.choice([0.5, 2.0, 4.0, 7.0], p=[0.25, 0.35, 0.25, 0.15])),
        blur_px=rng.uniform(0.4, 1.6) if rng.random() < 0.25 else 0.0,
        vignette=rng.uniform(0.0, 0.25),
        shutter=float(rng.choice([0.15, 0.5, 0.9])),
    )


def _move(rng: np.random.Generator, duration_s: float) -> CameraMove:
    """Still, trembling, panning or zooming, within the margin of the painted backdrop."""
    length = max(duration_s, 0.5)
    return CameraMove(
        shake=rng.uniform(0.001, 0.008) if rng.random() < 0.65 else 0.0,
        pan=rng.uniform(-0.10, 0.10) / length if rng.random() < 0.35 else 0.0,
        zoom=rng.uniform(0.0, 0.10) / length if rng.random() < 0.15 else 0.0,
        phase=rng.uniform(0, 100),
    )


def _obstacles(rng: np.random.Generator, camera: Camera, blocking: Blocking, *, indoors: bool) -> list[Panel]:
    """Things that stand before and among the people."""
    eye = camera.position
    kinds = ["crate", "planter"] if indoors else ["lamp", "sign", "planter", "bench", "bollard", "crate"]
    panels: list[Panel] = []
    for kind in rng.choice(kinds, size=rng.choice(4, p=[0.25, 0.35, 0.25, 0.15])):
        x, y = (float(v) for v in blocking.spot(rng, 0.55, 1.2))
        match kind:
            case "lamp":
                panels += props.lamp_post(x, y)
            case "sign":
                panels += props.sign_post(rng, x, y)
            case "planter":
                panels += props.planter(rng, x, y, rng.uniform(0.8, 2.5), eye)
            case "bench":
                panels += props.bench(rng, x, y, eye)
            case "bollard":
                panels += props.bollard(x, y)
            case _:
                wide, deep, high = rng.uniform((0.3, 0.3, 0.4), (1.2, 0.6, 1.3))
                panels += props.crate(rng, x, y, (wide, deep, high), eye)
    return panels


def _seats(rng: np.random.Generator, camera: Camera, actors: Sequence[Actor]) -> list[Panel]:
    """A box under everybody who sits."""
    panels: list[Panel] = []
    for sit in (actor.motion for actor in actors if isinstance(actor.motion, Sit)):
        x, y = sit.place - 0.06 * np.array([np.cos(sit.heading), np.sin(sit.heading)])
        panels += props.crate(rng, float(x), float(y), (0.42, 0.34, sit.seat - 0.03), camera.position)
    return panels
