"""What is filmed: camera, lens, place, light and actors; and what comes out: frames with their truth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .camera import Camera
from .light import Light
from .motion import Motion
from .skeleton import Skeleton
from .stage import Backdrop
from .surfaces import Figure
from .transforms import Bools, Floats, Ints


@dataclass(frozen=True)
class RenderedFrame:
    """One frame and the truth about the people in it. N people whose outline touches the picture, by track id.

    Attributes:
        frame_rgb: `[H, W, 3]` uint8.
        time_s: Seconds from the start.
        joints_xy: `[N, 19, 2]` float32 picture pixels in the order of `skeleton.JOINTS`, at mid-exposure; (0, 0)
            is the centre of the top-left pixel. Hidden joints and those outside the picture have their true place
            too; one beside or behind the camera has `truth.NOWHERE`.
        visible: `[N, 19]` bool: in the picture and covered by nothing but the joint's own skin or clothes.
        boxes_xyxy: `[N, 4]` float32 outline's extent as if nothing hid it, clipped to the picture.
        head_boxes_xyxy: `[N, 4]` float32 skull's extent, not clipped.
        track_ids: `[N]` int64.
        shown: `[N]` float32 share of the person's outline within the picture that nothing hides, 0..1.
    """

    frame_rgb: NDArray[np.uint8]
    time_s: float
    joints_xy: Floats
    visible: Bools
    boxes_xyxy: Floats
    head_boxes_xyxy: Floats
    track_ids: Ints
    shown: Floats


@dataclass(frozen=True)
class Actor:
    """A person in a scene."""

    track_id: int
    skeleton: Skeleton
    figure: Figure
    motion: Motion


@dataclass(frozen=True)
class CameraMove:
    """How a camera turns while it films.

    Attributes:
        shake: Amplitude of a hand's tremor, radians.
        pan: Radians a second, to the left.
        zoom: Relative growth of the focal length a second.
        phase: Offset of the tremor.
    """

    shake: float = 0.0
    pan: float = 0.0
    zoom: float = 0.0
    phase: float = 0.0

    def at(self, camera: Camera, time_s: float) -> Camera:
        """The camera at a moment."""
        t = time_s * 2 * np.pi + self.phase

        def tremor(a: float, b: float, c: float) -> float:
            return self.shake * float(0.6 * np.sin(a * t) + 0.3 * np.sin(b * t + 1.7) + 0.12 * np.sin(c * t + 0.4))

        return camera.turned(
            yaw=tremor(0.31, 0.87, 2.9) + self.pan * time_s,
            tilt=tremor(0.43, 1.03, 3.3),
            roll=0.5 * tremor(0.23, 0.71, 1.9),
            zoom=1.0 + self.zoom * time_s,
        )


@dataclass(frozen=True)
class Lens:
    """What lens and sensor do to the picture.

    Attributes:
        exposure: Brightness factor.
        tint: `[3]` white balance.
        noise: Standard deviation of the sensor's noise, grey levels of 255.
        blur_px: Defocus of the whole picture, pixels.
        vignette: Darkening of the corners, 0..0.5.
        shutter: Share of the frame's time during which the shutter is open.
        samples: Moments a frame is averaged from.
    """

    exposure: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    noise: float = 2.0
    blur_px: float = 0.0
    vignette: float = 0.12
    shutter: float = 0.5
    samples: int = 3


@dataclass(frozen=True)
class Scene:
    """Everything that is filmed."""

    camera: Camera
    move: CameraMove
    lens: Lens
    backdrop: Backdrop
    light: Light
    actors: tuple[Actor, ...]
