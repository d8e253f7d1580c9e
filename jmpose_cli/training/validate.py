"""What the model is worth: AP of its temporal output beside that of the initial heatmaps, on ground-truth boxes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from jmpose.decoding import decode_dark
from jmpose.network import JMPose
from jmpose.targets import crop_to_image, heatmap_to_crop
from jmpose_cli.data.mixture import Batch, WindowSet
from jmpose_cli.data.samples import Source
from jmpose_cli.formats.records import Doubles, PoseRecords
from jmpose_cli.metrics.coco import evaluate_oks
from jmpose_cli.metrics.posetrack import evaluate_posetrack, pair_inputs
from jmpose_cli.metrics.rules import PoseTrackProtocol
from jmpose_cli.pose.estimator import score_people
from jmpose_cli.training.trainee import network_input
from jmpose_cli.values import Bools, Float, Ids

OUTPUTS = ("final", "initial")
PCK_SHARE = 0.1
PCK = f"PCK@{PCK_SHARE}"


class ScoredSource(Source, Protocol):
    """A source whose annotations are known as a whole."""

    @property
    def records(self) -> PoseRecords:
        """All annotations of the file."""

    def key_of(self, index: int) -> tuple[int, int]:
        """Image row and record row of a sample."""

    def joints_of(self, index: int) -> tuple[Doubles, Bools, Doubles]:
        """Joints `[K, 2]` in image pixels, which of them are known `[K]`, and the box's corners `[4]`."""


@dataclass(frozen=True)
class ValidationSet:
    """One set to be scored.

    Attributes:
        label: Name in tables.
        windows: Its people, always in the same way.
        sources: Those of `windows`.
        protocol: Rule set of PoseTrack AP; None for OKS AP.
        videos: Of the whole data set, of which `sources` may be a part.
    """

    label: str
    windows: WindowSet
    sources: tuple[ScoredSource, ...]
    protocol: PoseTrackProtocol | None
    videos: int = 0

    @property
    def ap_name(self) -> str:
        """Name of the average precision."""
        return "OKS AP" if self.protocol is None else f"{self.protocol} AP"


@dataclass(frozen=True)
class Score:
    """One figure of one set, per cent; None where nothing is annotated.

    Attributes:
        label: The set.
        metric: What is measured.
        final: Of the temporal output.
        initial: Of the initial heatmaps.
    """

    label: str
    metric: str
    final: float | None
    initial: float | None


@dataclass(frozen=True)
class Located:
    """Joints of some samples.

    Attributes:
        samples: `[n]` their numbers.
        xy: `[2, n, K, 2]` image pixels, of `OUTPUTS`.
        scores: `[2, n, K]`.
    """

    samples: Ids
    xy: Float
    scores: Float


@torch.inference_mode()
def locate(model: JMPose, batch: Batch) -> tuple[Located, Tensor, Tensor]:
    """Find the joints of a batch; return also the final and initial heatmaps `[B, K, h, w]`."""
    preprocess = model.config.preprocess
    output = model(network_input(batch.crops, model), batch.exists)
    xy, scores = [], []
    for heatmaps in (output.heatmaps, output.initial_key):
        size = (heatmaps.shape[-2], heatmaps.shape[-1])
        places, peaks = decode_dark(heatmaps.float(), sigma=preprocess.sigma_at(size[0]))
        xy_crop = heatmap_to_crop(places, heatmap_size=size, alignment=preprocess.heatmap_alignment)
        xy.append(crop_to_image(xy_crop, batch.to_image))
        scores.append(peaks)
    located = Located(batch.samples.cpu().numpy(), torch.stack(xy).cpu().numpy(), torch.stack(scores).cpu().numpy())
    return located, output.heatmaps, output.initial_key


def score_set(chosen: ValidationSet, parts: Sequence[Located], joints: tuple[str, ...]) -> list[Score]:
    """Score what was located: AP, for which missing samples are people who were not found, then PCK of the others."""
    samples = np.concatenate([part.samples for part in parts])
    xy = np.concatenate([part.xy for part in parts], 1)
    scores = np.concatenate([part.scores for part in parts], 1)
    order = np.argsort(samples)
    outputs = range(len(OUTPUTS))
    ap = [_average_precision(chosen, samples[order], xy[o][order], scores[o][order], joints) for o in outputs]
    right = [correct_share(chosen, samples[order], xy[o][order]) for o in outputs]
    return [Score(chosen.label, chosen.ap_name, *ap), Score(chosen.label, PCK, *right)]


def correct_share(chosen: ValidationSet, samples: Ids, xy: Float) -> float | None:
    """Share of the known joints within 0.1 times the square root of the box's area: finer than AP for weak models.

    Args:
        chosen: The set.
        samples: `[n]` numbers of its samples.
        xy: `[n, K, 2]` image pixels.

    Returns:
        Per cent; None where no joint is known.
    """
    right = total = 0
    for sample, found in zip(samples, xy, strict=True):
        number, index = chosen.windows.source_of(int(sample))
        truth, known, box = chosen.sources[number].joints_of(index)
        limit = PCK_SHARE * np.sqrt(np.prod(box[2:] - box[:2]))
        right += int((np.linalg.norm(found - truth, axis=1) < limit)[known].sum())
        total += int(known.sum())
    return 100 * right / total if total else None


def _average_precision(
    chosen: ValidationSet, samples: Ids, xy: Float, scores: Float, joints: tuple[str, ...]
) -> float | None:
    places = np.array([chosen.windows.source_of(int(sample)) for sample in samples]).reshape(-1, 2)
    pairs = []
    for number, source in enumerate(chosen.sources):
        rows = np.flatnonzero(places[:, 0] == number)
        image_rows = np.array([source.key_of(int(index))[0] for index in places[rows, 1]], np.int64)
        pairs.append((source.records, _predictions(source.records, image_rows, xy[rows], scores[rows], joints)))
    if chosen.protocol is None:
        ((truth, predicted),) = pairs
        figure = evaluate_oks(truth, predicted)["AP"]
        return None if figure < 0 else 100 * figure
    names = [f"{number:06d} {truth.path.stem}" for number, (truth, _) in enumerate(pairs)]
    videos = [pair_inputs(n, t, p, protocol=chosen.protocol) for n, (t, p) in zip(names, pairs, strict=True)]
    return evaluate_posetrack(videos, protocol=chosen.protocol).ap.ap.as_json()["total"]


def _predictions(truth: PoseRecords, image_row: Ids, xy: Float, scores: Float, joints: tuple[str, ...]) -> PoseRecords:
    """Records of what was located, on the images of the ground truth."""
    n = len(image_row)
    order = np.argsort(image_row, kind="stable")
    unknown = np.full((n, 4), np.nan)
    return replace(
        truth,
        kind="posetrack18",
        joints=joints,
        image_row=image_row[order],
        ids=np.arange(1, n + 1),
        track_ids=np.arange(n),
        person_ids=np.full(n, -1),
        xy=xy[order].astype(np.float64),
        visibility=np.ones((n, len(joints))),
        present=np.ones((n, len(joints)), bool),
        scores=scores[order].astype(np.float64),
        person_scores=score_people(scores[order], np.ones(n, np.float32)).astype(np.float64),
        boxes_xyxy_px=unknown,
        head_boxes_xyxy_px=unknown,
        areas=np.full(n, np.nan),
        joint_counts=np.full(n, len(joints)),
        is_crowd=np.zeros(n, bool),
        integer_coordinates=np.zeros(len(truth.images), bool),
    )
