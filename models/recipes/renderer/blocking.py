"""Blocking, as in the theatre: who does what, where, without walking through each other."""

from collections.abc import Callable, Mapping

import numpy as np

from .camera import Camera
from .casting import weighted
from .motion import ARM_POSES, Attention, Gesture, Motion
from .skeleton import Skeleton
from .standing import Exercise, Sit, Stand
from .transforms import Array
from .walking import Gait, Path, Walk

# Distance that two people keep, between the middles of their hips, metres.
_ELBOW_ROOM = 0.62
_TRIES = 24
_ACTIONS = {"walk": 0.46, "jog": 0.10, "stand": 0.16, "exercise": 0.22, "sit": 0.06}
_BOTH_HANDS = ("pocket", "hip", "crossed", "behind", "carry", "up", "head", "camera")
_TOWARDS_CAMERA = -np.pi / 2
Gestures = tuple[Gesture | None, Gesture | None]


class Blocking:
    """Finds places and ways for people, so that the camera sees them and they do not collide.

    Args:
        camera: At rest.
        duration_s: Length of the scene.

    Attributes:
        middle: Distance at which people mostly are, metres.
        half_view: Half the width that the camera sees, for each metre of distance.
    """

    def __init__(self, camera: Camera, duration_s: float) -> None:
        self.half_view = 0.5 * camera.width / camera.focal_px
        # Where the optical axis meets the waists; a level camera suits people 60 % as tall as the picture.
        height, slope = float(camera.position[2]) - 0.95, float(np.tan(camera.tilt))
        level = 1.75 * camera.focal_px / (0.6 * camera.height)
        self.middle = float(np.clip(height / slope if height > 0.15 and slope > 0.02 else level, 3.0, 11.0))
        self._times = np.linspace(0.0, duration_s, 9)
        self._tracks: list[Array] = []

    def motion(self, rng: np.random.Generator, skeleton: Skeleton) -> Motion:
        """A motion for one more person: the first that keeps its distance, or the roomiest of many."""
        found: list[tuple[float, Motion, Array]] = []
        while len(found) < _TRIES:
            motion = self._random_motion(rng, skeleton)
            track = np.array([motion.pose(float(t)).pelvis[:2] for t in self._times])
            room = min((float(np.linalg.norm(track - other, axis=1).min()) for other in self._tracks), default=np.inf)
            found.append((room, motion, track))
            if room > _ELBOW_ROOM:
                break
        _, motion, track = max(found, key=lambda entry: entry[0])
        self._tracks.append(track)
        return motion

    def spot(self, rng: np.random.Generator, nearest: float, farthest: float) -> Array:
        """A place on the ground inside the view, `[2]`; distances as shares of `middle`."""
        y = self.middle * rng.uniform(nearest, farthest)
        return np.array([rng.uniform(-0.9, 0.9) * self.half_view * y, y])

    def _random_motion(self, rng: np.random.Generator, skeleton: Skeleton) -> Motion:
        actions: Mapping[str, Callable[[], Motion]] = {
            "walk": lambda: self._walk(rng, skeleton, jog=False),
            "jog": lambda: self._walk(rng, skeleton, jog=True),
            "stand": lambda: Stand(
                skeleton,
                self.spot(rng, 0.72, 1.55),
                _facing(rng),
                random_gestures(rng),
                random_attention(rng),
                bow=rng.uniform(0.4, 1.2) if rng.random() < 0.3 else 0.0,
                bow_at_s=float(rng.choice(self._times)),
                stance=rng.uniform(0.08, 0.2),
                phase=rng.uniform(0, 6),
                turn=0.2,
            ),
            "sit": lambda: Sit(
                skeleton,
                self.spot(rng, 0.72, 1.55),
                _facing(rng),
                rng.uniform(0.38, 0.5),
                random_gestures(rng),
                random_attention(rng),
                phase=rng.uniform(0, 6),
            ),
            "exercise": lambda: Exercise(
                skeleton,
                self.spot(rng, 0.72, 1.55),
                _facing(rng),
                seed=int(rng.integers(1 << 30)),
                pace_s=rng.uniform(0.4, 1.2),
            ),
        }
        return actions[weighted(rng, _ACTIONS)]()

    def _walk(self, rng: np.random.Generator, skeleton: Skeleton, *, jog: bool) -> Walk:
        """A way that passes a visible spot at some moment of the scene, mostly across the picture."""
        gait = random_gait(rng, skeleton, jog=jog)
        across = float(rng.choice([0.0, np.pi])) + rng.normal(0, 0.35)
        heading = across if rng.random() < 0.65 else rng.uniform(0, 2 * np.pi)
        before = gait.speed * float(rng.choice(self._times))
        start = self.spot(rng, 0.72, 1.55) - before * np.array([np.cos(heading), np.sin(heading)])
        bends: tuple[tuple[float, float], ...] = ()
        if rng.random() < 0.3:
            begin, tightness = rng.uniform(0.0, before + 0.5), rng.uniform(0.3, 1.6)
            turn = rng.uniform(0.5, 3.0)
            bends = ((begin, tightness * float(rng.choice([-1, 1]))), (begin + turn / tightness, 0.0))
        gestures: Gestures = (None, None) if jog else random_gestures(rng)
        return Walk(skeleton, Path(start, heading, bends), gait, gestures, random_attention(rng))


