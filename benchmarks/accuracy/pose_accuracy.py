"""Accuracy of a pose model on still images with ground-truth boxes: OKS AP and PCK@0.1.

`python benchmarks/accuracy/pose_accuracy.py --data ../shared/data/coco_persons/val.json [--model nano] [--flip-test]
[--engine torch|onnx] [--precision int8]`

Every picture is a window whose neighbours do not exist, so what is measured is the single-frame part. PCK@0.1 is the
share of annotated joints within a tenth of the root of the box area, over people with five joints or more.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from jmpose.keypoints import COCO17
from jmpose_cli.choices import Engine, Precision
from jmpose_cli.formats.keypoint_mapping import map_keypoints
from jmpose_cli.known_weights import choose_model
from jmpose_cli.pose.engines import load_estimator
from jmpose_cli.pose.estimator import EstimatorSettings, PoseEstimator
from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker
from jmpose_cli.values import TrackedFrame


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


def predict(estimator: PoseEstimator, file: Path, people: list[dict]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give COCO joints `[N, 17, 2]` and scores `[N, 17]`, and person scores `[N]`, for annotated boxes."""
    image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
    maker = WindowMaker(Spacing(estimator.preprocess.window_offsets, 1.0))
    on_boxes = annotated_frame([person["bbox"] for person in people], range(1, len(people) + 1))
    windows = [*maker.push(SeenFrame(image, on_boxes)), *maker.finish()]
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
    args = parser.parse_args()
    settings = EstimatorSettings(flip_test=args.flip_test, threads=args.threads, precision=args.precision)
    estimator, _ = load_estimator(choose_model(args.model).path, settings, engine=args.engine)
    truth = json.loads(args.data.read_text())
    files = {i["id"]: args.data.parent / i["file_name"] for i in truth["images"]}
    by_image: dict[int, list[dict]] = {}
    for annotation in truth["annotations"]:
        if annotation["num_keypoints"] > 0:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
    results, right, total = [], np.zeros(17), np.zeros(17)
    for image_id, people in by_image.items():
        xy, scores, person_scores = predict(estimator, files[image_id], people)
        for person, points, joint_scores, score in zip(people, xy, scores, person_scores, strict=True):
            flat = np.concatenate([points, joint_scores[:, None]], 1).ravel().tolist()
            results.append({"image_id": image_id, "category_id": 1, "keypoints": flat, "score": float(score)})
            wanted = np.array(person["keypoints"], float).reshape(17, 3)
            labelled = wanted[:, 2] > 0
            if labelled.sum() >= 5:
                size = np.sqrt(person["bbox"][2] * person["bbox"][3])
                right += labelled & (np.linalg.norm(points - wanted[:, :2], axis=1) < 0.1 * size)
                total += labelled
    figures = " ".join(f"{name} {value:.3f}" for name, value in oks(truth, results).items())
    how = f"{' with flip test' * args.flip_test}, {estimator.engine}, {args.precision}"
    print(f"{estimator.name}{how}, {len(results)} people: OKS {figures}")
    print(
        f"PCK@0.1 {right.sum() / total.sum():.3f}; "
        + " ".join(f"{joint} {share:.2f}" for joint, share in zip(COCO17.joints, right / total, strict=True))
    )


if __name__ == "__main__":
    main()
