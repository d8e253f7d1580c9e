"""COCO keypoint evaluation (OKS AP and AR) through faster-coco-eval, which equals pycocotools."""

import contextlib
import io
import warnings
from typing import Any

import numpy as np

from jmpose.keypoints import KEYPOINT_SETS
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.records import Doubles, PoseRecords, xyxy_to_xywh
from jmpose_cli.values import Bools

STATS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
"""pycocotools' ten keypoint figures in its order; M and L are people of 32^2 to 96^2 and above 96^2 pixels."""


_CATEGORY = 1  # of people; the data set's own number says nothing


def evaluate_oks(truth: PoseRecords, predicted: PoseRecords) -> dict[str, float]:
    """Evaluate predicted people against a COCO keypoint data set.

    The areas, crowds and counts of joints are those that the data set states; see `areas_of` where it states no area.
    Predicted joints are matched to its joints by name.

    Returns:
        `STATS` by name, 0 to 1; -1 where no annotated person is of that size, as in pycocotools.

    Raises:
        JmposeError: A joint without a known OKS constant, a joint that the predictions lack, a predicted person
            without a score, or on an image that is not in the data set.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    results = _results(truth, predicted)
    if not results:
        # The library refuses an empty list; nobody found is no recall and no precision.
        return dict.fromkeys(STATS, 0.0 if is_scored(truth).any() else -1.0)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on annotation id 0, which is said in `notes_on`
        coco = COCO(_data_set(truth))
        evaluation = COCOeval_faster(coco, coco.loadRes(results), "keypoints", print_function=lambda *_: None)
        evaluation.params.kpt_oks_sigmas = oks_sigmas(truth)
        evaluation.run()
    return dict(zip(STATS, np.asarray(evaluation.stats[: len(STATS)], np.float64).tolist(), strict=True))


def is_scored(truth: PoseRecords) -> Bools:
    """`[N]` who can be found or missed: people with joints who are no crowd."""
    return np.asarray((truth.joint_counts > 0) & ~truth.is_crowd)


def areas_of(truth: PoseRecords) -> Doubles:
    """`[N]` areas in square pixels; where the file states none, that of the box, else of the extent of the joints.

    pycocotools takes the same for predictions. COCO's own areas are those of outlines, about half as large.
    """
    boxes = _boxes_of(truth)
    return np.where(np.isnan(truth.areas), (boxes[:, 2:] - boxes[:, :2]).prod(1), truth.areas)


def _boxes_of(truth: PoseRecords) -> Doubles:
    """`[N, 4]` corners of boxes, or of the extent of the joints; zeros without either."""
    there = truth.present[..., None]
    low = np.where(there, truth.xy, np.inf).min(1, initial=np.inf)
    high = np.where(there, truth.xy, -np.inf).max(1, initial=-np.inf)
    has_joints = np.asarray(truth.present.any(1))[:, None]
    boxless = np.asarray(np.isnan(truth.boxes_xyxy_px).any(1))[:, None]
    extent = np.where(has_joints, np.concatenate([low, high], 1), 0.0)
    return np.where(boxless, extent, truth.boxes_xyxy_px)


def _data_set(truth: PoseRecords) -> dict[str, Any]:
    """The data set in the form that the library takes, complete."""
    triples = np.concatenate([truth.xy, truth.visibility[..., None]], 2).reshape(len(truth), 3 * len(truth.joints))
    columns = zip(
        # pycocotools takes a match with the id 0 for none, the library one with a negative id too.
        np.where(truth.ids == 0, 0, np.arange(1, len(truth) + 1)).tolist(),
        [truth.images[row].id for row in truth.image_row.tolist()],
        triples.tolist(),
        truth.joint_counts.tolist(),
        areas_of(truth).tolist(),
        xyxy_to_xywh(_boxes_of(truth)).tolist(),
        truth.is_crowd.astype(int).tolist(),
        strict=True,
    )
    names = ("id", "image_id", "keypoints", "num_keypoints", "area", "bbox", "iscrowd")
    return {
        "images": [{"id": image.id} for image in truth.images],
        "annotations": [{"category_id": _CATEGORY, **dict(zip(names, row, strict=True))} for row in columns],
        "categories": [{"id": _CATEGORY, "name": "person"}],
    }


def notes_on(truth: PoseRecords) -> list[str]:
    """What a reader of the figures should know about the data set."""
    notes = []
    if (truth.ids == 0).any():
        notes.append("an annotation has the id 0, which counts as unmatched, as in pycocotools")
    missing = np.isnan(truth.areas) & is_scored(truth)
    if missing.any():
        boxed = int((missing & ~np.isnan(truth.boxes_xyxy_px).any(1)).sum())
        sources = {"the box": boxed, "the extent of the joints": int(missing.sum()) - boxed}
        taken = " and ".join(f"from {name} of {number}" for name, number in sources.items() if number)
        notes.append(
            f"{truth.path.name}: {int(missing.sum())} people without `area`: it was taken {taken}; "
            "COCO's own areas are those of outlines, so OKS is higher here than it would be with them"
        )
    return notes


def oks_sigmas(records: PoseRecords) -> Doubles:
    """`[K]` OKS constants of the joints, from the keypoint sets that jmpose knows.

    Raises:
        JmposeError: A joint that no set has.
    """
    same = next((s for s in KEYPOINT_SETS.values() if s.joints == records.joints), None)
    if same is not None:
        return np.array(same.sigmas)
    known: dict[str, float] = {}
    for keypoints in KEYPOINT_SETS.values():
        # COCO's own come first, and stay.
        known = dict(zip(keypoints.joints, keypoints.sigmas, strict=True)) | known
    unknown = [joint for joint in records.joints if joint not in known]
    if unknown:
        raise JmposeError(
            f"{records.path}: no OKS constant is known for {', '.join(unknown)}", hint=f"known: {', '.join(known)}"
        )
    return np.array([known[joint] for joint in records.joints])


def _results(truth: PoseRecords, predicted: PoseRecords) -> list[dict[str, Any]]:
    """The predicted people as a COCO results list in the joint order of the data set."""
    lacking = [joint for joint in truth.joints if joint not in predicted.joints]
    if lacking:
        raise JmposeError(
            f"{predicted.path}: without the joints {', '.join(lacking)}", hint=f"{truth.path.name} has them"
        )
    columns = [predicted.joints.index(joint) for joint in truth.joints]
    known = {image.id for image in truth.images}
    image_ids = [predicted.images[row].id for row in predicted.image_row.tolist()]
    for row, (image_id, score) in enumerate(zip(image_ids, predicted.person_scores.tolist(), strict=True)):
        if image_id not in known:
            raise JmposeError(
                f"{predicted.path}: person {row} is on image {image_id}, which {truth.path.name} does not have",
                hint="image ids must be those of the ground truth",
            )
        if np.isnan(score):
            raise JmposeError(
                f"{predicted.path}: person {row} has no `score`", hint="each predicted person needs one number"
            )
    triples = np.concatenate([predicted.xy[:, columns], predicted.visibility[:, columns, None]], axis=2)
    keypoints = triples.reshape(len(triples), 3 * len(columns)).tolist()
    rows = zip(image_ids, keypoints, predicted.person_scores.tolist(), strict=True)
    return [{"image_id": i, "category_id": _CATEGORY, "keypoints": k, "score": s} for i, k, s in rows]
