"""Limbs on one point, exchanged sides and one skeleton on two people, on real video and on annotated stills.

The part `people` of `steadiness.py`. What is counted:

- **Collapsed**: pairs of wrists, knees or ankles within 3 % of the box's height of each other, of those that are more
  than 6 % apart by the reference.
- **Exchanged**: pairs of shoulders, elbows, wrists, hips, knees or ankles that would be nearer to the reference if left
  and right were exchanged, by the side from which the person is seen: from the front when left shoulder and hip lie
  right of the right ones by a tenth of the box size (the root of its area) or more, on average, from behind when they
  lie as far left of them, else from the side.
- **One skeleton**: pairs of people whose boxes overlap by less than an IoU of 0.5, and whose poses are more alike than
  an OKS of 0.5; of pairs of people with overlapping boxes.

Scenes are stretches of the test videos of `real_video.py`, as long as their people are few, with the people who are
tall enough; the reference is the teacher where it is sure and agrees with itself. In `coco_persons/val`, on annotated
boxes, it is the annotation, and five frames do not exist. People walk whose box moves by three tenths of its height a
second or more, from its first frame to its last.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from jmpose.keypoints import COCO17
from jmpose_cli.formats.keypoint_mapping import map_poses
from jmpose_cli.pose.doubles import oks_between
from jmpose_cli.pose.estimator import PoseEstimator
from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker, Windows
from jmpose_cli.values import Bools, Bytes, FramePoses, TrackedFrame
from jmpose_cli.video.drawing import DrawStyle, draw_people
from pose_accuracy import annotated_frame
from real_video import AGREE, MIN_HEIGHT_PX, TRACKED, ask_teacher, load_tracks, seen_frames, table, teacher_version

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "models/recipes"))
from calibrate import annotated_pictures  # noqa: E402
from nano_data import SURE, Teacher, read_rgb  # noqa: E402

STILLS = "coco_persons/val"
POSES = 300  # of a video, at most
ONE_POINT, CLEARLY_TWO = 0.03, 0.06  # of the box's height
FACING = 0.1  # of the box size
ALIKE, APART = 0.5, 0.5  # OKS of poses, IoU of boxes
WALKING = 0.3  # box heights a second
CALL = 8  # frames
ENDS = ("wrist", "knee", "ankle")
PAIRS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
VIEWS = ("front", "side", "back")
TILE_PX = 320


@dataclass(frozen=True)
class Share:
    """How many of those counted are hit."""

    counted: int
    hit: int

    def __add__(self, other: "Share") -> "Share":
        return Share(self.counted + other.counted, self.hit + other.hit)

    @property
    def percent(self) -> float:
        """Per cent; NaN where none was counted."""
        return 100 * self.hit / self.counted if self.counted else float("nan")

    def __str__(self) -> str:
        return f"{self.percent:.1f} ({self.hit} of {self.counted})" if self.counted else "-"

    @classmethod
    def of(cls, hit: Bools, counted: Bools) -> "Share":
        """Count where both are."""
        return cls(int(counted.sum()), int((hit & counted).sum()))


@dataclass(frozen=True)
class Scene:
    """People in consecutive frames, or in stills, and where their joints are.

    Attributes:
        name: The video or set.
        fps: Frames a second; 0 for stills.
        people: The people of each frame.
        reference: Their COCO joints by somebody who knows; a score of 0 says that a joint is not known.
        teacher: What the pose teacher answers.
    """

    name: str
    fps: float
    people: list[TrackedFrame]
    reference: list[FramePoses]
    teacher: list[FramePoses]


def pair_of(part: str) -> list[int]:
    """Left and right joint of a part of the body."""
    return [COCO17.joints.index(f"{side}_{part}") for side in ("left", "right")]


def collapsed(xy: np.ndarray, reference: np.ndarray, known: Bools, height_px: np.ndarray) -> tuple[Bools, Bools]:
    """Say which wrists, knees and ankles lie on one point though they are two.

    Args:
        xy: `[n, 17, 2]` COCO joints.
        reference: `[n, 17, 2]` where they should be.
        known: `[n, 17]` bool, joints that the reference knows.
        height_px: `[n]` heights of boxes.

    Returns:
        `[n, 3]` which pairs are on one point, and `[n, 3]` which count.
    """
    pairs = np.array([pair_of(part) for part in ENDS]).T

    def apart(joints: np.ndarray) -> np.ndarray:
        return np.linalg.norm(joints[:, pairs[0]] - joints[:, pairs[1]], axis=2) / height_px[:, None]

    counted = known[:, pairs[0]] & known[:, pairs[1]] & (apart(reference) > CLEARLY_TWO)
    return apart(xy) < ONE_POINT, counted


def exchanged(xy: np.ndarray, reference: np.ndarray, known: Bools) -> tuple[Bools, Bools]:
    """Say which pairs of joints `[n, 17, 2]` fit the reference better the other way round.

    Returns:
        `[n, 6]` which pairs are exchanged, and `[n, 6]` which count as both joints are known.
    """
    left, right = np.array([pair_of(part) for part in PAIRS]).T

    def apart(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        return np.linalg.norm(xy[:, ours] - reference[:, theirs], axis=2)

    kept, crossed = apart(left, left) + apart(right, right), apart(left, right) + apart(right, left)
    return crossed < kept, known[:, left] & known[:, right]


def view_of(reference: np.ndarray, known: Bools, size_px: np.ndarray) -> np.ndarray:
    """Say `[n]` from where people are seen, one of `VIEWS`, or nothing where shoulders and hips are not known."""
    pairs = np.array([pair_of(part) for part in ("shoulder", "hip")])
    across = (reference[:, pairs[:, 0], 0] - reference[:, pairs[:, 1], 0]).mean(1) / size_px
    seen = np.select([across >= FACING, across <= -FACING], ["front", "back"], "side")
    return np.where(known[:, pairs].all((1, 2)), seen, "")


def one_skeleton(poses: FramePoses) -> tuple[Bools, Bools]:
    """Say which pairs of people of a frame share a skeleton.

    Returns:
        `[m]` which pairs are alike though their boxes are apart, and `[m]` which pairs have boxes that overlap.
    """
    one, other = np.triu_indices(len(poses), 1)
    boxes = poses.people.boxes_xyxy_px
    sides = np.minimum(boxes[one, 2:], boxes[other, 2:]) - np.maximum(boxes[one, :2], boxes[other, :2])
    both, area = sides.clip(min=0).prod(1), (boxes[:, 2:] - boxes[:, :2]).prod(1)
    iou = both / (area[one] + area[other] - both).clip(min=1e-9)
    return (oks_between(poses, COCO17)[one, other] > ALIKE) & (iou < APART), iou > 0


def walkers(people: Sequence[TrackedFrame], fps: float) -> set[int]:
    """Tracks whose box goes somewhere."""
    found = set()
    for track in np.unique(np.concatenate([p.track_ids for p in people])).tolist() if fps else ():
        boxes = np.concatenate([p.boxes_xyxy_px[p.track_ids == track] for p in people])
        middles, height = (boxes[:, :2] + boxes[:, 2:]) / 2, np.median(boxes[:, 3] - boxes[:, 1])
        way = np.linalg.norm(middles[-1] - middles[0]) / height
        if len(boxes) > 1 and way * fps / (len(boxes) - 1) >= WALKING:
            found.add(track)
    return found


def scene_of(name: str, data: Path, teacher: Teacher, *, cache: Path) -> Scene:
    """Return a video or the stills, by name."""
    return (still_scene if name == STILLS else partial(video_scene, name))(data, teacher, cache=cache)


def video_scene(name: str, data: Path, teacher: Teacher, *, cache: Path) -> Scene:
    """Return the stretch of a video with most people who are tall enough; the teacher's answers are kept in `cache`."""
    fps, people = load_tracks(name, data, cache=cache)
    tall = [_only(p, p.boxes_xyxy_px[:, 3] - p.boxes_xyxy_px[:, 1] >= MIN_HEIGHT_PX) for p in people]
    counts = np.array([len(p) for p in tall])
    length = min(len(people), POSES // max(int(counts.max()), 1))
    first = int(np.convolve(counts, np.ones(length, int), "valid").argmax())
    part = tall[first : first + length]
    file = cache / "people" / f"{name}-{first}-{length}-{teacher_version()}.npz"
    seen = seen_frames(data / f"videos/{name}.mp4", part)
    taught, sure = _taught(part, (s.pixels for s in seen), teacher, file)
    return Scene(name, fps, part, _poses(part, taught[..., :2], sure), _poses(part, taught[..., :2], taught[..., 2]))


def still_scene(data: Path, teacher: Teacher, *, cache: Path) -> Scene:
    """Return the people of `coco_persons/val` on annotated boxes, with annotated joints."""
    pictures = annotated_pictures(data / f"{STILLS}.json")
    people = [
        annotated_frame([person["bbox"] for person in some], range(1, len(some) + 1), index=index)
        for index, (_, some) in enumerate(pictures)
    ]
    joints = np.concatenate([np.array([p["keypoints"] for p in some], np.float32) for _, some in pictures])
    joints = joints.reshape(-1, 17, 3)
    images = (read_rgb(file) for file, _ in pictures)
    taught, _ = _taught(people, images, teacher, cache / "people" / f"stills-{teacher_version()}.npz")
    truth = _poses(people, joints[..., :2], (joints[..., 2] > 0).astype(np.float32))
    return Scene(STILLS, 0.0, people, truth, _poses(people, taught[..., :2], taught[..., 2]))


def pictures_of(scene: Scene, data: Path) -> Iterator[SeenFrame]:
    """Yield the frames of a scene again."""
    if scene.fps:
        yield from seen_frames(data / f"videos/{scene.name}.mp4", scene.people)
    else:
        for (file, _), people in zip(annotated_pictures(data / f"{STILLS}.json"), scene.people, strict=True):
            yield SeenFrame(read_rgb(file).copy(), people)


def estimate(estimator: PoseEstimator, scene: Scene, data: Path) -> tuple[list[FramePoses], list[FramePoses]]:
    """Run the tool's windows and network; gives COCO poses of each frame by it alone, and by five."""
    preprocess, frames = estimator.preprocess, pictures_of(scene, data)
    single: list[FramePoses] = []
    five: list[FramePoses] = []

    def answer(windows: Sequence[Windows]) -> None:
        for poses, given in zip((five, single), estimator.estimate_both(windows), strict=True):
            poses += [map_poses(p, estimator.keypoints, COCO17) for p in given]

    if not scene.fps:  # every still stands for itself, and has a size of its own
        for frame in frames:
            maker = WindowMaker(Spacing(preprocess.window_offsets, 1.0))
            answer([*maker.push(frame), *maker.finish()])
        return single, five
    spacing = Spacing.for_video(
        preprocess.window_offsets,
        fps=scene.fps,
        reference_fps=preprocess.reference_fps,
        max_gap_s=preprocess.max_support_gap_s,
    )
    maker, held = WindowMaker(spacing), []
    for frame in frames:
        held += maker.push(frame)
        if len(held) >= CALL:
            answer(held)
            held = []
    answer([*held, *maker.finish()])
    return single, five


class Findings:
    """What is wrong with the poses of one output in one scene.

    Args:
        scene: The scene.
        poses: The output's poses of each frame.
    """

    def __init__(self, scene: Scene, poses: Sequence[FramePoses]) -> None:
        xy, wanted = (np.concatenate([p.xy_image for p in each]) for each in (poses, scene.reference))
        known = np.concatenate([p.scores for p in scene.reference]) > 0
        boxes = np.concatenate([p.boxes_xyxy_px for p in scene.people])
        sides = boxes[:, 2:] - boxes[:, :2]
        going = walkers(scene.people, scene.fps)
        ids = np.concatenate([p.track_ids for p in scene.people])
        self.walks = np.array([track in going for track in ids.tolist()], bool)
        self.view = view_of(wanted, known, np.sqrt(sides.prod(1)))
        self.collapsed = collapsed(xy, wanted, known, sides[:, 1])
        self.exchanged = exchanged(xy, wanted, known)
        self.shared = [one_skeleton(p) for p in poses]

    def collapses(self, part: str, *, walking: bool) -> Share:
        """Pairs of one part that lie on one point, of everybody or of those who walk."""
        rows, column = self.walks if walking else slice(None), ENDS.index(part)
        hit, counted = (each[rows, column] for each in self.collapsed)
        return Share.of(hit, counted)

    def exchanges(self, view: str) -> Share:
        """Pairs with exchanged sides, of people seen from one side."""
        hit, counted = (each[self.view == view] for each in self.exchanged)
        return Share.of(hit, counted)

    def skeletons(self) -> Share:
        """Pairs of people with one skeleton."""
        return sum((Share.of(hit, near) for hit, near in self.shared), Share(0, 0))

    @property
    def wrong(self) -> np.ndarray:
        """`[n]` how many pairs of each person are on one point or exchanged."""
        return sum((hit & counted).sum(1) for hit, counted in (self.collapsed, self.exchanged))  # type: ignore[return-value]


def mix_up_tables(found: dict[str, dict[str, Findings]]) -> list[str]:
    """Tables of all scenes (by name) and outputs (by name); the teacher is not held to its own answers."""
    outputs = list(next(iter(found.values())))
    videos = [name for name in found if name != STILLS]

    def row(names: Sequence[str], output: str, of: str, **how: object) -> str:
        if output == "teacher" and of != "skeletons" and STILLS not in names:
            return "-"
        return str(sum((getattr(found[name][output], of)(**how) for name in names), Share(0, 0)))

    groups = {name: [name] for name in found} | {"all videos": videos}
    collapse, sides, two = [], [], []
    for part in ENDS:
        wanted = [(name, names, False) for name, names in groups.items()] + [("who walk, all videos", videos, True)]
        for name, names, walking in wanted:
            cells = [row(names, output, "collapses", part=part, walking=walking) for output in outputs]
            collapse.append([f"{part}s", name, *cells])
    for view in VIEWS:
        for name, names in groups.items():
            sides.append([view, name, *(row(names, output, "exchanges", view=view) for output in outputs)])
    for name, names in groups.items():
        two.append([name, *(row(names, output, "skeletons") for output in outputs)])
    return [
        "### Limbs on one point",
        "",
        *table(["", "", *outputs], collapse),
        "### Sides exchanged",
        "",
        *table(["seen from", "", *outputs], sides),
        "### One skeleton on two people",
        "",
        *table(["", *outputs], two),
    ]


def sheet(scene: Scene, data: Path, poses: Sequence[FramePoses], wrong: np.ndarray) -> Bytes:
    """Draw the twelve people with most that is wrong, at most one of a frame, the reference as white rings."""
    frame = np.repeat(np.arange(len(scene.people)), [len(p) for p in scene.people])
    start = np.cumsum([0, *(len(p) for p in scene.people)])
    chosen: dict[int, int] = {}
    for person in np.argsort(-wrong, kind="stable").tolist():
        chosen.setdefault(int(frame[person]), person)
    wanted = dict(list(chosen.items())[:12])
    tiles = {}
    for place, seen in enumerate(pictures_of(scene, data)):
        if place in wanted:
            row = wanted[place] - start[place]
            tiles[place] = _tile(seen.pixels, poses[place], scene.reference[place], int(row))
    tiled = [tiles[place] for place in wanted]
    tiled += [np.zeros_like(tiled[0])] * (-len(tiled) % 4)
    return np.vstack([np.hstack(tiled[n : n + 4]) for n in range(0, len(tiled), 4)])


def _tile(picture: Bytes, poses: FramePoses, reference: FramePoses, row: int) -> Bytes:
    x0, y0, x1, y1 = poses.people.boxes_xyxy_px[row].tolist()
    zoom = TILE_PX / (1.4 * max(x1 - x0, y1 - y0))
    shift = TILE_PX / 2 - zoom * np.array([x0 + x1, y0 + y1]) / 2
    affine = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    people = replace(poses.people, boxes_xyxy_px=(poses.people.boxes_xyxy_px * zoom + np.tile(shift, 2)).astype("f4"))
    shown = replace(poses, people=people, xy_image=(poses.xy_image * zoom + shift).astype("f4"), covariances=None)
    canvas = cv2.warpAffine(picture, affine, (TILE_PX, TILE_PX), flags=cv2.INTER_CUBIC)
    canvas = draw_people(canvas, shown, COCO17, DrawStyle())
    for xy, score in zip(reference.xy_image[row], reference.scores[row], strict=True):
        if score > 0:
            cv2.circle(canvas, np.rint(xy * zoom + shift).astype(int).tolist(), 4, (255, 255, 255), 1, cv2.LINE_AA)
    return canvas


def _only(people: TrackedFrame, kept: Bools) -> TrackedFrame:
    return replace(people, **{key: getattr(people, key)[kept] for key in TRACKED})


def _poses(people: Sequence[TrackedFrame], xy: np.ndarray, scores: np.ndarray) -> list[FramePoses]:
    """Deal joints `[n, 17, 2]` and scores `[n, 17]` to the frames."""
    ends = np.cumsum([len(p) for p in people])[:-1]
    parts = zip(people, np.split(xy, ends), np.split(scores, ends), strict=True)
    return [FramePoses(p, x.astype(np.float32), s.astype(np.float32), p.scores) for p, x, s in parts]


def _taught(
    people: Sequence[TrackedFrame], frames: Iterable[Bytes], teacher: Teacher, file: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Ask the teacher about everybody, once; gives x, y, score `[n, 17, 3]`, and `[n, 17]` 1 where sure, else 0."""
    if not file.is_file():
        answers = []
        for picture, some in zip(frames, people, strict=True):
            corners = some.boxes_xyxy_px
            for box in np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).tolist():
                xy, score, apart = ask_teacher(picture, box, teacher)
                answers.append(np.concatenate([xy, score[:, None], apart[:, None]], 1).astype(np.float32))
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".partial.npz")
        np.savez(unfinished, answers=np.stack(answers))
        unfinished.rename(file)
    with np.load(file) as kept:
        answers = kept["answers"]
    return answers[..., :3], ((answers[..., 2] >= SURE) & (answers[..., 3] <= AGREE)).astype(np.float32)
