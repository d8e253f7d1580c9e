"""What spoils video, as it changes in time: motion blur, defocus, occluders, darkness, compression, lost frames.

Each kind has three levels of strength and two regimes:

- `bursts`: three frames of every eight are spoilt (0.1 s in 0.27 s at 30 frames a second), their neighbours are not.
  What is scored are the spoilt ones.
- `throughout`: all frames are spoilt alike, none is better than its neighbours.

The levels:

- `motion_blur`: a shutter of 1/12, 1/6 or 1/4 s: the mean, in linear light, of the frames it sees and of three more
  between any two, made by optical flow. Below 10 frames a second flow fails; there, blur along the motion of the box.
- `defocus`: a disc of 2.5, 4 or 6 % of the box height in radius, in linear light.
- `occluder`: a piece of another video, 30, 45 or 60 % of the box height. In bursts it flies over a joint; throughout,
  it stays over a joint and sways.
- `low_light`: half as bright, 24, 10 or 5 photons a pixel at white, and a sensor's noise.
- `compression`: H.264 of the clip at CRF 36, 43 or 50. In bursts the spoilt frames are taken from it.
- `lost_frames`: in bursts the picture freezes for 2, 4 or 6 frames of every eight while the person moves on;
  throughout, 1/3, 1/2 or 2/3 of the frames are missing at random and the others are as they were.

All chance comes from the clip's name. Training spoils its windows by other means: straight and Gaussian blur, JPEG,
grey noise.
"""

import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import av
import cv2
import numpy as np

from jmpose_cli.data import degrade
from jmpose_cli.values import Bools, Bytes
from real_video import STEADY_FPS, Clip

KINDS = ("motion_blur", "defocus", "occluder", "low_light", "compression", "lost_frames")
REGIMES = ("bursts", "throughout")
LEVELS = (1, 2, 3)
SHUTTER_S = (1 / 12, 1 / 6, 1 / 4)
DISC_RADIUS = (0.025, 0.04, 0.06)  # of the box height
OCCLUDER_SIZE = (0.30, 0.45, 0.60)  # of the box height
OCCLUDER_SPEED = 0.12  # box heights a frame
PHOTONS = (24, 10, 5)
READ_NOISE = 1.5  # electrons
BRIGHTNESS = 0.5  # in linear light
CRF = (36, 43, 50)
PERIOD, HIT = 8, 3  # frames
FROZEN = (2, 4, 6)  # of a period
MISSING = (1 / 3, 1 / 2, 2 / 3)
SUBFRAMES = 4  # moments a frame, for motion blur
GAMMA = 2.2
_LINEAR = ((np.arange(256) / 255) ** GAMMA).astype(np.float32)
_CODES = np.rint(255 * (np.arange(65536) / 65535) ** (1 / GAMMA)).astype(np.uint8)


@dataclass(frozen=True)
class Condition:
    """A way to spoil a video.

    Attributes:
        kind: One of `KINDS`.
        level: One of `LEVELS`.
        regime: One of `REGIMES`.
    """

    kind: str
    level: int
    regime: str


@dataclass(frozen=True)
class Shown:
    """A spoilt clip.

    Attributes:
        frames: `[n, H, W, 3]` uint8 RGB.
        hit: `[n]` bool: the frame is spoilt.
        present: `[n]` bool, False for frames that the video lacks.
    """

    frames: Bytes
    hit: Bools
    present: Bools


def spoil(
    clip: Clip, foreign: Bytes, *, kinds: Sequence[str] = KINDS, levels: Sequence[int] = LEVELS
) -> Iterator[tuple[Condition, Shown]]:
    """Yield a clip in every condition.

    Args:
        clip: The clip.
        foreign: `[h, w, 3]` picture that occluders are cut from.
        kinds: Kinds wanted.
        levels: Strengths wanted.
    """
    has_flow = clip.fps >= STEADY_FPS and "motion_blur" in kinds
    moments = [linear_light(frame) for frame in in_between(clip.frames)] if has_flow else []
    for kind in kinds:
        for level in levels:
            whole = _spoil_all(clip, kind, level, moments)
            for regime in REGIMES:
                yield Condition(kind, level, regime), _show(clip, kind, level, regime, whole, foreign)


