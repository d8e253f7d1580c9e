"""One video made ready for the metrics: frames paired and chosen, joints by name, ignore regions applied."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.records import Doubles, PoseRecords
from jmpose_cli.metrics.joints import JOINTS
from jmpose_cli.metrics.polygons import inside_any
from jmpose_cli.metrics.rules import Rules
from jmpose_cli.values import Bools, Ids

MATCH_DISTANCE = 0.5
"""Largest distance of a correct joint, in head sizes (PCKh@0.5); a joint exactly there is correct."""
_HEAD_SHARE = 0.6  # of the diagonal of the head box (MPII, PoseTrack)


@dataclass(frozen=True)
class People:
    """The N people of the F evaluated frames of one video, ordered by frame, then as in the file.

    Attributes:
        frame: `[N]` number of the evaluated frame, 0 to F - 1.
        track: `[N]` track id.
        xy: `[N, 15, 2]` image pixels.
        present: `[N, 15]` the joint is there and counts.
        scores: `[N, 15]` joint scores.
        head_size: `[N]` pixels; NaN for predictions.
        starts: `[F + 1]` first row of each frame, then N.
    """

    frame: Ids
    track: Ids
    xy: Doubles
    present: Bools
    scores: Doubles
    head_size: Doubles
    starts: Ids

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def per_frame(self) -> Ids:
        """`[F]` people in each frame."""
        return np.diff(self.starts)

    def keep(self, rows: Bools) -> "People":
        """Return the people of the rows that are True."""
        frame = self.frame[rows]
        frames = len(self.starts) - 1
        return People(
            frame=frame,
            track=self.track[rows],
            xy=self.xy[rows],
            present=self.present[rows],
            scores=self.scores[rows],
            head_size=self.head_size[rows],
            starts=np.searchsorted(frame, np.arange(frames + 1)),
        )

    def without_low_scores(self, threshold: float) -> "People":
        """Drop joints with a lower score, and people who are left without joints."""
        present = self.present & (self.scores >= threshold)
        stays = np.asarray(present.any(1) | ~self.present.any(1), bool)
        return replace(self, present=present).keep(stays)


@dataclass(frozen=True)
class VideoPair:
    """Ground truth and predictions of one video under one rule set.

    Attributes:
        name: Of the video.
        image_rows: `[F]` place of each evaluated frame in the ground truth's list of images.
        truth: Annotated people.
        predicted: Predicted people.
        notes: What a reader of the numbers should know.
    """

    name: str
    image_rows: Ids
    truth: People
    predicted: People
    notes: tuple[str, ...] = ()

    @property
    def frames(self) -> int:
        """Number of evaluated frames."""
        return len(self.image_rows)


def pair_video(name: str, truth: PoseRecords, predicted: PoseRecords, rules: Rules) -> VideoPair:
    """Bring the two files of one video together.

    Args:
        name: Of the video.
        truth: Ground truth.
        predicted: Predictions; as many images as the ground truth.
        rules: What is evaluated.

    Raises:
        JmposeError: The numbers of images differ, one of the 15 joints is missing in a file, or an annotated
            person has no head box.
    """
    if len(truth.images) != len(predicted.images):
        raise JmposeError(
            f"{predicted.path}: {len(predicted.images)} images, but {truth.path} has {len(truth.images)}",
            hint="predictions must list every image of the ground truth, in its order, also those without people",
        )
    notes: list[str] = []
    place_of = _places(truth, predicted, rules, notes)
    chosen = _chosen_frames(truth, rules, notes)
    number = np.full(len(truth.images), -1)
    number[chosen] = np.arange(len(chosen))
    people = _people(truth, number[truth.image_row], rules, len(chosen))
    people = replace(people, head_size=_head_sizes(truth, people, number[truth.image_row]))
    guesses = _people(predicted, number[place_of[predicted.image_row]], rules, len(chosen))
    if rules.truncates:
        guesses = _truncated(guesses, predicted, place_of, chosen, notes)
    regions = [truth.images[row].ignore_regions for row in chosen.tolist()]
    return VideoPair(
        name=name,
        image_rows=chosen,
        truth=_outside(people, regions),
        predicted=_outside(guesses, regions),
        notes=tuple(f"{name}: {note}" for note in notes),
    )


def _places(truth: PoseRecords, predicted: PoseRecords, rules: Rules, notes: list[str]) -> Ids:
    """`[M]` for each predicted image its place in the ground truth."""
    in_order = np.arange(len(truth.images))
    ids, other = ([image.id for image in records.images] for records in (truth, predicted))
    if ids == other:
        return in_order
    if sorted(ids) != sorted(other):
        notes.append("image ids differ between the files; images were paired by their place in the list")
        return in_order
    if rules.pairing == "position":
        notes.append("the predictions list the images in another order; paired by place, as the official kit does")
        return in_order
    notes.append("the predictions list the images in another order, which the official kit refuses; paired by id")
    place = {image_id: row for row, image_id in enumerate(ids)}
    return np.array([place[image_id] for image_id in other], np.int64)


def _chosen_frames(truth: PoseRecords, rules: Rules, notes: list[str]) -> Ids:
    """`[F]` places of the evaluated frames: those with an entry for a person, even one without joints."""
    annotated = np.unique(truth.image_row)
    if rules.frames == "annotated":
        return annotated
    labelled = np.array([image.is_labeled for image in truth.images], bool)
    empty = int(labelled.sum()) - int(labelled[annotated].sum())
    if empty:
        notes.append(f"{empty} labelled frames have no people, where the official kit stops; they were left out")
    return np.asarray(annotated[labelled[annotated]])


def _people(records: PoseRecords, frame: Ids, rules: Rules, frames: int) -> People:
    """Take the people of the evaluated frames; `frame` is -1 for the others."""
    lacking = [joint for joint in JOINTS if joint not in records.joints]
    if lacking:
        raise JmposeError(
            f"{records.path}: without the joints {', '.join(lacking)}",
            hint=f"PoseTrack evaluates {', '.join(JOINTS)}; `jmpose convert` makes PoseTrack files of COCO ones",
        )
    rows = np.argsort(frame, kind="stable")
    rows = rows[frame[rows] >= 0]
    columns = [records.joints.index(joint) for joint in JOINTS]
    xy = records.xy[rows][:, columns]
    present = records.present[rows][:, columns]
    if rules.positive_only:
        present = present & (xy > 0).all(2)
    return People(
        frame=frame[rows],
        track=records.track_ids[rows],
        xy=xy,
        present=present,
        # What the official kits put where there are no scores: all tied.
        scores=np.nan_to_num(records.scores[rows][:, columns], nan=-9999.0),
        head_size=np.full(len(rows), np.nan),
        starts=np.searchsorted(frame[rows], np.arange(frames + 1)),
    )


def _head_sizes(truth: PoseRecords, people: People, frame: Ids) -> Doubles:
    """`[N]` head sizes in pixels of the annotated people in the order of `people`."""
    rows = np.argsort(frame, kind="stable")
    rows = rows[frame[rows] >= 0]
    boxes = truth.head_boxes_xyxy_px[rows]
    sizes = _HEAD_SHARE * np.hypot(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    headless = np.flatnonzero(np.isnan(sizes) & people.present.any(1))
    if headless.size:
        row = int(rows[headless[0]])
        image = truth.images[truth.image_row[row]]
        raise JmposeError(
            f"{truth.path}: the person with track_id {truth.track_ids[row]} in {image.file_name} has no `bbox_head`",
            hint="distances are measured in head sizes, so every annotated person with joints needs a head box",
        )
    return np.asarray(sizes)


def _truncated(people: People, predicted: PoseRecords, place_of: Ids, chosen: Ids, notes: list[str]) -> People:
    """Cut scores where the official kit loses their fractions: it keeps them beside integer coordinates."""
    whole = np.zeros(len(place_of), bool)
    whole[place_of] = predicted.integer_coordinates
    rows = whole[chosen][people.frame]
    if not rows.any():
        return people
    notes.append("frames with integer coordinates only: their scores count as integers, as in the official kit")
    return replace(people, scores=np.where(rows[:, None], np.trunc(people.scores), people.scores))


def _outside(people: People, regions: Sequence[tuple[Doubles, ...]]) -> People:
    """Drop joints inside ignore regions, and in frames with regions the people without joints."""
    present = people.present.copy()
    stays = np.ones(len(people), bool)
    for frame, polygons in enumerate(regions):
        rows = slice(people.starts[frame], people.starts[frame + 1])
        if polygons and rows.start < rows.stop:
            hidden = inside_any(people.xy[rows].reshape(-1, 2), polygons).reshape(-1, len(JOINTS))
            present[rows] &= ~hidden
            stays[rows] = present[rows].any(1)
    return replace(people, present=present).keep(stays)


@dataclass(frozen=True)
class PosePairs:
    """All Q pairs of an annotated and a predicted person in the same frame; frame by frame, person by person.

    Attributes:
        truth_row: `[Q]` row of the annotated person.
        predicted_row: `[Q]` row of the predicted one.
        distance: `[Q, 15]` head-normalised distance of each joint; infinite where either lacks it.
        starts: `[F + 1]` first pair of each frame.
    """

    truth_row: Ids
    predicted_row: Ids
    distance: Doubles
    starts: Ids


def pair_people(truth: People, predicted: People) -> PosePairs:
    """Measure every annotated against every predicted person of the same frame."""
    wide = predicted.per_frame
    starts = np.concatenate([[0], np.cumsum(truth.per_frame * wide)])
    frame = np.repeat(np.arange(len(wide)), np.diff(starts))
    within = np.arange(starts[-1]) - starts[frame]
    # A frame without pairs has no entry in `frame`, so no width below is 0.
    truth_row = truth.starts[frame] + within // wide[frame]
    predicted_row = predicted.starts[frame] + within % wide[frame]
    apart = truth.xy[truth_row] - predicted.xy[predicted_row]
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.sqrt((apart * apart).sum(2)) / truth.head_size[truth_row, None]
    both = truth.present[truth_row] & predicted.present[predicted_row]
    # A head box without extent gives 0 / 0, which matches nothing.
    return PosePairs(truth_row, predicted_row, np.where(both & ~np.isnan(distance), distance, np.inf), starts)
