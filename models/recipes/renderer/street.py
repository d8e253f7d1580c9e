"""The scene of the demonstration clip: a pavement on which people cross and hide each other."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from . import props, scenery
from .blocking import Gestures, walking_step
from .camera import Camera
from .casting import random_look
from .clothes import dress
from .directing import lit_ground
from .light import Light, sun_from
from .motion import ARM_POSES, Attention, Gesture, Motion
from .scene import Actor, CameraMove, Lens, Scene
from .skeleton import Physique, Skeleton
from .stage import Panel, paint_backdrop
from .standing import Sit, Stand
from .transforms import Array
from .walking import Gait, Path, Walk

_LEFT, _RIGHT, _TO_CAMERA = np.pi, 0.0, -np.pi / 2


@dataclass(frozen=True)
class _Role:
    """Somebody in the street: a body, what it does, and its bag."""

    physique: Physique
    play: Callable[[Skeleton], Motion]
    bag: str = "none"


def _walker(
    start: tuple[float, float],
    heading: float,
    gait: Gait,
    *,
    bends: tuple[tuple[float, float], ...] = (),
    gestures: Gestures = (None, None),
    attention: Attention | None = None,
) -> Callable[[Skeleton], Motion]:
    """A role that walks; its steps are as long as its legs and speed ask for."""

    def play(skeleton: Skeleton) -> Motion:
        step = gait.speed / 2.7 if gait.jog else walking_step(skeleton, gait.speed)
        path = Path(np.array(start), heading, bends)
        return Walk(skeleton, path, replace(gait, step=step), gestures, attention or Attention())

    return play


def _strider() -> _Role:
    """Passes near the camera, behind the planter and before everybody else."""
    return _Role(Physique(1.84, 1.02), _walker((-4.2, 5.3), _RIGHT, Gait(1.38, arm_swing=0.42, phase=0.1)))


def _stroller() -> _Role:
    """Comes from the right and goes behind the lamp post and the strider."""
    return _Role(
        Physique(1.67, 0.95, 1.0), _walker((3.7, 6.3), _LEFT, Gait(1.28, width=0.035, sway=1.4, phase=0.4)), "shoulder"
    )


def _reader() -> _Role:
    """Walks slowly, eyes on a phone."""
    walk = _walker(
        (-1.3, 8.0),
        _RIGHT,
        Gait(0.95, elbow=0.5, phase=0.7),
        gestures=(None, Gesture(ARM_POSES["phone"])),
        attention=Attention(bow=0.42, amplitude=0.05),
    )
    return _Role(Physique(1.72, 1.08, 0.1, 0.03), walk, "backpack")


def _friend() -> _Role:
    """Comes towards the camera, waves, and turns to the left of the picture."""
    walk = _walker(
        (0.5, 11.4),
        _TO_CAMERA + 0.06,
        Gait(1.22, phase=0.2, sway=1.2),
        bends=((2.6, -0.75), (4.4, 0.0)),
        gestures=(None, Gesture(ARM_POSES["wave"], 0.6, 3.6, wave=0.16, rate=1.5)),
    )
    return _Role(Physique(1.64, 1.0, 0.95), walk)


def _jogger() -> _Role:
    """Crosses the picture behind most others."""
    gait = Gait(2.75, jog=True, arm_swing=0.55, elbow=1.45, lean=0.12, width=0.03)
    return _Role(Physique(1.80, 1.0, 0.05), _walker((7.4, 9.3), _LEFT, gait))


def _caller() -> _Role:
    """Stands with a phone at the ear."""
    gestures = (Gesture(ARM_POSES["pocket"]), Gesture(ARM_POSES["call"]))
    attention = Attention(0.05, 0.5, 0.25)
    return _Role(Physique(1.76, 0.94), lambda s: Stand(s, np.array([2.35, 8.6]), _TO_CAMERA - 0.5, gestures, attention))


def _sitter() -> _Role:
    """Sits on the bench and looks around."""
    attention = Attention(0.0, 0.7, 0.2, 1.0)
    return _Role(
        Physique(1.70, 1.05, 0.9, 0.02),
        lambda s: Sit(s, np.array([-2.9, 10.2]), _TO_CAMERA + 0.15, 0.46, attention=attention),
    )


def _furniture(rng: np.random.Generator, eye: Array) -> list[Panel]:
    """What stands between the people and before them."""
    return [
        *props.lamp_post(1.05, 5.85),
        *props.planter(rng, -2.05, 4.5, 1.5, eye),
        *props.bench(rng, -2.9, 10.35, eye),
        *props.sign_post(rng, 5.6, 11.6),
        *props.bollard(-0.4, 11.9),
        *props.bollard(1.8, 11.9),
        *props.bollard(4.0, 11.9),
    ]


def street_scene(seed: int, *, width: int = 960, height: int = 540, samples: int = 7) -> Scene:
    """Seven people on a pavement; who they are depends on the seed, what they do does not.

    Args:
        seed: Faces, clothes, houses, trees.
        width: Picture width, pixels.
        height: Picture height, pixels.
        samples: Least number of moments a frame is averaged from.
    """
    rng = np.random.default_rng((seed, 3))
    camera = Camera(np.array([0.0, 0.0, 1.72]), np.pi / 2, 0.075, 0.004, 0.95 * width, width, height)
    light = Light(
        sun_from(-2.2, 0.75),
        sun=np.array([0.98, 0.90, 0.78]),
        sky=np.array([0.33, 0.37, 0.44]),
        bounce=np.array([0.26, 0.25, 0.24]),
        softness=0.03,
    )
    place = scenery.street(rng, overcast=0.25)
    panels = [*place.panels, *_furniture(rng, camera.position)]
    ground = lit_ground(place, light, panels)
    backdrop = paint_backdrop(camera, sky=place.sky, ground=ground, panels=panels, margin=0.08)
    roles = (_strider(), _stroller(), _reader(), _friend(), _jogger(), _caller(), _sitter())
    actors = []
    for number, role in enumerate(roles):
        own = np.random.default_rng((seed, 4, number))
        skeleton = Skeleton(role.physique)
        look = replace(random_look(own, role.physique), bag=role.bag)
        figure = dress(skeleton, look, int(own.integers(1 << 30)))
        actors.append(Actor(number + 1, skeleton, figure, role.play(skeleton)))
    lens = Lens(tint=(1.02, 1.0, 0.97), noise=1.8, vignette=0.14, shutter=0.45, samples=samples)
    return Scene(camera, CameraMove(shake=0.0035, pan=0.006, phase=3.0), lens, backdrop, light, tuple(actors))
