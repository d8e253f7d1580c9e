"""Collect person patches and joint labels to train the shipped models on.

`python models/recipes/nano_data.py --data ../shared/data --out runs/people`

Every person becomes one patch: the box enlarged to the 3:4 input shape, with room around it for
rotation and scaling, resampled so that the box crop is 320x240 pixels of it: no shipped model takes finer ones.
Labels are positions in the patch, a weight and a presence for each of the 19 joints of `coco17_head`:

- an annotated joint has weight 1;
- a joint nobody annotated takes the pose teacher's answer (PP-TinyPose, averaged with its mirrored
  picture) where the teacher is sure and says the same of the mirrored picture and of a larger crop: weight 0.7;
- where the teacher is sure that there is no such joint, the target is an empty heatmap, weight 0.3;
- LSP annotations that a sure teacher contradicts by over a fifth of the box get weight 0;
- beside them are the teacher's heatmaps, for distillation.

Each set of pictures gives a folder; those who show no face but shoulders and hips, seen from behind for the most part,
have one of their own, and so have those of the others whose box overlaps somebody else's, so that a configuration can
show them more often. Boxed people of whom the teacher knows little are left out.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from jmpose.keypoints import COCO17, COCO17_HEAD
from jmpose_cli.people.boxes import overlaps

TEACHER_HEIGHT, TEACHER_WIDTH = 256, 192
FINER = 1.25  # pixels of the patch for one of the teacher's
CROP_HEIGHT, CROP_WIDTH = round(TEACHER_HEIGHT * FINER), round(TEACHER_WIDTH * FINER)
MARGIN = 1.35  # patch side over crop side
PATCH_HEIGHT, PATCH_WIDTH = round(CROP_HEIGHT * MARGIN), round(CROP_WIDTH * MARGIN)
BOX_PADDING = 1.25
BOX_HEIGHT = CROP_HEIGHT / BOX_PADDING  # of a person, pixels of the patch
SURE, ABSENT = 0.45, 0.12  # teacher's peak above and below which its answer is used
AGREE = 0.06  # of the crop's height, between the teacher's two answers
CONTRADICT = 0.2
MEAN = np.array([0.485, 0.456, 0.406], np.float32) * 255
STD = np.array([0.229, 0.224, 0.225], np.float32) * 255
LSP_NAMES = {"neck": "head_bottom"}
MIN_PSEUDO_HEIGHT = 56  # pixels; smaller people of `person_boxes` have no visible joints
MIN_MORE_HEIGHT = 64  # of `people_more`
MIN_TAUGHT = 6  # joints that a boxed person needs of the teacher
WIDER = 1.2  # second crop over first
CROWD_IOU = 0.1  # of two boxes
BEHIND, CROWDED = "behind", "crowded"
FACE = slice(0, 3)  # nose and eyes
TRUNK = [COCO17.joints.index(f"{side}_{part}") for side in ("left", "right") for part in ("shoulder", "hip")]


@dataclass
class Person:
    """One person to cut out: where, and what is annotated (joint name to x, y)."""

    image: Path
    box_xywh: tuple[float, float, float, float]
    joints: dict[str, tuple[float, float]]
    source: str


def coco_people(data: Path, split: str) -> Iterator[Person]:
    """Yield annotated people of `coco_persons` that are large enough to have a pose."""
    coco = json.loads((data / "coco_persons" / f"{split}.json").read_text())
    files = {i["id"]: data / "coco_persons" / i["file_name"] for i in coco["images"]}
    for annotation in coco["annotations"]:
        if annotation["num_keypoints"] >= 3 and annotation["bbox"][3] >= 24:
            points = np.array(annotation["keypoints"], float).reshape(-1, 3)
            named = zip(COCO17.joints, points.tolist(), strict=True)
            joints = {name: (x, y) for name, (x, y, v) in named if v > 0}
            yield Person(files[annotation["image_id"]], tuple(annotation["bbox"]), joints, "coco")


def lsp_people(data: Path) -> Iterator[Person]:
    """Yield the people of LSP extended; the box is the extent of the joints, a tenth larger."""
    lsp = json.loads((data / "lspet/lspet.json").read_text())
    files = {i["id"]: data / "lspet" / i["file_name"] for i in lsp["images"]}
    names = [LSP_NAMES.get(n, n) for n in lsp["categories"][0]["keypoints"]]
    for annotation in lsp["annotations"]:
        points = np.array(annotation["keypoints"], float).reshape(-1, 3)
        labelled = points[:, 2] > 0
        if labelled.sum() < 8:
            continue
        low, high = points[labelled, :2].min(0), points[labelled, :2].max(0)
        margin = 0.1 * (high - low).max()
        low, high = low - margin, high + margin
        joints = {n: (x, y) for n, (x, y, v) in zip(names, points.tolist(), strict=True) if v > 0}
        yield Person(files[annotation["image_id"]], (*low, *(high - low)), joints, "lsp")


def boxed_people(data: Path) -> Iterator[Person]:
    """Yield the larger people of `person_boxes/train`, who have boxes only."""
    root = data / "person_boxes"
    for label in sorted((root / "labels/train").glob("*.txt")):
        image = root / "images/train" / f"{label.stem}.jpg"
        for line in label.read_text().splitlines():
            cx, cy, w, h = (416 * float(v) for v in line.split()[1:])
            if h >= MIN_PSEUDO_HEIGHT and w >= 20:
                yield Person(image, (cx - w / 2, cy - h / 2, w, h), {}, "boxes")


def more_people(data: Path) -> Iterator[Person]:
    """Yield the larger people of `people_more`, who have boxes only."""
    root = data / "people_more"
    boxes = json.loads((root / "boxes.json").read_text())
    files = {i["id"]: root / "images" / i["file_name"] for i in boxes["images"]}
    for annotation in boxes["annotations"]:
        x, y, w, h = annotation["bbox"]
        if h >= MIN_MORE_HEIGHT and w >= 20:
            yield Person(files[annotation["image_id"]], (x, y, w, h), {}, "more")


SETS = ("coco", "lsp", "boxes", "more")


def folders_of(source: str) -> tuple[str, str, str]:
    """Name the folders of one of `SETS`: the rest, those seen from behind, and those in crowds."""
    return source, f"{source}-{BEHIND}", f"{source}-{CROWDED}"


def people_of(source: str, data: Path) -> Iterator[Person]:
    """Yield the people of one of `SETS`."""
    if source == "coco":
        return coco_people(data, "train")
    return {"lsp": lsp_people, "boxes": boxed_people, "more": more_people}[source](data)


def overlap_others(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Tell of boxes `[N, 4]` of one picture which overlap another by `CROWD_IOU` or more: `[N]` bool."""
    return np.asarray((overlaps(boxes_xyxy, boxes_xyxy) >= CROWD_IOU).sum(1) > 1)


