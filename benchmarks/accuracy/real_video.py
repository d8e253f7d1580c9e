"""Short clips of tracked people in real and rendered video, with joints to score against; shared by the benchmarks.

Videos are split whole, and what is scored is never learnt from:

- test: `sam2_bedroom`, `sports2d_walk_occluded`, `mmpose_street_5frames`, `mmtracking_street`, `cctv_office`, and
  rendered scenes of seeds from 9001 on;
- training may use `pose2sim_two_people`, `intel_one_by_one`, `crowd_from_above` and rendered scenes of lower seeds.

Boxes and tracks come from the tool's own stages with the YOLO11n teacher. Joints of real video are soft labels: the
pose teacher's (PP-TinyPose, see `models/recipes`) on the sharp frames, kept where it is sure, agrees with its mirror
image, and is steady: near the middle of its answers one frame before and one after. (At under 10 frames a second people
move too far for that, and steadiness is not asked for.) The teacher's errors are the same for everything compared.
Rendered clips have exact joints; those that nothing hides count.
"""

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from jmpose.files import file_sha256
from jmpose.keypoints import COCO17
from jmpose_cli.annotate.networks import Networks
from jmpose_cli.annotate.stages import find_people
from jmpose_cli.background import StageClock
from jmpose_cli.config import InferConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.keypoint_mapping import map_keypoints
from jmpose_cli.people.detectors import load_detector
from jmpose_cli.pose.estimator import PoseEstimator
from jmpose_cli.pose.smooth import smooth_track
from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker
from jmpose_cli.values import Bools, Bytes, Float, TrackedFrame
from jmpose_cli.video.source import open_video

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "models/recipes"))
import nano_data  # noqa: E402
from nano_data import BOX_PADDING, PATCH_HEIGHT, PATCH_WIDTH, SURE, Teacher, patch_to_image  # noqa: E402
from renderer import render_scene  # noqa: E402

TEST = ("sam2_bedroom", "sports2d_walk_occluded", "cctv_office", "mmpose_street_5frames", "mmtracking_street")
TRAINING = ("pose2sim_two_people", "intel_one_by_one", "crowd_from_above")
RENDERED_SEEDS = (9001, 9002, 9003)
DETECTOR = "teachers/yolo11n_dequant.pt"
MARGIN = 4  # frames at both ends of a clip that are shown and not scored: windows, filters and shutters reach into them
MIN_HEIGHT_PX, TALLEST_PX = 80, 256  # median box height: smaller people are left out, larger ones are shrunk
MIN_JOINTS = 6  # labelled joints a frame, on average
AGREE = 0.03  # of the teacher's crop height, between its answers to a crop and to its mirror image
STEADY = 0.05  # of the box size, from the middle between the frames before and after
STEADY_FPS = 10
TRACKED = ("boxes_xyxy_px", "scores", "track_ids", "observed")
SMOOTH_HZ = 6.0  # as `jmpose infer --smooth`


@dataclass(frozen=True, repr=False)
class Clip:
    """One tracked person in consecutive frames, cut out with all that the network's crops show.

    Attributes:
        name: Video, track and first frame.
        video: The video.
        track: Track id in it.
        fps: Frames a second.
        frames: `[n, H, W, 3]` uint8 RGB; the same region in all frames.
        boxes_xyxy_px: `[n, 4]` float32 corners, pixels of `frames`.
        xy: `[n, 17, 2]` float32 COCO joints, pixels of `frames`.
        known: `[n, 17]` bool: the joint is scored.
        scored: `[n]` bool: False for the margins.
    """

    name: str
    video: str
    track: int
    fps: float
    frames: Bytes
    boxes_xyxy_px: Float
    xy: Float
    known: Bools
    scored: Bools

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size_px(self) -> Float:
        """`[n]` box size: the root of the box area, in whose tenths PCK@0.1 counts."""
        sides = self.boxes_xyxy_px[:, 2:] - self.boxes_xyxy_px[:, :2]
        return np.sqrt(sides.prod(1))

    @property
    def is_rendered(self) -> bool:
        """Whether the joints are exact."""
        return self.video.startswith("rendered")


