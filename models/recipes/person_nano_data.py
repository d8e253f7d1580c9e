"""Collect the training pictures of `person-nano` in YOLO's layout: `images/train/*.jpg` and `labels/train/*.txt`.

`python models/recipes/person_nano_data.py --data ../shared/data --out runs/person-nano/data`

Pictures: `person_boxes` (all people boxed) and `coco_persons/train`, where only people with keypoints are listed: the
others get pseudo-boxes from the YOLO11n teacher (score >= 0.35, IoU < 0.5 with a listed box), so that the detector is
not punished for finding them. So do those of `people_more`, where some people are not boxed and some boxes are wrong.
Frames of one training video have the teacher's boxes alone. Plain pictures (black, one colour, shades, blocks, noise)
have nobody: a video that fades to black shall have none.

Class 0 is a person. Class 1 is doubtful, neither asked for nor denied by the training: what the teacher gives a score
from 0.1 to 0.35, and a box of `people_more` of which the teacher, at 0.1, knows nothing.
"""

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from jmpose_cli.people.boxes import overlaps
from jmpose_cli.video.source import open_video

os.environ.setdefault("YOLO_AUTOINSTALL", "False")

from ultralytics import YOLO

from nano_data import read_rgb

PERSON, DOUBTFUL = 0, 1  # classes
PSEUDO_SCORE = 0.35
DOUBTFUL_SCORE = 0.1
PSEUDO_IOU = 0.5
VIDEOS = ("pose2sim_two_people",)  # the others are for benchmarks, or the teacher misses too many of their people
FRAMES_A_VIDEO = 120
LONGEST_SIDE = 640  # of a stored frame, pixels
PICTURE_SIZE = 576  # of a picture as the teacher sees it, longer side
FRAME_SIZE = 1280  # of a frame, whose people are small
PLAIN_PICTURES = 240


def _write(name: str, picture: np.ndarray, boxes_xyxy: np.ndarray, kinds: np.ndarray, out: Path) -> None:
    """Write a picture `[H, W, 3]` BGR, made smaller if it is large, and its YOLO labels: class, centre and size."""
    height, width = picture.shape[:2]
    rows = []
    for kind, (x0, y0, x1, y1) in zip(kinds, boxes_xyxy.clip(0, [width, height, width, height]), strict=True):
        if x1 - x0 > 1 and y1 - y0 > 1:
            rows.append(
                f"{kind:d} {(x0 + x1) / 2 / width:.6f} {(y0 + y1) / 2 / height:.6f} "
                f"{(x1 - x0) / width:.6f} {(y1 - y0) / height:.6f}"
            )
    (out / "labels/train" / f"{name}.txt").write_text("\n".join(rows) + "\n" if rows else "")
    shrunk = LONGEST_SIDE / max(height, width)
    if shrunk < 1:
        picture = cv2.resize(picture, None, fx=shrunk, fy=shrunk, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(out / "images/train" / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])


def merge(listed: np.ndarray, found: np.ndarray, scores: np.ndarray, *, trusted: bool) -> tuple[np.ndarray, np.ndarray]:
    """Merge listed boxes `[N, 4]` with a teacher's `[M, 4]`, xyxy; return all that stay and their classes.

    Args:
        listed: Annotated boxes.
        found: The teacher's, of at least `DOUBTFUL_SCORE`.
        scores: Theirs `[M]`.
        trusted: If listed boxes are people whatever the teacher says.
    """
    overlap = overlaps(found, listed)
    known = overlap.max(0, initial=0) >= PSEUDO_IOU
    new = overlap.max(1, initial=0) < PSEUDO_IOU
    kinds = [np.where(known | trusted, PERSON, DOUBTFUL), np.where(scores[new] >= PSEUDO_SCORE, PERSON, DOUBTFUL)]
    return np.concatenate([listed, found[new]]), np.concatenate(kinds)


def _ask(teacher: YOLO, picture: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the teacher's boxes xyxy `[M, 4]` and their scores `[M]`."""
    found = teacher.predict(picture, classes=[0], conf=DOUBTFUL_SCORE, imgsz=size, verbose=False)[0].boxes
    return found.xyxy.cpu().numpy().astype(float), found.conf.cpu().numpy()


def add_listed(name: str, annotations: Path, pictures: Path, teacher: YOLO, out: Path, *, trusted: bool) -> list[int]:
    """Add the pictures of a COCO file; return the numbers of people listed, people of the teacher's, and doubtful."""
    coco = json.loads(annotations.read_text())
    listed: dict[int, list[list[float]]] = {}
    for annotation in coco["annotations"]:
        listed.setdefault(annotation["image_id"], []).append(annotation["bbox"])
    counts = np.zeros(3, int)
    for image in coco["images"]:
        picture = cv2.cvtColor(read_rgb(pictures / image["file_name"]), cv2.COLOR_RGB2BGR)
        xywh = np.array(listed.get(image["id"], []), float).reshape(-1, 4)
        boxes, kinds = merge(
            np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1),
            *_ask(teacher, picture, PICTURE_SIZE),
            trusted=trusted,
        )
        people = kinds == PERSON
        counts += [people[: len(xywh)].sum(), people[len(xywh) :].sum(), (~people).sum()]
        _write(f"{name}_{Path(image['file_name']).stem}", picture, boxes, kinds, out)
    return counts.tolist()


def add_frames(data: Path, teacher: YOLO, out: Path) -> None:
    """Add frames of the training videos with the teacher's boxes."""
    for name, picture in video_frames(data):
        boxes, kinds = merge(np.empty((0, 4)), *_ask(teacher, picture, FRAME_SIZE), trusted=False)
        _write(name, picture, boxes, kinds, out)


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
    counts = {
        "coco": add_listed("coco", coco / "train.json", coco, teacher, args.out, trusted=True),
        "more": add_listed("more", more / "boxes.json", more / "images", teacher, args.out, trusted=False),
    }
    add_frames(args.data, teacher, args.out)
    add_plain(args.out)
    write_sources(args.data, args.out)
    count = len(list((args.out / "images/train").iterdir()))
    print(f"{count} training pictures; listed, of the teacher, doubtful: {counts}; in {args.out}")


if __name__ == "__main__":
    main()
