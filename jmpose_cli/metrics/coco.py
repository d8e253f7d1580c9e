"""COCO keypoint evaluation (OKS AP and AR) through faster-coco-eval, which equals pycocotools."""

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import orjson

from jmpose.keypoints import KEYPOINT_SETS
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.records import Doubles, PoseRecords

STATS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
"""pycocotools' ten keypoint figures in its order; M and L are people of 32^2 to 96^2 and above 96^2 pixels."""


def evaluate_oks(truth: PoseRecords, predicted: PoseRecords) -> dict[str, float]:
    """Evaluate predicted people against a COCO keypoint data set.

    The data set is taken from its file as it is, with the areas, crowds and counts that it states. Predicted joints
    are matched to its joints by name.

    Returns:
        `STATS` by name, 0 to 1; -1 where no annotated person is of that size, as in pycocotools.

    Raises:
        JmposeError: A joint without a known OKS constant, a joint that the predictions lack, a predicted person
            without a score, or on an image that is not in the data set.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    data = orjson.loads(truth.path.read_bytes())
    results = _results(truth, predicted)
    if not results:
        # The library refuses an empty list; nobody found is no recall and no precision.
        found = any(_counts(person) for person in data["annotations"])
        return dict.fromkeys(STATS, 0.0 if found else -1.0)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on annotation id 0, which is said in `notes_on`
        coco = COCO(data)
        evaluation = COCOeval_faster(coco, coco.loadRes(results), "keypoints", print_function=lambda *_: None)
        evaluation.params.kpt_oks_sigmas = oks_sigmas(truth)
        evaluation.run()
    return dict(zip(STATS, np.asarray(evaluation.stats[: len(STATS)], np.float64).tolist(), strict=True))


def notes_on(truth: PoseRecords) -> list[str]:
    """What a reader of the figures should know about the data set."""
    if (truth.ids == 0).any():
        return ["an annotation has the id 0, which counts as unmatched, as in pycocotools"]
    return []


def _counts(person: dict[str, Any]) -> bool:
    return bool(person.get("num_keypoints", 1)) and not person.get("iscrowd", 0)


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
    return [{"image_id": i, "category_id": 1, "keypoints": k, "score": s} for i, k, s in rows]
