"""Collect the training pictures of `person-nano` in YOLO's layout: `images/train/*.jpg` and `labels/train/*.txt`.

`python models/recipes/person_nano_data.py --data ../shared/data --out runs/person-nano/data`

Pictures: `person_boxes` (all people boxed) and `coco_persons/train`, where only people with keypoints are listed: the
others get pseudo-boxes from the YOLO11n teacher (score >= 0.35, IoU < 0.5 with a listed box), so that the detector is
not punished for finding them. So do those of `people_more`, where some people are not boxed. Every third picture of
Leeds Sports Pose extended and frames of the training videos have the teacher's boxes alone. Plain pictures (black, one
colour, shades, blocks, noise) have nobody: a video that fades to black shall have none. `person_nano.py` says which of
them it leaves out by default.
"""

import argparse
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from jmpose_cli.video.source import open_video

os.environ.setdefault("YOLO_AUTOINSTALL", "False")

from ultralytics import YOLO

from nano_data import read_rgb

PSEUDO_SCORE = 0.35
PSEUDO_IOU = 0.5
VIDEOS = ("pose2sim_two_people", "intel_one_by_one", "crowd_from_above")  # the others are for benchmarks
FRAMES_A_VIDEO = 120
LONGEST_SIDE = 640  # of a stored frame, pixels
TEACHER_SIZE = 1280  # for frames, whose people are small
PLAIN_PICTURES = 240


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


def add_listed(name: str, annotations: Path, pictures: Path, teacher: YOLO, out: Path) -> int:
    """Add the pictures of a COCO file with listed and pseudo boxes; return the number of pseudo boxes."""
    coco = json.loads(annotations.read_text())
    listed: dict[int, list[list[float]]] = {}
    for annotation in coco["annotations"]:
        listed.setdefault(annotation["image_id"], []).append(annotation["bbox"])
    pseudo = 0
    for image in coco["images"]:
        picture = cv2.cvtColor(read_rgb(pictures / image["file_name"]), cv2.COLOR_RGB2BGR)
        height, width = picture.shape[:2]
        xywh = np.array(listed.get(image["id"], []), float).reshape(-1, 4)
        boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
        found = teacher.predict(picture, classes=[0], conf=PSEUDO_SCORE, imgsz=448, verbose=False)[0]
        extra = found.boxes.xyxy.cpu().numpy().astype(float)
        new = extra[_iou(extra, boxes).max(1, initial=0) < PSEUDO_IOU]
        pseudo += len(new)
        stem = f"{name}_{Path(image['file_name']).stem}"
        cv2.imwrite(str(out / "images/train" / f"{stem}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
        _write_labels(out / "labels/train" / f"{stem}.txt", np.concatenate([boxes, new]), width, height)
    return pseudo


def add_taught(pictures: Iterable[tuple[str, np.ndarray]], teacher: YOLO, out: Path, *, teacher_size: int) -> int:
    """Add pictures (name, BGR) with the teacher's boxes; return how many."""
    count = 0
    for name, picture in pictures:
        found = teacher.predict(picture, classes=[0], conf=PSEUDO_SCORE, imgsz=teacher_size, verbose=False)[0]
        height, width = picture.shape[:2]
        shrunk = min(1.0, LONGEST_SIDE / max(height, width))
        small = cv2.resize(picture, None, fx=shrunk, fy=shrunk, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(out / "images/train" / f"{name}.jpg"), small, [cv2.IMWRITE_JPEG_QUALITY, 92])
        _write_labels(out / "labels/train" / f"{name}.txt", found.boxes.xyxy.cpu().numpy().astype(float), width, height)
        count += 1
    return count


def lsp_pictures(data: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every third picture of Leeds Sports Pose extended."""
    for file in sorted((data / "lspet/images").iterdir())[::3]:
        yield f"lsp_{file.stem}", cv2.imread(str(file))


def video_frames(data: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield frames of the training videos, evenly spaced."""
    for video in VIDEOS:
        with open_video(data / "videos" / f"{video}.mp4") as source:
            every = max(1, (source.info.frames_claimed or FRAMES_A_VIDEO) // FRAMES_A_VIDEO)
            for batch in source:
                for index, frame in zip(batch.index.tolist(), batch.frames, strict=True):
                    if index % every == 0:
                        yield f"{video}_{index:06d}", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)


def add_plain(out: Path) -> None:
    """Add pictures in which nobody is: few cells, dark or bright, sharp or soft, with and without noise."""
    rng = np.random.default_rng(0)
    for number in range(PLAIN_PICTURES):
        width, height = rng.integers(160, LONGEST_SIDE, 2)
        cells = rng.integers(1, 9, 2) if number % 3 else (1, 1)
        colours = rng.uniform(0, 256, (*cells, 3 if number % 2 else 1)) * rng.choice([0, 0.1, 0.5, 1])
        how = rng.choice([cv2.INTER_NEAREST, cv2.INTER_LINEAR])
        picture = cv2.resize(np.broadcast_to(colours, (*cells, 3)).copy(), (width, height), interpolation=how)
        picture += rng.normal(0, rng.choice([0, 0, 3, 20, 60]), picture.shape)
        name = f"plain_{number:03d}"
        cv2.imwrite(str(out / "images/train" / f"{name}.jpg"), picture.clip(0, 255).astype(np.uint8))
        (out / "labels/train" / f"{name}.txt").touch()


def write_sources(data: Path, out: Path) -> None:
    """Write `sources.json`, for `travel.py`: which file below `data` a training picture is, by its stem."""
    prefixes = {
        "coco_": data / "coco_persons/train",
        "more_": data / "people_more/images",
        "lsp_": data / "lspet/images",
    }
    folders = {name: {file.stem: file for file in folder.iterdir()} for name, folder in prefixes.items()}
    folders[""] = {file.stem: file for file in (data / "person_boxes/images/train").iterdir()}
    sources = {}
    for picture in (out / "images/train").iterdir():
        prefix = next((p for p in prefixes if picture.stem.startswith(p)), "")
        file = folders[prefix].get(picture.stem.removeprefix(prefix))
        if file is not None:
            sources[picture.stem] = file.relative_to(data).as_posix()
    (out / "sources.json").write_text(json.dumps(sources))


def main() -> None:
    """Write the data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/person-nano/data"))
    args = parser.parse_args()
    for part in ("images", "labels"):
        target = args.out / part / "train"
        target.mkdir(parents=True, exist_ok=True)
        for file in (args.data / "person_boxes" / part / "train").iterdir():
            if file.suffix in {".jpg", ".txt"}:
                shutil.copyfile(file, target / file.name)
    teacher = YOLO(args.data / "teachers" / "yolo11n_dequant.pt")
    coco, more = args.data / "coco_persons", args.data / "people_more"
    pseudo = {
        "coco": add_listed("coco", coco / "train.json", coco, teacher, args.out),
        "more": add_listed("more", more / "boxes.json", more / "images", teacher, args.out),
    }
    taught = add_taught(lsp_pictures(args.data), teacher, args.out, teacher_size=448)
    taught += add_taught(video_frames(args.data), teacher, args.out, teacher_size=TEACHER_SIZE)
    add_plain(args.out)
    write_sources(args.data, args.out)
    count = len(list((args.out / "images/train").iterdir()))
    print(f"{count} training pictures, {taught} of them taught; pseudo boxes {pseudo}; in {args.out}")


if __name__ == "__main__":
    main()
