"""Accuracy and speed of a person detector, run as `jmpose infer` runs it: box AP50 and AP.

`python benchmarks/accuracy/detector_accuracy.py [--data FOLDER] [--split val] [--detector person-nano]`
`python benchmarks/accuracy/detector_accuracy.py --data ../shared/data/coco_persons/val.json`

The data are in YOLO layout (`images/SPLIT/*.jpg`, `labels/SPLIT/*.txt`) or a COCO file beside its pictures. Recall and
precision are those of IoU 0.5 at the scores that start and continue a track, and at the score whose precision is 0.8.

In `coco_persons` only people with keypoints are listed, and most boxes that count as wrong there are of others. With
`--unlisted ../shared/data/teachers/yolo11n_dequant.pt`, whom that detector finds (score >= 0.35) and nobody listed
(IoU < 0.5 with all that are) counts neither as right nor as wrong.
"""

import argparse
import json
import time
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster

from jmpose_cli.choices import Engine
from jmpose_cli.config import PeopleConfig
from jmpose_cli.known_weights import choose_detector
from jmpose_cli.people.boxes import overlaps
from jmpose_cli.people.detect import PersonDetector
from jmpose_cli.people.detectors import load_detector

LEAST_SCORE = 1e-6  # of AP, which counts all boxes
OTHER_SCORE, SAME_IOU = 0.35, 0.5  # of whom another detector finds
PRECISION = 0.8


def read_truth(data: Path, split: str) -> tuple[list[np.ndarray], dict]:
    """Return the pictures `[H, W, 3]` RGB and a COCO dataset of their boxes."""
    pictures, images, annotations = [], [], []
    for file in sorted((data / "images" / split).glob("*.jpg")):
        picture = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        height, width = picture.shape[:2]
        images.append({"id": len(images) + 1, "width": width, "height": height})
        label = data / "labels" / split / f"{file.stem}.txt"
        for line in label.read_text().splitlines():
            cx, cy, w, h = np.array(line.split()[1:5], float) * [width, height, width, height]
            box = {"bbox": [cx - w / 2, cy - h / 2, w, h], "area": w * h, "iscrowd": 0, "category_id": 1}
            annotations.append({"id": len(annotations) + 1, "image_id": len(images), **box})
        pictures.append(picture)
    categories = [{"id": 1, "name": "person"}]
    return pictures, {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def read_coco(file: Path) -> tuple[list[np.ndarray], dict]:
    """Return the same of a COCO file."""
    given = json.loads(file.read_text())
    pictures = [cv2.cvtColor(cv2.imread(str(file.parent / i["file_name"])), cv2.COLOR_BGR2RGB) for i in given["images"]]
    number = {image["id"]: n for n, image in enumerate(given["images"], start=1)}
    images = [{"id": number[i["id"]], "width": i["width"], "height": i["height"]} for i in given["images"]]
    annotations = []
    for annotation in given["annotations"]:
        box = {
            "bbox": annotation["bbox"],
            "area": float(np.prod(annotation["bbox"][2:])),
            "iscrowd": 0,
            "category_id": 1,
        }
        annotations.append({"id": len(annotations) + 1, "image_id": number[annotation["image_id"]], **box})
    categories = [{"id": 1, "name": "person"}]
    return pictures, {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def add_unlisted(truth: dict, pictures: list[np.ndarray], other: PersonDetector) -> None:
    """Add whom another detector finds and nobody listed, as regions that COCO's evaluation leaves out."""
    annotations = truth["annotations"]
    for number, picture in enumerate(pictures, start=1):
        xywh = np.array([a["bbox"] for a in annotations if a["image_id"] == number], float).reshape(-1, 4)
        boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
        (found,) = other.detect(picture[None])
        near = overlaps(found.boxes_xyxy_px.astype(float), boxes).max(1, initial=0)
        for x0, y0, x1, y1 in found.boxes_xyxy_px[near < SAME_IOU].tolist():
            box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 1, "category_id": 1}
            annotations.append({"id": len(annotations) + 1, "image_id": number, **box})


def at_score(evaluation: COCOeval_faster, least: float) -> str:
    """Recall and precision of IoU 0.5 at a least score, from the evaluator's curve (steps of a hundredth of recall)."""
    scores = np.asarray(evaluation.eval["scores"])[0, :, 0, 0, -1]
    reached = int((scores >= least).sum()) - 1
    if reached < 0:
        return f"nothing above {least}"
    precision = np.asarray(evaluation.eval["precision"])[0, reached, 0, 0, -1]
    return f"at score {least} recall {evaluation.params.recThrs[reached]:.2f} precision {precision:.2f}"


def at_precision(evaluation: COCOeval_faster) -> str:
    """The highest recall that has the precision `PRECISION`, and its score, likewise."""
    precision, scores = (np.asarray(evaluation.eval[name])[0, :, 0, 0, -1] for name in ("precision", "scores"))
    reached = np.flatnonzero(precision >= PRECISION)
    if not len(reached):
        return f"no score has precision {PRECISION}"
    return (
        f"precision {PRECISION} at score {scores[reached[-1]]:.2f}, recall {evaluation.params.recThrs[reached[-1]]:.2f}"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/person_boxes"))
    parser.add_argument("--split", default="val")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--detector", default="person-nano")
    parser.add_argument("--input-size", type=int)
    parser.add_argument("--unlisted", help="another detector, which finds people who are not listed")
    parser.add_argument("--engine", default="torch", choices=get_args(Engine), help="of detectors that have several")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    choice = choose_detector(args.detector, on_gpu=False)
    options = {"engine": args.engine, "device": "cpu", "threads": 1}
    detector, _ = load_detector(choice.path, **options, min_score=LEAST_SCORE, input_size=args.input_size)
    pictures, truth = read_coco(args.data) if args.data.is_file() else read_truth(args.data, args.split)
    listed = len(truth["annotations"])
    if args.unlisted:
        path = choose_detector(args.unlisted, on_gpu=False).path
        other, _ = load_detector(path, **options, min_score=OTHER_SCORE, input_size=None)
        add_unlisted(truth, pictures, other)
    results = []
    started = time.perf_counter()
    for number, picture in enumerate(pictures):
        (found,) = detector.detect(picture[None])
        for (x0, y0, x1, y1), score in zip(found.boxes_xyxy_px.tolist(), found.scores.tolist(), strict=True):
            box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "score": score}
            results.append({"image_id": number + 1, "category_id": 1, **box})
    seconds = time.perf_counter() - started
    coco = COCO(truth)
    evaluation = COCOeval_faster(coco, coco.loadRes(results), "bbox", print_function=lambda *_: None)
    evaluation.run()
    ap, ap50 = evaluation.stats[:2]
    unlisted = f", {len(truth['annotations']) - listed} others left out" if args.unlisted else ""
    print(f"{detector.name}, {len(pictures)} pictures, {listed} people{unlisted}: AP50 {ap50:.3f} AP {ap:.3f}")
    print(f"{1000 * seconds / len(pictures):.1f} ms a picture, one at a time, {args.threads} threads")
    people = PeopleConfig()
    print("; ".join(at_score(evaluation, score) for score in (detector.start_score, people.keep_box_score)))
    print(at_precision(evaluation))


if __name__ == "__main__":
    main()