def _spoil_all(clip: Clip, kind: str, level: int, moments: Sequence[np.ndarray]) -> Bytes | None:
    """Spoil all frames alike; None for kinds that ask when."""
    at = level - 1
    if kind == "motion_blur":
        return motion_blur(moments, SHUTTER_S[at] * clip.fps) if moments else blur_along_box(clip, SHUTTER_S[at])
    if kind == "defocus":
        height = float(np.median(clip.boxes_xyxy_px[:, 3] - clip.boxes_xyxy_px[:, 1]))
        return np.stack([defocus(frame, DISC_RADIUS[at] * height) for frame in clip.frames])
    if kind == "low_light":
        rng = _generator(clip, "photons", level)
        return np.stack([low_light(rng, frame, photons=PHOTONS[at]) for frame in clip.frames])
    if kind == "compression":
        return compress(clip.frames, crf=CRF[at], fps=clip.fps)
    return None


def _generator(clip: Clip, purpose: str, level: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(clip.name.encode()), zlib.crc32(purpose.encode()), level])


def _show(clip: Clip, kind: str, level: int, regime: str, whole: Bytes | None, foreign: Bytes) -> Shown:
    """Spoil a clip in one condition; `whole` has all frames spoilt, for kinds that do not ask when."""
    rng, at = _generator(clip, f"{kind} {regime}", level), level - 1
    everywhere = np.ones(len(clip), bool)
    if kind == "lost_frames" and regime == "throughout":
        return Shown(clip.frames, everywhere, rng.random(len(clip)) >= MISSING[at])
    if regime == "throughout":
        frames = whole if whole is not None else swaying_occluder(rng, clip, OCCLUDER_SIZE[at], foreign)
        return Shown(frames, everywhere, everywhere)
    hit = bursts(rng, len(clip), FROZEN[at] if kind == "lost_frames" else HIT)
    if kind == "lost_frames":
        return Shown(freeze(clip.frames, hit), hit, everywhere)
    if whole is None:
        return Shown(flying_occluders(rng, clip, hit, OCCLUDER_SIZE[at], foreign), hit, everywhere)
    return Shown(np.where(hit[:, None, None, None], whole, clip.frames), hit, everywhere)


def bursts(rng: np.random.Generator, frames: int, hit: int) -> Bools:
    """Hit the same `hit` frames of every period of eight, which ones is chance."""
    return (np.arange(frames) + rng.integers(PERIOD)) % PERIOD < hit


def freeze(frames: Bytes, hit: Bools) -> Bytes:
    """Repeat the last frame that is not hit; at the start, the first such frame."""
    last = np.maximum.accumulate(np.where(hit, -1, np.arange(len(frames))))
    return frames[np.where(last < 0, np.flatnonzero(~hit)[0] if not hit.all() else 0, last)]


def linear_light(frame: Bytes) -> np.ndarray:
    """Grey levels as light, 0 to 1, float32."""
    return _LINEAR[frame]


def grey_levels(light: np.ndarray) -> Bytes:
    """Light, 0 to 1, as grey levels."""
    return _CODES[np.rint(light.clip(0, 1) * (len(_CODES) - 1)).astype(np.uint16)]


def in_between(frames: Bytes) -> list[Bytes]:
    """Put three pictures between any two frames, by optical flow (DIS: Kroeger et al., ECCV 2016)."""
    flow_of = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    y, x = np.mgrid[: frames.shape[1], : frames.shape[2]].astype(np.float32)
    moments = []
    for n in range(len(frames) - 1):
        moments.append(frames[n])
        flow = flow_of.calc(grey[n], grey[n + 1], None)
        for step in range(1, SUBFRAMES):
            share = step / SUBFRAMES
            # What is at x on the way came from x - share * flow and goes on to x + (1 - share) * flow.
            came = _sample(frames[n], x - share * flow[..., 0], y - share * flow[..., 1])
            goes = _sample(frames[n + 1], x + (1 - share) * flow[..., 0], y + (1 - share) * flow[..., 1])
            moments.append(cv2.addWeighted(came, 1 - share, goes, share, 0))
    return [*moments, frames[-1]]