def in_crowds(people: Sequence[Person]) -> np.ndarray:
    """Tell whose box overlaps that of somebody else in the same picture by `CROWD_IOU`: `[N]` bool."""
    by_image: dict[Path, list[int]] = {}
    for row, person in enumerate(people):
        by_image.setdefault(person.image, []).append(row)
    crowded = np.zeros(len(people), bool)
    for rows in by_image.values():
        boxes = np.array([people[row].box_xywh for row in rows], float)
        boxes[:, 2:] += boxes[:, :2]
        crowded[rows] = overlap_others(boxes)
    return crowded


def patch_to_image(box_xywh: tuple[float, float, float, float]) -> np.ndarray:
    """Affine `[2, 3]` from patch pixels to image pixels."""
    x, y, w, h = box_xywh
    height = BOX_PADDING * max(h, w * CROP_HEIGHT / CROP_WIDTH)
    scale = height / CROP_HEIGHT
    centre = np.array([x + w / 2, y + h / 2])
    origin = centre - scale * np.array([PATCH_WIDTH - 1, PATCH_HEIGHT - 1]) / 2
    return np.array([[scale, 0, origin[0]], [0, scale, origin[1]]])


class Teacher:
    """PP-TinyPose through OpenVINO, averaged with its mirrored answer, and asked again with a larger crop."""

    def __init__(self, data: Path) -> None:
        import openvino

        model = openvino.Core().read_model(next((data / "teachers/pp_tinypose_256_192_fp16_ov").glob("*.xml")))
        model.reshape([4, 3, TEACHER_HEIGHT, TEACHER_WIDTH])
        # By itself it would compute in bf16 where the processor has it: peaks of two digits.
        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        self._run = openvino.Core().compile_model(model, "CPU", settings)

    def __call__(self, patch: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return joints `[17, 2]` in patch pixels, peaks `[17]`, disagreement `[17]` in crop heights, and heatmaps.

        Heatmaps are `[17, 64, 48]` uint8, 255 for 1, of the crop in the middle of the patch.
        """
        crops = [_crop(patch, 1.0), _crop(patch, WIDER)]
        pictures = [(view - MEAN) / STD for crop, _ in crops for view in (crop, crop[:, ::-1])]
        maps = self._run(np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32))[0]
        mirrored = maps[1::2][:, list(COCO17.flip_index)][..., ::-1]
        answers = []
        for straight, turned, (_, affine) in zip(maps[::2], mirrored, crops, strict=True):
            answers += [_in_patch(_peaks(straight)[0], affine), _in_patch(_peaks(turned)[0], affine, mirrored=1)]
        mean = (maps[0] + mirrored[0]) / 2
        peaks, score = _peaks(mean)
        xy = _in_patch(peaks, crops[0][1], mirrored=0.5)
        apart = np.max([np.linalg.norm(answer - xy, axis=1) for answer in answers], 0) / CROP_HEIGHT
        return xy, score, apart, (mean.clip(0, 1) * 255).round().astype(np.uint8)


def _crop(patch: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut a crop for the teacher, `scale` times the box's, out of the middle; return it and its affine to the patch."""
    scale *= FINER
    centre = np.array([PATCH_WIDTH - 1, PATCH_HEIGHT - 1]) / 2
    origin = centre - scale * np.array([TEACHER_WIDTH - 1, TEACHER_HEIGHT - 1]) / 2
    affine = np.array([[scale, 0, origin[0]], [0, scale, origin[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(patch, affine, (TEACHER_WIDTH, TEACHER_HEIGHT), flags=flags), affine


def _in_patch(peaks: np.ndarray, affine: np.ndarray, *, mirrored: float = 0) -> np.ndarray:
    """Bring heatmap pixels `[K, 2]` of a crop into the patch.

    The teacher's heatmaps are aligned with crops by `origins` (first pixel on first pixel), those of mirrored pictures,
    turned back, by the last ones of a row. `mirrored` is their share.
    """
    return (4 * peaks + [3 * mirrored, 0]) * affine[0, 0] + affine[:, 2]


def _peaks(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the parabola-refined maxima `[K, 2]` (x, y) of heatmaps `[K, h, w]` and their heights `[K]`."""
    joints, h, w = maps.shape
    flat = maps.reshape(joints, -1).argmax(1)
    y, x = np.divmod(flat, w)
    k = np.arange(joints)
    score = maps[k, y, x]
    xi, yi = x.clip(1, w - 2), y.clip(1, h - 2)
    refined = []
    for index, (low, mid, high) in (
        (x, (maps[k, y, xi - 1], maps[k, y, xi], maps[k, y, xi + 1])),
        (y, (maps[k, yi - 1, x], maps[k, yi, x], maps[k, yi + 1, x])),
    ):
        curve = low - 2 * mid + high
        shift = np.where(np.abs(curve) > 1e-6, 0.5 * (low - high) / np.where(curve == 0, 1, curve), 0)
        refined.append(index + shift.clip(-0.5, 0.5))
    return np.stack(refined, 1), score


def taught_affine() -> np.ndarray:
    """Return the affine `[2, 3]` from pixels of the teacher's heatmaps to pixels of the patch."""
    _, to_patch = _crop(np.zeros((PATCH_HEIGHT, PATCH_WIDTH, 3), np.uint8), 1.0)
    first = _in_patch(np.zeros((1, 2)), to_patch, mirrored=0.5)[0]
    return np.array([[4 * FINER, 0, first[0]], [0, 4 * FINER, first[1]]])


def label(person: Person, to_image: np.ndarray, answer: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Merge annotation and the teacher's answer: positions `[19, 2]` in the patch, weights `[19]`, presence `[19]`."""
    joints = len(COCO17_HEAD)
    xy, weight, present = np.zeros((joints, 2)), np.zeros(joints), np.zeros(joints)
    taught, score, apart = answer
    for k in range(len(COCO17)):
        if score[k] >= SURE and apart[k] <= AGREE:
            xy[k], weight[k], present[k] = taught[k], 0.7, 1
        elif score[k] <= ABSENT:
            weight[k] = 0.3
    for name, image_xy in person.joints.items():
        k = COCO17_HEAD.joints.index(name)
        position = (np.array(image_xy) - to_image[:, 2]) / to_image[0, 0]
        doubted = person.source == "lsp" and k < len(COCO17) and score[k] > 0.6 and apart[k] <= AGREE
        if doubted and np.linalg.norm(position - taught[k]) > CONTRADICT * CROP_HEIGHT:
            weight[k] = 0
            continue
        xy[k], weight[k], present[k] = position, 1, 1
    return xy, weight, present


def cut(person: Person, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut a person out of a picture; return the patch and the affine from it to the picture."""
    to_image = affine = patch_to_image(person.box_xywh)
    # Area averaging first where the patch is coarser than the picture: no aliasing.
    shrink = min(1.0, 1 / affine[0, 0])
    if shrink < 0.67:
        image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        affine = affine * shrink
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, affine, (PATCH_WIDTH, PATCH_HEIGHT), flags=flags), to_image


def read_rgb(path: Path) -> np.ndarray:
    """Read a picture; OpenCV's wheels know AVIF only since version 5, Pillow does too."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def write_set(people: Sequence[Person], teacher: Teacher, out: Path, *, source: str) -> dict[str, int]:
    """Write the files of one set, of its people from behind, and of those in crowds; return how many they are.

    They are `patches.npy`, `labels.npz` and `taught.npy`, the teacher's heatmaps.
    """
    shape = (len(people), PATCH_HEIGHT, PATCH_WIDTH, 3)
    taught = np.empty((len(people), len(COCO17), TEACHER_HEIGHT // 4, TEACHER_WIDTH // 4), np.uint8)
    kept: dict[str, list[tuple[int, tuple[np.ndarray, ...]]]] = {name: [] for name in folders_of(source)}
    alone, behind, among = kept.values()
    scratch = out / f"{source}.partial.npy"
    patches = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.uint8, shape=shape)
    for row, (person, crowded) in enumerate(zip(people, in_crowds(people), strict=True)):
        patches[row], to_image = cut(person, read_rgb(person.image))
        *answer, taught[row] = teacher(patches[row])
        xy, weight, present = label(person, to_image, answer)
        score = answer[1]
        if person.joints or (present > 0).sum() >= MIN_TAUGHT:
            from_behind = score[FACE].max() < ABSENT * 2 and present[TRUNK].all()
            group = behind if from_behind else among if crowded else alone
            group.append((row, (xy, weight, present)))
        if row % 1000 == 0:
            print(f"{source}: {row} of {len(people)}", flush=True)
    for name, rows in kept.items():
        if not rows:
            continue
        folder = out / name
        folder.mkdir(exist_ok=True)
        shape = (len(rows), PATCH_HEIGHT, PATCH_WIDTH, 3)
        chosen = np.lib.format.open_memmap(folder / "patches.npy", mode="w+", dtype=np.uint8, shape=shape)
        for place, (row, _) in enumerate(rows):
            chosen[place] = patches[row]
        np.save(folder / "taught.npy", taught[[row for row, _ in rows]])
        columns = zip(*(labels for _, labels in rows), strict=True)
        xy, weight, present = (np.stack(column).astype(np.float32) for column in columns)
        rows_of = np.array([row for row, _ in rows], np.int32)  # in the order of the set, for `travel.py`
        labels = {"xy": xy, "weight": weight, "present": present, "names": np.array(COCO17_HEAD.joints)}
        affine = taught_affine()
        np.savez(folder / "labels.npz", rows=rows_of, taught_affine=affine, box_height=BOX_HEIGHT, **labels)
    scratch.unlink()
    return {name: len(rows) for name, rows in kept.items()}


def main() -> None:
    """Write a folder for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/people"))
    parser.add_argument("--sets", nargs="+", choices=SETS, help="all, if not given")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    teacher = Teacher(args.data)
    for source in args.sets or SETS:
        print(write_set([*people_of(source, args.data)], teacher, args.out, source=source), flush=True)


if __name__ == "__main__":
    main()
