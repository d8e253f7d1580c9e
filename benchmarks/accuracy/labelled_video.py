"""Accuracy on real video, against joints that were labelled by eye in `jmpose review`.

    python benchmarks/accuracy/labelled_video.py --model nano small
    python benchmarks/accuracy/labelled_video.py --take out/street    # labels of its reviewed frames, to be committed

Labels lie in `real_labels` beside this file, coordinates without pictures; how they were made is told there. On the
labelled boxes answer each model's single-frame part (`single`), the whole model (`temporal`), which gets the frames
around with the same boxes, and the pose teacher. Counted are:

- OKS AP, with an area of .53 of the box as in `coco_persons`;
- PCK@0.1: joints within a tenth of the root of the box area, of people with five labelled joints or more; also of
  those joints alone that were put somewhere else than the model had them, by whose answers the labelling began;
- pairs of joints that fit the labels better with left and right exchanged, see `mix_ups.py`.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from jmpose.files import file_sha256
from jmpose.keypoints import COCO17
from jmpose_cli.clips.layout import MODEL_FILE
from jmpose_cli.clips.operation import grown
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.keypoint_mapping import map_poses
from jmpose_cli.formats.truth import Truth, read_truth
from jmpose_cli.known_weights import choose_model
from jmpose_cli.pose.engines import load_estimator
from jmpose_cli.pose.estimator import EstimatorSettings, PoseEstimator
from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker
from jmpose_cli.values import Bools, Bytes
from jmpose_cli.video.source import open_video
from mix_ups import exchanged
from pose_accuracy import annotated_frame, oks
from real_video import TEST, TRAINING, Teacher, ask_teacher, command, commit, seen_frames, table

LABELS = Path(__file__).with_name("real_labels")
MOVED_PX = 1.0  # a joint that is further from the model's was put there
AREA = 0.53  # of the box
MIN_JOINTS, NEAR = 5, 0.1


@dataclass(frozen=True)
class Labels:
    """The labelled people of a video, in the order of their frames.

    Attributes:
        data: The file: a COCO keypoint data set.
    """

    data: dict[str, Any]

    @property
    def video(self) -> str:
        """Its name."""
        return str(self.data["info"]["video"]["name"])

    @cached_property
    def people(self) -> list[dict[str, Any]]:
        """The annotations."""
        return sorted(self.data["annotations"], key=lambda one: one["image_id"])

    @cached_property
    def frames(self) -> list[tuple[int, list[dict[str, Any]]]]:
        """Frame numbers, rising, and who is labelled in each."""
        number = {image["id"]: image["frame_index"] for image in self.data["images"]}
        return [(number[image], list(some)) for image, some in groupby(self.people, lambda one: one["image_id"])]

    @property
    def xy(self) -> np.ndarray:
        """`[n, 17, 2]` joints."""
        return self._joints[..., :2]

    @property
    def known(self) -> Bools:
        """`[n, 17]` which are labelled."""
        return np.asarray(self._joints[..., 2] > 0)

    @property
    def placed(self) -> Bools:
        """`[n, 17]` which of these are not where the model had them."""
        return self.known & (np.array([one["keypoint_sources"] for one in self.people]) == "corrected")

    @property
    def size_px(self) -> np.ndarray:
        """`[n]` roots of the box areas."""
        return np.sqrt(np.array([one["bbox"] for one in self.people])[:, 2:].prod(1))

    @cached_property
    def _joints(self) -> np.ndarray:
        return np.array([one["keypoints"] for one in self.people], float).reshape(-1, len(COCO17), 3)


@dataclass(frozen=True)
class Answers:
    """What somebody answers for the people of `Labels`, in their order.

    Attributes:
        xy: `[n, 17, 2]` COCO joints.
        scores: `[n, 17]`.
        person_scores: `[n]`.
    """

    xy: np.ndarray
    scores: np.ndarray
    person_scores: np.ndarray


@dataclass(frozen=True)
class Figures:
    """What is counted, over one or several videos; NaN where nothing is."""

    labels: Sequence[Labels]
    answers: Sequence[Answers]

    @property
    def oks_ap(self) -> float:
        """Per cent."""
        images, people, results, shift = [], [], [], 0
        for labels, answers in zip(self.labels, self.answers, strict=True):
            images += [{"id": image["id"] + shift} for image in labels.data["images"]]
            flat = np.concatenate([answers.xy, answers.scores[..., None]], 2).reshape(len(answers.xy), -1).tolist()
            for one, keypoints, score in zip(labels.people, flat, answers.person_scores.tolist(), strict=True):
                which = {"image_id": one["image_id"] + shift, "category_id": 1}
                people.append(one | which | {"id": len(people) + 1})
                results.append(which | {"keypoints": keypoints, "score": score})
            shift += max(image["id"] for image in labels.data["images"])
        truth = {"info": {}, "images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
        return 100 * oks(truth, results)["AP"]

    def pck(self, *, placed: bool) -> float:
        """Per cent, of all joints or of those that were placed."""
        right, counted = 0, 0
        for labels, answers in zip(self.labels, self.answers, strict=True):
            count = labels.placed if placed else labels.known
            count = count & (labels.known.sum(1) >= MIN_JOINTS)[:, None]
            off = np.linalg.norm(answers.xy - labels.xy, axis=2)
            right += int((count & (off < NEAR * labels.size_px[:, None])).sum())
            counted += int(count.sum())
        return 100 * right / counted if counted else float("nan")

    @property
    def exchanged(self) -> float:
        """Pairs of joints, per cent."""
        pairs = zip(self.labels, self.answers, strict=True)
        hit, counted = zip(*(exchanged(a.xy, one.xy, one.known) for one, a in pairs), strict=True)
        total = int(np.concatenate(counted).sum())
        return 100 * int((np.concatenate(hit) & np.concatenate(counted)).sum()) / total if total else float("nan")


def read_labels(folder: Path = LABELS) -> list[Labels]:
    """Read the labels of all videos."""
    return [Labels(json.loads(file.read_text())) for file in sorted(folder.glob("*.json"))]


def frames_around(video: Path, labels: Labels, reach: int) -> Iterator[dict[int, Bytes]]:
    """Yield, for each labelled frame in turn, it and those up to `reach` frames away, by number."""
    wanted = [number for number, _ in labels.frames]
    last = labels.data["info"]["video"]["frames"] - 1
    held: dict[int, Bytes] = {}
    first, end = max(wanted[0] - reach, 0), min(wanted[-1] + reach, last)
    nobody = annotated_frame([], [])
    for seen in seen_frames(video, [replace(nobody, index=n) for n in range(first, end + 1)]):
        held[seen.people.index] = seen.pixels
        while wanted and seen.people.index == min(wanted[0] + reach, end):
            yield {n: held[n] for n in held if abs(n - wanted[0]) <= reach}
            wanted.pop(0)
        held = {n: pixels for n, pixels in held.items() if wanted and n >= wanted[0] - reach}


def spacing_of(estimator: PoseEstimator, labels: Labels) -> Spacing:
    """Return which frames a model looks at in a video."""
    preprocess = estimator.preprocess
    return Spacing.for_video(
        preprocess.window_offsets,
        fps=labels.data["info"]["video"]["fps"],
        reference_fps=preprocess.reference_fps,
        max_gap_s=preprocess.max_support_gap_s,
    )


def estimate(estimator: PoseEstimator, labels: Labels, place: int, frames: dict[int, Bytes]) -> tuple[Answers, Answers]:
    """Ask a model about the labelled frame at a place; return the answers of its single-frame part and of all of it."""
    number, people = labels.frames[place]
    on_boxes = annotated_frame([one["bbox"] for one in people], [one["track_id"] for one in people])
    maker, windows = WindowMaker(spacing_of(estimator, labels)), []
    for n, pixels in frames.items():
        here = replace(on_boxes, index=n, time_s=n / labels.data["info"]["video"]["fps"])
        windows += maker.push(SeenFrame(pixels, here))
    wanted = [one for one in [*windows, *maker.finish()] if one.key.people.index == number]
    (temporal,), (single,) = estimator.estimate_both(wanted)
    found = (map_poses(one, estimator.keypoints, COCO17) for one in (single, temporal))
    return tuple(Answers(one.xy_image, one.scores, one.person_scores) for one in found)  # type: ignore[return-value]


def ask(teacher: Teacher, labels: Labels, place: int, frames: dict[int, Bytes]) -> Answers:
    """Ask the pose teacher about the labelled frame at a place."""
    number, people = labels.frames[place]
    xy, scores, _ = zip(*(ask_teacher(frames[number], one["bbox"], teacher) for one in people), strict=True)
    return Answers(np.stack(xy), np.stack(scores), np.stack(scores).mean(1))


def answers_of(labels: Labels, video: Path, models: dict[str, PoseEstimator], teacher: Teacher) -> dict[str, Answers]:
    """Return what all answer about the people of a video, by name."""
    reach = max(spacing_of(model, labels).reach for model in models.values())
    found: dict[str, list[Answers]] = {}
    for place, frames in enumerate(frames_around(video, labels, reach)):
        for name, model in models.items():
            near = {n: frames[n] for n in frames if abs(n - labels.frames[place][0]) <= spacing_of(model, labels).reach}
            for kind, answers in zip(("single", "temporal"), estimate(model, labels, place, near), strict=True):
                found.setdefault(f"{name}, {kind}", []).append(answers)
        found.setdefault("teacher", []).append(ask(teacher, labels, place, frames))
    columns = ("xy", "scores", "person_scores")
    return {
        name: Answers(*(np.concatenate([getattr(one, column) for one in some]) for column in columns))
        for name, some in found.items()
    }


def tables(labels: Sequence[Labels], found: dict[str, list[Answers]]) -> list[str]:
    """Lines of Markdown: each figure by video, for each of those who answered (by name, in the order of `labels`)."""
    groups = {one.video: [place] for place, one in enumerate(labels)}
    for name, videos in (("all test videos", TEST), ("all that training may use", TRAINING)):
        groups[name] = [place for place, one in enumerate(labels) if one.video in videos]
    kinds = {
        "OKS AP": lambda figures: figures.oks_ap,
        "PCK@0.1": lambda figures: figures.pck(placed=False),
        "PCK@0.1 of joints that were placed": lambda figures: figures.pck(placed=True),
        "Sides exchanged, per cent of pairs": lambda figures: figures.exchanged,
    }
    lines = []
    for title, figure in kinds.items():
        rows = [
            [
                name,
                sum(len(labels[n].people) for n in places),
                *(figure(Figures([labels[n] for n in places], [a[n] for n in places])) for a in found.values()),
            ]
            for name, places in groups.items()
            if places
        ]
        lines += [f"## {title}", "", *table(["", "people", *found], rows)]
    return lines


def take(clips: Sequence[Path], video: Path) -> dict[str, Any]:
    """Return labels of the reviewed frames of clips of one video, as the file has them.

    Args:
        clips: Folders, corrected by `jmpose review` or `jmpose edit`; people who are not labelled are deleted there.
        video: The file.
    """
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    truths = [(read_truth(clip), read_truth(clip / MODEL_FILE)) for clip in clips]
    for truth, model in truths:
        images += [
            {
                "id": number + 1,
                "file_name": f"{video.stem}/frame_{number:06d}.jpg",
                "width": truth.video.width,
                "height": truth.video.height,
                "frame_index": number,
            }
            for number in truth.index[truth.reviewed].tolist()
        ]
        people += [_label(truth, model, row) for row in np.flatnonzero(truth.reviewed[truth.frame]).tolist()]
    images.sort(key=lambda image: image["id"])
    people.sort(key=lambda one: (one["image_id"], one["track_id"]))
    meta = truths[0][0].video
    with open_video(video) as source:
        frames = sum(len(batch.frames) for batch in source)
    facts = {"name": video.stem, "sha256": file_sha256(video), "width": meta.width, "height": meta.height}
    category = {"id": 1, "name": "person", "keypoints": list(COCO17.joints)}
    return {
        "info": {"video": facts | {"fps": meta.fps, "frames": frames}},
        "categories": [category | {"skeleton": [[a + 1, b + 1] for a, b in COCO17.skeleton_index]}],
        "images": images,
        "annotations": [{"id": number} | one for number, one in enumerate(people, 1)],
    }


def _label(truth: Truth, model: Truth, row: int) -> dict[str, Any]:
    count = len(COCO17)
    number, track = int(truth.index[truth.frame[row]]), int(truth.track_ids[row])
    xy = truth.xy[row, :count].round(1)
    inside = ((xy >= 0) & (xy <= [truth.video.width - 1, truth.video.height - 1])).all(1)
    seen = np.where(inside, truth.visibility[row, :count], 0)
    box = grown(truth.boxes_xyxy_px[[row]], xy[None], seen[None] > 0)[0]
    box = box.clip(0, np.tile([truth.video.width - 1, truth.video.height - 1], 2)).round(1)
    theirs = np.flatnonzero((model.index[model.frame] == number) & (model.track_ids == track))
    placed = np.ones(count, bool)
    if len(theirs):
        off = np.linalg.norm(model.xy[theirs[0], :count] - xy, axis=1)
        placed = (model.visibility[theirs[0], :count] == 0) | (off > MOVED_PX)
    joints = np.where(seen[:, None] > 0, np.column_stack([xy, seen]), 0)
    left, top, width, height = [*box[:2].tolist(), *(box[2:] - box[:2]).round(1).tolist()]
    return {
        "image_id": number + 1,
        "category_id": 1,
        "track_id": track,
        "bbox": [left, top, width, height],
        "area": round(AREA * width * height, 1),
        "iscrowd": 0,
        "num_keypoints": int((seen > 0).sum()),
        "keypoints": [int(value) if value == int(value) else value for value in joints.ravel().tolist()],
        "keypoint_sources": np.where(placed & (seen > 0), "corrected", "model").tolist(),
    }


def write(labels: dict[str, Any], folder: Path) -> Path:
    """Write labels, with one picture or person a line; return the file."""

    def lines(rows: Sequence[dict[str, Any]]) -> str:
        return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"

    parts = [f"{json.dumps(key)}: {lines(labels[key])}" for key in ("categories", "images", "annotations")]
    file = folder / f"{labels['info']['video']['name']}.json"
    file.write_text(",\n".join([f'{{"info": {json.dumps(labels["info"])}', *parts]) + "}\n")
    return file


def main() -> None:
    """Print the figures, or take labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of real data")
    parser.add_argument("--model", nargs="+", default=["nano", "small"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--labels", type=Path, default=LABELS, help="folder; no model was asked for real_labels/blind")
    parser.add_argument("--take", type=Path, nargs="+", metavar="CLIP", help="corrected clips of one video")
    args = parser.parse_args()
    if not (args.data / "videos").is_dir():
        raise SystemExit(f"skipped: {args.data} has no videos; give the folder of real data with --data")
    if args.take:
        print(write(take(args.take, args.data / f"videos/{args.take[0].name}.mp4"), args.labels))
        return
    labels = read_labels(args.labels)
    videos = [args.data / f"videos/{one.video}.mp4" for one in labels]
    for one, video in zip(labels, videos, strict=True):
        if file_sha256(video) != one.data["info"]["video"]["sha256"]:
            raise JmposeError(f"{video}: another video than the one that was labelled")
    settings = EstimatorSettings(threads=args.threads)
    models = {name: load_estimator(choose_model(name).path, settings, engine="auto")[0] for name in args.model}
    teacher, found = Teacher(args.data), dict[str, list[Answers]]()
    for one, video in zip(labels, videos, strict=True):
        print(one.video, file=sys.stderr, flush=True)
        for name, answers in answers_of(one, video, models, teacher).items():
            found.setdefault(name, []).append(answers)
    print(f"`{command()}`, commit {commit()}", "", *tables(labels, found), sep="\n")


if __name__ == "__main__":
    main()