def load_clips(
    data: Path, *, cache: Path, length: int, most: int, rendered: int, videos: Sequence[str] = TEST
) -> list[Clip]:
    """Return the clips of all test videos and of the rendered scenes; made once and kept under `cache`.

    Args:
        data: Folder with `videos` and `teachers`.
        cache: Where clips are kept.
        length: Frames of a clip; of a shorter video, all it has.
        most: Clips a video.
        rendered: Clips a rendered scene.
        videos: Names of the videos.

    Raises:
        JmposeError: The data are not there, or a video has no clip that can be scored.
    """
    if not (data / "videos").is_dir() or not (data / DETECTOR).is_file():
        raise JmposeError(f"{data}: no videos/ and {DETECTOR} in it", hint="give the folder of real data with --data")
    clips = []
    for video in videos:
        folder = _cache_folder(cache, length, most) / video
        if not folder.is_dir():
            print(f"{video}: finding people and asking the teacher", flush=True)
            _save(_real_clips(video, data, cache=cache, length=length, most=most), folder)
        clips += _load(folder)
    for seed in RENDERED_SEEDS if rendered else ():
        name = f"rendered-{seed}"
        folder = _cache_folder(cache, length, rendered) / name
        if not folder.is_dir():
            print(f"{name}: rendering", flush=True)
            _save(_rendered_clips(name, seed, length=length, most=rendered), folder)
        clips += _load(folder)
    return clips


def at_most(clips: Sequence[Clip], most: int) -> list[Clip]:
    """Keep the first clips of each video."""
    return [clip for n, clip in enumerate(clips) if [c.video for c in clips[:n]].count(clip.video) < most]


def teacher_version() -> str:
    """Name what decides about the teacher's answers, so that none of another version is taken out of a cache."""
    return file_sha256(Path(str(nano_data.__file__)))[:8]


def _cache_folder(cache: Path, length: int, most: int) -> Path:
    """Name a folder after all that decides about clips."""
    settings = (length, most, MARGIN, MIN_HEIGHT_PX, TALLEST_PX, MIN_JOINTS, SURE, AGREE, STEADY, teacher_version())
    return cache / hashlib.sha256(repr(settings).encode()).hexdigest()[:8]


def load_tracks(name: str, data: Path, *, cache: Path) -> tuple[float, list[TrackedFrame]]:
    """Find and track people as `jmpose infer --detector` does; done once and kept under `cache`.

    Returns:
        Frames a second, and the people of every frame.
    """
    file = cache / "tracks" / f"{name}.npz"
    if not file.is_file():
        print(f"{name}: finding people", flush=True)
        fps, people = find_tracks(data / f"videos/{name}.mp4", data / DETECTOR)
        rows = {key: np.concatenate([getattr(p, key) for p in people]) for key in TRACKED}
        frames = {key: np.array([getattr(p, key) for p in people]) for key in ("index", "time_s", "segment")}
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial.npz")
        np.savez(partial, fps=fps, people=[len(p) for p in people], **rows, **frames)
        partial.rename(file)
    with np.load(file) as kept:
        ends = np.cumsum(kept["people"])[:-1]
        parts = zip(*(np.split(kept[key], ends) for key in TRACKED), strict=True)
        frames = zip(*(kept[key].tolist() for key in ("index", "time_s", "segment")), parts, strict=True)
        people = [
            TrackedFrame(index, time_s, **dict(zip(TRACKED, part, strict=True)), segment=segment)
            for index, time_s, segment, part in frames
        ]
        return float(kept["fps"]), people


