"""Collect the training pictures of `person-nano` in ultralytics' YOLO layout.

`python models/recipes/person_nano_data.py --data ../shared/data --out runs/person-nano/data`

Pictures: `person_boxes` (all people boxed) and `coco_persons/train`, where only people with keypoints
are listed: the others get pseudo-boxes from the YOLO11n teacher (score >= 0.35, IoU < 0.5 with a
listed box), so that the detector is not punished for finding them. Validation is `person_boxes/val`.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

PSEUDO_SCORE = 0.35
PSEUDO_IOU = 0.5


def _iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Pairwise intersection over union `[N, M]` of xyxy boxes."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    overlap = np.clip(high - low, 0, None).prod(-1)
    areas = [(b[:, 2:] - b[:, :2]).prod(-1) for b in (boxes, others)]
    return overlap / np.maximum(areas[0][:, None] + areas[1][None] - overlap, 1e-9)


def _write_labels(path: Path, boxes_xyxy: np.ndarray, width: int, height: int) -> None:
    """Write one YOLO label file: class, then centre and size as fractions of the picture."""
    boxes = boxes_xyxy.clip(0, [width, height, width, height])
    rows = []
    for x0, y0, x1, y1 in boxes:
        if x1 - x0 > 1 and y1 - y0 > 1:
            rows.append(
                f"0 {(x0 + x1) / 2 / width:.6f} {(y0 + y1) / 2 / height:.6f} "
                f"{(x1 - x0) / width:.6f} {(y1 - y0) / height:.6f}"
            )
    path.write_text("\n".join(rows) + "\n" if rows else "")


def add_coco(data: Path, out: Path) -> int:
    """Add COCO train pictures with listed and pseudo boxes; return the number of pseudo boxes."""
    from ultralytics import YOLO

    teacher = YOLO(data / "teachers" / "yolo11n_dequant.pt")
    coco = json.loads((data / "coco_persons" / "train.json").read_text())
    listed: dict[int, list[list[float]]] = {}
    for annotation in coco["annotations"]:
        listed.setdefault(annotation["image_id"], []).append(annotation["bbox"])
    pseudo = 0
    for image in coco["images"]:
        source = data / "coco_persons" / image["file_name"]
        xywh = np.array(listed.get(image["id"], []), float).reshape(-1, 4)
        boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
        found = teacher.predict(str(source), classes=[0], conf=PSEUDO_SCORE, imgsz=448, verbose=False)[0]
        extra = found.boxes.xyxy.cpu().numpy().astype(float)
        new = extra[_iou(extra, boxes).max(1, initial=0) < PSEUDO_IOU]
        pseudo += len(new)
        shutil.copyfile(source, out / "images/train" / f"coco_{source.name}")
        label = out / "labels/train" / f"coco_{source.stem}.txt"
        _write_labels(label, np.concatenate([boxes, new]), image["width"], image["height"])
    return pseudo


def main() -> None:
    """Write the data set and its YAML."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/person-nano/data"))
    args = parser.parse_args()
    for part in ("images", "labels"):
        for split in ("train", "val"):
            target = args.out / part / split
            target.mkdir(parents=True, exist_ok=True)
            for file in (args.data / "person_boxes" / part / split).iterdir():
                if file.suffix in {".jpg", ".txt"}:
                    shutil.copyfile(file, target / file.name)
    pseudo = add_coco(args.data, args.out)
    (args.out / "data.yaml").write_text(
        f"path: {args.out.resolve()}\ntrain: images/train\nval: images/val\nnames:\n  0: person\n"
    )
    count = len(list((args.out / "images/train").iterdir()))
    print(f"{count} training pictures, {pseudo} pseudo boxes, in {args.out}")


if __name__ == "__main__":
    main()
