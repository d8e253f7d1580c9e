"""The scene of the demonstration clip: a pavement on which people cross and hide each other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from . import props, scenery
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
    """Somebody in the street: a body, and what it does."""

    physique: Physique
    play: Callable[[Skeleton], Motion]
    bag: str = "none"


def _walker(
    start: tuple[float, float],
    heading: float,
    speed: float,
    *,
    gait: Gait | None = None,
    bends: tuple[tuple[float, float], ...] = (),
    gestures: tuple[Gesture | None, Gesture | None] = (None, None),
    attention: Attention | None = None,
) -> Callable[[Skeleton], Motion]:
    """A role that walks; steps are as long as the legs and the speed ask for."""

    def play(skeleton: Skeleton) -> Motion:
        legs = skeleton.physique.hip_height / 0.93
        base = gait or Gait()
        step = speed / 2.7 if base.jog else 0.70 * legs * float(np.sqrt(speed / legs / 1.35))
        path = Path(np.array(start), heading, bends)
        return Walk(skeleton, path, replace(base, speed=speed, step=step), gestures, attention or Attention())

    return play


def _roles() -> Sequence[_Role]:
    hold = Gesture(ARM_POSES["phone"])
    wave = Gesture(ARM_POSES["wave"], 0.6, 3.6, wave=0.16, rate=1.5)
    pocket = Gesture(ARM_POSES["pocket"])
    man, woman = Physique(1.80, 1.0, 0.05), Physique(1.67, 0.95, 1.0)
    return (
        _Role(Physique(1.84, 1.02, 0.0), _walker((-4.2, 5.3), _RIGHT, 1.38, gait=Gait(arm_swing=0.42, phase=0.1))),
        _Role(woman, _walker((3.7, 6.3), _LEFT, 1.28, gait=Gait(width=0.035, sway=1.4, phase=0.4)), "shoulder"),
        _Role(
            Physique(1.72, 1.08, 0.1, 0.03),
            _walker(
                (-1.3, 8.0),
                _RIGHT,
                0.95,
                gait=Gait(elbow=0.5, phase=0.7),
                gestures=(None, hold),
                attention=Attention(0.42, 0.05),
            ),
            "backpack",
        ),
        _Role(
            Physique(1.64, 1.0, 0.95),
            _walker(
                (0.5, 11.4),
                _TO_CAMERA + 0.06,
                1.22,
                gait=Gait(phase=0.2, sway=1.2),
                bends=((2.6, -0.75), (4.4, 0.0)),
                gestures=(None, wave),
            ),
        ),
        _Role(
            man,
            _walker((7.4, 9.3), _LEFT, 2.75, gait=Gait(jog=True, arm_swing=0.55, elbow=1.45, lean=0.12, width=0.03)),
        ),
        _Role(
            Physique(1.76, 0.94, 0.0),
            lambda s: Stand(
                s,
                np.array([2.35, 8.6]),
                _TO_CAMERA - 0.5,
                (pocket, Gesture(ARM_POSES["call"])),
                Attention(0.05, 0.5, 0.25),
            ),
        ),
        _Role(
            Physique(1.70, 1.05, 0.9, 0.02),
            lambda s: Sit(
                s, np.array([-2.9, 10.2]), _TO_CAMERA + 0.15, 0.46, (None, None), Attention(0.0, 0.7, 0.2, 1.0)
            ),
        ),
    )


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
        np.array([0.80, 0.74, 0.64]),
        np.array([0.34, 0.38, 0.44]),
        np.array([0.26, 0.25, 0.24]),
        0.03,
    )
    place = scenery.street(rng, overcast=0.25)
    panels = [*place.panels, *_furniture(rng, camera.position)]
    ground = lit_ground(place, light, panels)
    backdrop = paint_backdrop(camera, sky=place.sky, ground=ground, panels=panels, margin=0.08)
    actors = []
    for number, role in enumerate(_roles()):
        own = np.random.default_rng((seed, 4, number))
        skeleton = Skeleton(role.physique)
        look = replace(random_look(own, role.physique), bag=role.bag)
        actors.append(
            Actor(number + 1, skeleton, dress(skeleton, look, int(own.integers(1 << 30))), role.play(skeleton))
        )
    lens = Lens(exposure=1.0, tint=(1.02, 1.0, 0.97), noise=1.8, vignette=0.14, shutter=0.45, samples=samples)
    return Scene(camera, CameraMove(0.0035, 0.006, 0.0, 3.0), lens, backdrop, light, tuple(actors))


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
