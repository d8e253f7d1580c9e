"""PoseTrack evaluation of a data set: videos measured one by one, figures made of what they add up to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, Literal

import numpy as np

from jmpose_cli.formats.records import Doubles, PoseRecords
from jmpose_cli.metrics.hota import HotaCounts, HotaResult, count_hota, hota_figures
from jmpose_cli.metrics.joints import JointTable
from jmpose_cli.metrics.mot import MotCounts, MotResult, count_mot, mot_figures
from jmpose_cli.metrics.pose_ap import (
    ApResult,
    JointDetections,
    PckCounts,
    PckResult,
    count_pckh,
    evaluate_ap,
    join_detections,
    joint_detections,
    pckh_figures,
)
from jmpose_cli.metrics.rules import AP_RULES, HOTA21, MOT_RULES, POSEVAL, HotaRule, PoseTrackProtocol
from jmpose_cli.metrics.video import VideoPair, pair_people, pair_video
from jmpose_cli.values import Ids

TrackThreshold = float | Literal["auto"] | None
_SWEEP_QUANTILES = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True)
class VideoInput:
    """One video, paired for each metric: they come from kits with different rules.

    Attributes:
        ap: Under the rules of the protocol's AP.
        mot: Under those of its MOTA.
        hota: Under those of HOTA.
    """

    ap: VideoPair
    mot: VideoPair
    hota: VideoPair


@dataclass(frozen=True)
class VideoMeasures:
    """What one video adds to the figures.

    Attributes:
        name: Of the video.
        image_rows: `[F]` evaluated frames, as places in the ground truth's list of images.
        people: Annotated people on them.
        predicted: Predicted people on them.
        detections: For AP.
        pck: For PCKh.
        wrong: `[F]` joints missed plus joints wrongly predicted in each frame, all scores taken.
        mot: For MOTA, above the track threshold.
        hota: For HOTA, above the track threshold.
        notes: What a reader should know.
    """

    name: str
    image_rows: Ids
    people: int
    predicted: int
    detections: JointDetections
    pck: PckCounts
    wrong: Ids
    mot: MotCounts
    hota: HotaCounts
    notes: tuple[str, ...]

    @property
    def frames(self) -> int:
        """Number of evaluated frames."""
        return len(self.image_rows)


@dataclass(frozen=True)
class Evaluation:
    """The figures of one set of predictions.

    Attributes:
        protocol: Rule set of AP and MOTA.
        hota_rule: Rule set of HOTA.
        videos: In the order of their names, which is the order of tied scores.
        track_threshold: Joints with a lower score were left out of MOTA and HOTA; None: none were.
        sweep: MOTA total by threshold, when the threshold was searched for.
    """

    protocol: PoseTrackProtocol
    hota_rule: HotaRule
    videos: tuple[VideoMeasures, ...]
    track_threshold: float | None = None
    sweep: Mapping[float, float] | None = None

    @property
    def frames(self) -> int:
        """Evaluated frames."""
        return sum(video.frames for video in self.videos)

    @property
    def people(self) -> int:
        """Annotated people on them."""
        return sum(video.people for video in self.videos)

    @property
    def notes(self) -> list[str]:
        """What a reader should know, of all videos."""
        return [note for video in self.videos for note in video.notes]

    @cached_property
    def detections(self) -> JointDetections:
        """All predicted joints."""
        return join_detections([video.detections for video in self.videos])

    @cached_property
    def ap(self) -> ApResult:
        """AP, precision, recall."""
        return evaluate_ap(self.detections, without_gt=AP_RULES[self.protocol].ap_without_gt)

    @cached_property
    def pckh(self) -> PckResult:
        """PCKh@0.5."""
        return pckh_figures(reduce(PckCounts.__add__, (video.pck for video in self.videos)))

    @cached_property
    def mot_counts(self) -> MotCounts:
        """CLEAR MOT events."""
        return reduce(MotCounts.__add__, (video.mot for video in self.videos))

    @cached_property
    def mot(self) -> MotResult:
        """MOTA, MOTP, precision, recall."""
        return mot_figures(self.mot_counts)

    @cached_property
    def hota(self) -> HotaResult:
        """HOTA and its parts."""
        return hota_figures(reduce(HotaCounts.__add__, (video.hota for video in self.videos)), joined=True)

    def of_video(self, video: VideoMeasures) -> "Evaluation":
        """The same for one video alone."""
        return replace(self, videos=(video,), sweep=None)

    def rules(self) -> dict[str, str]:
        """Name the rule set of each metric."""
        hota = HOTA21.name if self.hota_rule == "devkit" else "as published (IJCV 2020)"
        return {"ap": AP_RULES[self.protocol].name, "mot": f"{POSEVAL.name}, MOTP over matches", "hota": hota}

    def tables(self) -> dict[str, JointTable]:
        """Every table of one value a joint, by its name in `eval.json`."""
        return {
            "ap": self.ap.ap,
            "precision": self.ap.precision,
            "recall": self.ap.recall,
            "pckh": self.pckh.all_people,
            "pckh_found": self.pckh.found_people,
            "mota": self.mot.mota,
            "motp": self.mot.motp,
            "mot_precision": self.mot.precision,
            "mot_recall": self.mot.recall,
            "hota": self.hota.hota,
            "det_a": self.hota.det_a,
            "ass_a": self.hota.ass_a,
            "loc_a": self.hota.loc_a,
        }

    def as_json(self) -> dict[str, Any]:
        """Everything, per joint and per video; percent, None where undefined."""
        return {
            "protocol": self.protocol,
            "rules": self.rules(),
            "frames": self.frames,
            "people": self.people,
            "predicted_people": sum(video.predicted for video in self.videos),
            "track_threshold": self.track_threshold,
            "track_threshold_sweep": None if self.sweep is None else {f"{t:g}": m for t, m in self.sweep.items()},
            **{name: table.as_json() for name, table in self.tables().items()},
            "mot_counts": self.mot_counts.as_json(),
            "videos": {video.name: self._video_json(video) for video in self.videos},
            "notes": self.notes,
        }

    def _video_json(self, video: VideoMeasures) -> dict[str, Any]:
        alone = self.of_video(video)
        tables = alone.tables()
        by_itself = hota_figures(video.hota, joined=False)
        tables |= {
            "hota": by_itself.hota,
            "det_a": by_itself.det_a,
            "ass_a": by_itself.ass_a,
            "loc_a": by_itself.loc_a,
        }
        counts = {"frames": video.frames, "people": video.people, "predicted_people": video.predicted}
        return counts | {name: table.as_json() for name, table in tables.items()}


def pair_inputs(name: str, truth: PoseRecords, predicted: PoseRecords, *, protocol: PoseTrackProtocol) -> VideoInput:
    """Make one video ready.

    Raises:
        JmposeError: The files do not fit, see `pair_video`.
    """
    wanted = (AP_RULES[protocol], MOT_RULES[protocol], HOTA21)
    pairs = {rules: pair_video(name, truth, predicted, rules) for rules in dict.fromkeys(wanted)}
    return VideoInput(*(pairs[rules] for rules in wanted))


def evaluate_posetrack(
    videos: Sequence[VideoInput],
    *,
    protocol: PoseTrackProtocol,
    hota_rule: HotaRule = "devkit",
    track_threshold: TrackThreshold = None,
) -> Evaluation:
    """Evaluate a data set.

    Args:
        videos: In the order of their names; at least one.
        protocol: Rule set of AP and MOTA.
        hota_rule: Rule set of HOTA, see `count_hota`.
        track_threshold: Joints with a lower score are left out of MOTA and HOTA, but not of AP: tracking pays for
            every false joint, AP does not. `auto` takes the threshold with the best total MOTA.
    """
    sweep: dict[float, float] | None = None
    if track_threshold == "auto":
        sweep = _sweep(videos)
        best = max(sweep, key=sweep.__getitem__)
        track_threshold = None if best == -np.inf else best
    measured = tuple(_measure(video, track_threshold, hota_rule) for video in videos)
    return Evaluation(protocol, hota_rule, measured, track_threshold, sweep)


def _sweep(videos: Sequence[VideoInput]) -> dict[float, float]:
    """Total MOTA at each threshold, from none (minus infinity) to the 95th percentile of the joint scores."""
    scores = np.concatenate([video.mot.predicted.scores[video.mot.predicted.present] for video in videos])
    cuts = np.unique(np.quantile(scores, _SWEEP_QUANTILES)).tolist() if scores.size else []
    return {t: _total_mota(videos, t) for t in (-np.inf, *cuts)}


def _total_mota(videos: Sequence[VideoInput], threshold: float) -> float:
    counts = reduce(MotCounts.__add__, (_mot(video.mot, threshold) for video in videos))
    return mot_figures(counts).mota.total


def _mot(video: VideoPair, threshold: float | None) -> MotCounts:
    above = _above(video, threshold)
    return count_mot(above, pair_people(above.truth, above.predicted))


def _above(video: VideoPair, threshold: float | None) -> VideoPair:
    if threshold is None:
        return video
    return replace(video, predicted=video.predicted.without_low_scores(threshold))


def _measure(video: VideoInput, threshold: float | None, hota_rule: HotaRule) -> VideoMeasures:
    pairs = pair_people(video.ap.truth, video.ap.predicted)
    detections = joint_detections(video.ap, pairs)
    shared = threshold is None and video.mot is video.ap
    tracked = _above(video.hota, threshold)
    return VideoMeasures(
        name=video.ap.name,
        image_rows=video.ap.image_rows,
        people=len(video.ap.truth),
        predicted=len(video.ap.predicted),
        detections=detections,
        pck=count_pckh(video.ap, pairs),
        wrong=_wrong_joints(video.ap, detections),
        mot=count_mot(video.ap, pairs) if shared else _mot(video.mot, threshold),
        hota=count_hota(tracked, pair_people(tracked.truth, tracked.predicted), rule=hota_rule),
        notes=tuple(dict.fromkeys((*video.ap.notes, *video.mot.notes, *video.hota.notes))),
    )


def _wrong_joints(video: VideoPair, detections: JointDetections) -> Ids:
    """`[F]` joints missed plus joints wrongly predicted."""

    def per_frame(frame: Ids, joints: Ids) -> Doubles:
        return np.asarray(np.bincount(frame, joints, minlength=video.frames), np.float64)

    truth, predicted = video.truth, video.predicted
    right = per_frame(predicted.frame, detections.correct.sum(1))
    annotated = per_frame(truth.frame, truth.present.sum(1))
    guessed = per_frame(predicted.frame, predicted.present.sum(1))
    return np.asarray(annotated + guessed - 2 * right, np.int64)
