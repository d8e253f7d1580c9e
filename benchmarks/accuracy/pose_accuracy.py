"""Accuracy of a pose model on still images with ground-truth boxes: OKS AP and PCK@0.1.

`python benchmarks/accuracy/pose_accuracy.py --data ../shared/data/coco_persons/val.json [--model nano] [--flip-test]
[--engine torch|onnx] [--precision int8] [--detector person-nano]`

Every picture is a window whose neighbours do not exist, so what is measured is the single-frame part. PCK@0.1 is the
share of annotated joints within a tenth of the root of the box area, over people with five joints or more; apart from
it, over those of them whose box overlaps another annotated one by a tenth (IoU) or more.

With `--detector` the people are those that it finds, on its boxes: who is missed counts, boxes that cut limbs
off, and people whom nobody listed, who are wrong here.
PCK@0.1 is then of annotated people and the box that overlaps them most, if by half (IoU).
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from jmpose.keypoints import COCO17
from jmpose_cli.choices import Engine, Precision
from jmpose_cli.formats.keypoint_mapping import map_keypoints
from jmpose_cli.formats.records import xyxy_to_xywh
from jmpose_cli.known_weights import choose_detector, choose_model
from jmpose_cli.people.boxes import overlaps
from jmpose_cli.people.detectors import load_detector
from jmpose_cli.pose.engines import load_estimator
from jmpose_cli.pose.estimator import EstimatorSettings, PoseEstimator
from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker
from jmpose_cli.values import TrackedFrame

sys.path.insert(0, str(Path(__file__).parents[2] / "models/recipes"))
from nano_data import overlap_others

LEAST_SCORE = 0.01  # of boxes: AP counts who is doubtful too
SAME_IOU = 0.5


def annotated_frame(
    boxes_xywh: Sequence[Sequence[float]], track_ids: Iterable[int], *, index: int = 0, time_s: float = 0.0
) -> TrackedFrame:
    """Return the people of a frame on annotated boxes."""
    xywh = np.array(boxes_xywh, np.float32).reshape(-1, 4)
    return TrackedFrame(
        index=index,
        time_s=time_s,
        boxes_xyxy_px=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1),
        scores=np.ones(len(xywh), np.float32),
        track_ids=np.array(list(track_ids), np.int64),
        observed=np.ones(len(xywh), bool),
    )


def predict(
    estimator: PoseEstimator, image_rgb: np.ndarray, on_boxes: TrackedFrame
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give COCO joints `[N, 17, 2]` and scores `[N, 17]`, and person scores `[N]`, for boxes of a picture."""
    maker = WindowMaker(Spacing(estimator.preprocess.window_offsets, 1.0))
    windows = [*maker.push(SeenFrame(image_rgb, on_boxes)), *maker.finish()]
    (poses,) = estimator.estimate(windows)
    xy, scores = map_keypoints(poses.xy_image, poses.scores, estimator.keypoints, COCO17)
    return xy, scores, poses.person_scores


def oks(truth: dict, results: list[dict]) -> dict[str, float]:
    """Return COCO's keypoint figures, AP and the like by name, of results on a data set."""
    coco = COCO(truth)
    evaluation = COCOeval_faster(coco, coco.loadRes(results), "keypoints", print_function=lambda *_: None)
    evaluation.run()
    return dict(zip(("AP", "AP50", "AP75", "APm", "APl"), evaluation.stats, strict=False))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/coco_persons/val.json"))
    parser.add_argument("--model", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engine", choices=get_args(Engine), default="auto")
    parser.add_argument("--precision", choices=get_args(Precision), default="fp32")
    parser.add_argument("--flip-test", action="store_true")
    parser.add_argument("--detector", help="whose boxes are taken instead of those annotated")
    args = parser.parse_args()
    settings = EstimatorSettings(flip_test=args.flip_test, threads=args.threads, precision=args.precision)
    estimator, _ = load_estimator(choose_model(args.model).path, settings, engine=args.engine)
    detector = None
    if args.detector:
        options = {"engine": "torch", "device": "cpu", "threads": args.threads, "input_size": None}
        path = choose_detector(args.detector, on_gpu=False).path
        detector, _ = load_detector(path, **options, min_score=LEAST_SCORE)
    truth = json.loads(args.data.read_text())
    files = {i["id"]: args.data.parent / i["file_name"] for i in truth["images"]}
    by_image: dict[int, list[dict]] = {}
    for annotation in truth["annotations"]:
        if annotation["num_keypoints"] > 0:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
    results, right, total = [], np.zeros((2, 17)), np.zeros((2, 17))  # of people by themselves, and among others
    for image_id, people in by_image.items():
        image = cv2.cvtColor(cv2.imread(str(files[image_id])), cv2.COLOR_BGR2RGB)
        annotated = on_boxes = annotated_frame([person["bbox"] for person in people], range(1, len(people) + 1))
        if detector:
            (found,) = detector.detect(image[None])
            on_boxes = annotated_frame(xyxy_to_xywh(found.boxes_xyxy_px), range(1, len(found.scores) + 1))
            on_boxes = replace(on_boxes, scores=found.scores)
        xy, scores, person_scores = predict(estimator, image, on_boxes)
        for points, joint_scores, score in zip(xy, scores, person_scores, strict=True):
            flat = np.concatenate([points, joint_scores[:, None]], 1).ravel().tolist()
            results.append({"image_id": image_id, "category_id": 1, "keypoints": flat, "score": float(score)})
        wanted_boxes = annotated.boxes_xyxy_px.astype(float)
        near = overlaps(wanted_boxes, on_boxes.boxes_xyxy_px.astype(float))
        crowded = overlap_others(wanted_boxes)
        for person, shares, among in zip(people, near, crowded.astype(int), strict=True):
            wanted = np.array(person["keypoints"], float).reshape(17, 3)
            labelled = wanted[:, 2] > 0
            if labelled.sum() >= 5 and shares.max(initial=0) >= SAME_IOU:
                size = np.sqrt(person["bbox"][2] * person["bbox"][3])
                right[among] += labelled & (np.linalg.norm(xy[shares.argmax()] - wanted[:, :2], axis=1) < 0.1 * size)
                total[among] += labelled
    figures = " ".join(f"{name} {value:.3f}" for name, value in oks(truth, results).items())
    how = f"{' with flip test' * args.flip_test}, {estimator.engine}, {args.precision}"
    whose = f" on boxes of {detector.name}" if detector else ""
    print(f"{estimator.name}{whose}{how}, {len(results)} people: OKS {figures}")
    print(
        f"PCK@0.1 {right.sum() / total.sum():.3f}, of people who overlap others {right[1].sum() / total[1].sum():.3f}; "
        + " ".join(
            f"{joint} {share:.2f}" for joint, share in zip(COCO17.joints, right.sum(0) / total.sum(0), strict=True)
        )
    )


if __name__ == "__main__":
    main()