def _sample(frame: Bytes, x: np.ndarray, y: np.ndarray) -> Bytes:
    return np.asarray(cv2.remap(frame, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def motion_blur(moments: Sequence[np.ndarray], shutter: float) -> Bytes:
    """Expose every frame for `shutter` frames of time.

    Args:
        moments: Pictures in linear light, `SUBFRAMES` a frame; the first frame's first.
        shutter: In frames; centred on the frame, cut off at the ends of the clip.
    """
    reach = round(shutter * SUBFRAMES / 2)
    exposed = []
    for centre in range(0, len(moments), SUBFRAMES):
        seen = moments[max(centre - reach, 0) : centre + reach + 1]
        exposed.append(grey_levels(sum(seen[1:], start=seen[0]) / np.float32(len(seen))))
    return np.stack(exposed)


def blur_along_box(clip: Clip, shutter_s: float) -> Bytes:
    """Blur each frame along a line: the way of the box centre while the shutter is open."""
    corners = clip.boxes_xyxy_px.astype(float)
    velocity = np.gradient((corners[:, :2] + corners[:, 2:]) / 2, axis=0) * clip.fps
    ways = velocity * shutter_s
    lengths, angles = np.hypot(*ways.T), np.arctan2(ways[:, 1], ways[:, 0])
    return np.stack([degrade.motion_blur(*each) for each in zip(clip.frames, lengths, angles, strict=True)])


def defocus(frame: Bytes, radius_px: float) -> Bytes:
    """Spread every point over a disc, in linear light."""
    half = int(np.ceil(radius_px))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    disc = (radius_px + 0.5 - np.hypot(x, y)).clip(0, 1)  # soft at the rim
    return grey_levels(cv2.filter2D(linear_light(frame), -1, disc / disc.sum(), borderType=cv2.BORDER_REPLICATE))


def low_light(rng: np.random.Generator, frame: Bytes, *, photons: float) -> Bytes:
    """Darken, with the noise of few photons (Gaussian of the Poisson's variance) and of the sensor's reading."""
    light = linear_light(frame)
    noise = rng.standard_normal(frame.shape, np.float32) * np.sqrt(light * np.float32(photons) + READ_NOISE**2)
    return grey_levels(BRIGHTNESS * (light + noise / photons))


def compress(frames: Bytes, *, crf: int, fps: float) -> Bytes:
    """Encode with H.264 and decode; width and height are even.

    Without x264's macroblock tree, which reads memory that nobody has written: the same frames give the same.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        options = {"crf": str(crf), "preset": "veryfast", "threads": "1", "mbtree": "0"}
        stream = container.add_stream("libx264", rate=max(round(fps), 1), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def flying_occluders(rng: np.random.Generator, clip: Clip, hit: Bools, size: float, foreign: Bytes) -> Bytes:
    """Let a piece of `foreign` fly over a joint in every burst; in the middle of the burst it is there."""
    frames = clip.frames.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hit.astype(int), [0]])))
    for first, end in edges.reshape(-1, 2).tolist():
        middle = (first + end - 1) // 2
        occluder, target, height = _occluder(rng, clip, middle, size, foreign)
        angle = rng.uniform(0, 2 * np.pi)
        step = OCCLUDER_SPEED * height * np.array([np.cos(angle), np.sin(angle)])
        for n in range(max(middle - PERIOD // 2, 0), min(middle + PERIOD // 2, len(frames))):
            frames[n] = occluder.paste(frames[n], target + step * (n - middle))
    return frames


def swaying_occluder(rng: np.random.Generator, clip: Clip, size: float, foreign: Bytes) -> Bytes:
    """Hold a piece of `foreign` over one joint of the moving person, swaying by a tenth of the box height."""
    occluder, target, height = _occluder(rng, clip, len(clip) // 2, size, foreign)
    centres = (clip.boxes_xyxy_px[:, :2] + clip.boxes_xyxy_px[:, 2:]) / 2
    places = target + centres - centres[len(clip) // 2]
    phase = 2 * np.pi * (np.arange(len(clip)) - len(clip) // 2) / PERIOD
    places[:, 0] += 0.1 * height * np.sin(phase)
    return np.stack([occluder.paste(frame, place) for frame, place in zip(clip.frames, places, strict=True)])


def _occluder(
    rng: np.random.Generator, clip: Clip, frame: int, size: float, foreign: Bytes
) -> tuple[degrade.Occluder, np.ndarray, float]:
    """Return an occluder, the place of a joint to hide in a frame (any in the box if none is known), the box height."""
    x0, y0, x1, y1 = clip.boxes_xyxy_px[frame].astype(float)
    side = size * (y1 - y0)
    scale = max(1.0, 1.1 * side / min(foreign.shape[:2]))
    picture = cv2.resize(foreign, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    occluder = degrade.Occluder.draw(rng, np.asarray(picture, np.uint8), smallest_px=0.7 * side, largest_px=side)
    joints = clip.xy[frame][clip.known[frame]].astype(float)
    target = joints[rng.integers(len(joints))] if len(joints) else rng.uniform([x0, y0], [x1, y1])
    return occluder, target, y1 - y0