def find_tracks(video: Path, detector: Path) -> tuple[float, list[TrackedFrame]]:
    """Find and track people; gives frames a second, and the people of every frame."""
    config, options = InferConfig(), {"engine": "torch", "device": "cpu", "input_size": None, "threads": 1}
    finder, _ = load_detector(detector, min_score=config.people.keep_box_score, **options)
    networks: Any = Networks(detector=finder, boxes=None, estimator=None, info={})  # type: ignore[arg-type]  # no pose wanted
    with open_video(video) as source:
        return source.info.fps, [s.people for s in find_people(source, config, networks, StageClock())]


def seen_frames(video: Path, people: Sequence[TrackedFrame]) -> Iterator[SeenFrame]:
    """Yield consecutive frames of a video with the people tracked in them."""
    with open_video(video, frames=(people[0].index, people[-1].index + 1)) as source:
        pictures = (picture for batch in source for picture in batch.frames)
        for picture, tracked in zip(pictures, people, strict=True):
            yield SeenFrame(picture.copy(), tracked)


def ask_teacher(frame: Bytes, box_xywh: Sequence[float], teacher: Teacher) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ask about one person.

    Returns:
        COCO joints `[17, 2]` in image pixels, scores `[17]`, and the distance `[17]` between the answers to the
        picture and to its mirror image, in crop heights.
    """
    affine = patch_to_image(tuple(box_xywh))
    flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
    xy, score, apart, _ = teacher(cv2.warpAffine(frame, affine, (PATCH_WIDTH, PATCH_HEIGHT), flags=flags))
    return xy @ affine[:, :2].T + affine[:, 2], score, apart


def teach_clip(
    frames: Sequence[Bytes], boxes_xyxy_px: Float, teacher: Teacher, *, fps: float
) -> tuple[np.ndarray, Bools]:
    """Return soft labels of one person: joints `[n, 17, 2]` in image pixels, and `[n, 17]` which of them count."""
    boxes = _xywh(boxes_xyxy_px)
    answers = [ask_teacher(frame, box, teacher) for frame, box in zip(frames, boxes.tolist(), strict=True)]
    xy, score, apart = (np.stack(column) for column in zip(*answers, strict=True))
    known = (score >= SURE) & (apart <= AGREE)
    if fps >= STEADY_FPS:
        known &= is_steady(xy, np.sqrt(boxes[:, 2:].prod(1)))
    return xy, known


def is_steady(xy: np.ndarray, size_px: np.ndarray) -> Bools:
    """Say `[n, K]` which joints `[n, K, 2]` lie in the middle between the frame before and the one after."""
    steady = np.zeros(xy.shape[:2], bool)
    off = np.linalg.norm(xy[1:-1] - (xy[:-2] + xy[2:]) / 2, axis=2)
    steady[1:-1] = off <= STEADY * size_px[1:-1, None]
    return steady


def estimate_clip(
    estimator: PoseEstimator, clip: Clip, frames: Bytes, *, present: Bools, wanted: Bools | None = None
) -> dict[str, np.ndarray]:
    """Run the tool's windows and network on a clip.

    Args:
        estimator: The model.
        clip: Gives boxes and times.
        frames: `[n, H, W, 3]` what is shown instead of the clip's own frames.
        present: `[n]` bool, False for frames that the video lacks.
        wanted: `[n]` bool, frames to answer for; None takes all, and smooths, which needs all.

    Returns:
        COCO joints `[n, 17, 2]` of the initial heatmaps (`single`) and of the final ones (`temporal`), and both with
        zero-phase smoothing (`smooth single`, `smooth temporal`); NaN where a frame is missing or not wanted.
    """
    preprocess = estimator.preprocess
    spacing = Spacing.for_video(
        preprocess.window_offsets,
        fps=clip.fps,
        reference_fps=preprocess.reference_fps,
        max_gap_s=preprocess.max_support_gap_s,
    )
    maker, windows = WindowMaker(spacing), []
    for n in np.flatnonzero(present).tolist():
        one = np.ones(1, np.int64)
        box = clip.boxes_xyxy_px[n : n + 1]
        person = TrackedFrame(n, n / clip.fps, box, one.astype(np.float32), track_ids=one, observed=one.astype(bool))
        windows += maker.push(SeenFrame(frames[n], person))
    windows += maker.finish()
    at = np.flatnonzero(present if wanted is None else present & wanted)
    windows = [w for w in windows if w.key.people.index in at]
    unknown = np.full((len(clip), len(COCO17), 2), np.nan, np.float32)
    found = {name: unknown.copy() for name in ("single", "temporal", "smooth single", "smooth temporal")}
    if not windows:
        return found
    for name, poses in zip(("temporal", "single"), estimator.estimate_both(windows), strict=True):
        xy, scores = (np.concatenate([getattr(p, field) for p in poses]) for field in ("xy_image", "scores"))
        xy, scores = map_keypoints(xy, scores, estimator.keypoints, COCO17)
        found[name][at] = xy
        if wanted is None:
            found[f"smooth {name}"][at] = smooth_track(at / clip.fps, xy, scores, cutoff_hz=SMOOTH_HZ)
    return found


def ask_about_clip(teacher: Teacher, clip: Clip, frames: Bytes, wanted: Bools) -> np.ndarray:
    """Return the teacher's joints `[n, 17, 2]` in frames `[n, H, W, 3]`; NaN where not wanted `[n]`."""
    xy = np.full((len(clip), len(COCO17), 2), np.nan, np.float32)
    for n in np.flatnonzero(wanted).tolist():
        xy[n] = ask_teacher(frames[n], _xywh(clip.boxes_xyxy_px[n : n + 1])[0].tolist(), teacher)[0]
    return xy