def _facing(rng: np.random.Generator) -> float:
    """A heading, more often than not towards the camera."""
    return _TOWARDS_CAMERA + rng.normal(0, 1.2) if rng.random() < 0.7 else rng.uniform(0, 2 * np.pi)


def random_attention(rng: np.random.Generator) -> Attention:
    """A head that looks around more or less."""
    return Attention(rng.normal(0.04, 0.08), rng.uniform(0, 0.6), rng.uniform(0.1, 0.35), rng.uniform(0, 6))


def random_gait(rng: np.random.Generator, skeleton: Skeleton, *, jog: bool) -> Gait:
    """A way of walking for a body: steps grow with speed and legs."""
    legs = skeleton.physique.hip_height / 0.93
    if jog:
        speed = rng.uniform(2.2, 3.6) * legs
        return Gait(
            speed=speed,
            step=speed / rng.uniform(2.6, 2.9),
            jog=True,
            width=0.03,
            toe_out=0.06,
            arm_swing=rng.uniform(0.45, 0.7),
            elbow=rng.uniform(1.3, 1.7),
            lean=rng.uniform(0.08, 0.2),
            sway=1.2,
            phase=rng.random(),
        )
    pace = float(np.clip(rng.normal(1.3, 0.22), 0.7, 1.9))
    return Gait(
        speed=pace * legs,
        step=walking_step(skeleton, pace * legs) * rng.uniform(0.93, 1.07),
        width=rng.uniform(0.035, 0.075),
        toe_out=rng.uniform(0.03, 0.22),
        arm_swing=rng.uniform(0.15, 0.5),
        elbow=rng.uniform(0.12, 0.5),
        lean=rng.uniform(0.0, 0.12),
        sway=rng.uniform(0.6, 1.5),
        phase=rng.random(),
    )


def walking_step(skeleton: Skeleton, speed: float) -> float:
    """Usual step length at a speed, metres: 0.70 m at 1.35 m/s for legs of a 1.75 m adult."""
    legs = skeleton.physique.hip_height / 0.93
    return 0.70 * legs * float(np.sqrt(speed / legs / 1.35))


def random_gestures(rng: np.random.Generator) -> Gestures:
    """What the hands do: mostly nothing; a phone, pockets, a wave, crossed arms."""
    kind = rng.random()
    if kind < 0.5:
        return None, None
    if kind < 0.6:
        both = Gesture(ARM_POSES[str(rng.choice(_BOTH_HANDS))])
        return both, both
    name, begin = str(rng.choice(sorted(ARM_POSES))), rng.uniform(-2.0, 2.0)
    one = Gesture(
        ARM_POSES[name],
        begin_s=begin,
        end_s=begin + rng.uniform(1.5, 6.0),
        wave=rng.uniform(0.1, 0.25) if name in ("wave", "up", "side") else 0.0,
        rate=rng.uniform(1.2, 2.2),
    )
    return (one, None) if rng.random() < 0.5 else (None, one)