def commit() -> str:
    """Short name of the commit that is checked out."""
    asked = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def command() -> str:
    """The command line of this run."""
    return shlex.join(["python", *sys.argv])


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table; numbers get one decimal, those not known are left out."""
    lines = [list(header), ["---"] * len(header), *([_cell(value) for value in row] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.1f}"
    return str(value)


def _xywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], 1)


def _real_clips(video: str, data: Path, *, cache: Path, length: int, most: int) -> list[Clip]:
    """Take clips in turn from all tracks, spread over the video, until there are enough with enough labels."""
    fps, people = load_tracks(video, data, cache=cache)
    length = min(length, len(people))
    teacher, clips = Teacher(data), []
    for track, first in _candidates(people, length, seed=zlib.crc32(video.encode())):
        part = people[first : first + length]
        boxes = np.stack([p.boxes_xyxy_px[p.track_ids == track][0] for p in part])
        frames = [seen.pixels for seen in seen_frames(data / f"videos/{video}.mp4", part)]
        clip = _cut_out(video, track, first, fps, frames, boxes, *teach_clip(frames, boxes, teacher, fps=fps))
        if clip.known[clip.scored].sum(1).mean() >= MIN_JOINTS:
            clips.append(clip)
        if len(clips) == most:
            break
    if not clips:
        raise JmposeError(f"{video}: no person with joints that the teacher is sure of", hint="use another video")
    return clips


def _candidates(people: Sequence[TrackedFrame], length: int, *, seed: int) -> list[tuple[int, int]]:
    """Tracks and first frames of clips that do not overlap, one of each track first, then a second one, and so on."""
    rng, places = np.random.default_rng(seed), []
    for track in np.unique(np.concatenate([p.track_ids for p in people])).tolist():
        heights = [_height(p.boxes_xyxy_px[p.track_ids == track]) for p in people]
        starts = []
        for there, run in groupby(enumerate(heights), lambda item: item[1] > 0):
            frames = [n for n, _ in run]
            starts += range(frames[0], frames[-1] + 2 - length, length) if there else ()
        tall = [first for first in starts if np.median(heights[first : first + length]) >= MIN_HEIGHT_PX]
        turns = rng.permutation(len(tall)).tolist()
        places += [(turn, track, first) for turn, first in zip(turns, tall, strict=True)]
    return [(track, first) for _, track, first in sorted(places)]


def _height(boxes: Float) -> float:
    return float(boxes[0, 3] - boxes[0, 1]) if len(boxes) else 0.0


def _rendered_clips(name: str, seed: int, *, length: int, most: int) -> list[Clip]:
    """Film a scene; take the people who are tall enough and in all frames."""
    fps = 30
    film = list(render_scene(seed, frames=length, width=640, height=360, people=5, fps=fps))
    everywhere = set.intersection(*(set(f.track_ids.tolist()) for f in film))
    clips, joints = [], len(COCO17)  # the renderer's first joints
    for track in sorted(everywhere):
        rows = [f.track_ids.tolist().index(track) for f in film]
        boxes = np.stack([f.boxes_xyxy[row] for f, row in zip(film, rows, strict=True)])
        xy = np.stack([f.joints_xy[row, :joints] for f, row in zip(film, rows, strict=True)])
        visible = np.stack([f.visible[row, :joints] for f, row in zip(film, rows, strict=True)])
        if np.median(boxes[:, 3] - boxes[:, 1]) >= MIN_HEIGHT_PX and visible.sum(1).mean() >= MIN_JOINTS:
            clips.append(_cut_out(name, track, 0, fps, [f.frame_rgb for f in film], boxes, xy, visible))
    return clips[:most]


def _cut_out(
    video: str,
    track: int,
    first: int,
    fps: float,
    frames: Sequence[Bytes],
    boxes: Float,
    xy: np.ndarray,
    known: Bools,
) -> Clip:
    """Cut the region of all the person's crops out of the frames, and shrink a tall person."""
    height, width = frames[0].shape[:2]
    sides = boxes[:, 2:] - boxes[:, :2]
    half = 0.5 * BOX_PADDING * np.maximum(sides[:, 1], sides[:, 0] * PATCH_HEIGHT / PATCH_WIDTH)
    reach, centre = half[:, None] * [PATCH_WIDTH / PATCH_HEIGHT, 1], (boxes[:, :2] + boxes[:, 2:]) / 2
    x0, y0 = np.floor((centre - reach).min(0)).clip(0).astype(int)
    x1, y1 = np.minimum(np.ceil((centre + reach).max(0)) + 1, [width, height]).astype(int)
    scale = min(1.0, TALLEST_PX / float(np.median(sides[:, 1])))
    size = tuple(2 * max(round(scale * side / 2), 1) for side in (x1 - x0, y1 - y0))  # even, as video wants it
    factor = np.array(size) / [x1 - x0, y1 - y0]
    corners = (boxes.reshape(-1, 2, 2) - [x0, y0] + 0.5) * factor - 0.5
    scored = np.ones(len(frames), bool)
    if len(frames) > 2 * MARGIN and fps >= STEADY_FPS:
        scored[:MARGIN] = scored[-MARGIN:] = False
    return Clip(
        name=f"{video} track {track} from {first}",
        video=video,
        track=track,
        fps=fps,
        frames=np.stack([cv2.resize(f[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA) for f in frames]),
        boxes_xyxy_px=corners.reshape(-1, 4).astype(np.float32),
        xy=((xy - [x0, y0] + 0.5) * factor - 0.5).astype(np.float32),
        known=known,
        scored=scored,
    )


def _save(clips: Sequence[Clip], folder: Path) -> None:
    """Write the clips of a video; the folder gets its name when all are there."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for number, clip in enumerate(clips):
        values = vars(clip)
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        np.savez(partial / f"{number:02d}.npz", **arrays)
        rest = {name: value for name, value in values.items() if name not in arrays}
        (partial / f"{number:02d}.json").write_text(json.dumps(rest))
    partial.rename(folder)


def _load(folder: Path) -> list[Clip]:
    return [
        Clip(**json.loads(file.with_suffix(".json").read_text()), **np.load(file))
        for file in sorted(folder.glob("*.npz"))
    ]
