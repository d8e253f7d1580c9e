"""Make the video part of the ablation's data: real motion, real blur, rendered occlusion.

`python benchmarks/experiments/ablation_data.py --data ../shared/data --out runs/ablation/data`

- People are found and tracked in real videos by `jmpose infer`; a pose teacher (PP-TinyPose, see `models/recipes`)
  labels their joints in every third frame, where it is sure. Its errors are the same for every model compared.
- Each video comes a second time with motion blur: a labelled frame is the mean, in linear light, of the frames within
  1/15 s of it, as a slower shutter would have seen it. The labels are those of the sharp frame.
- One rendered clip with exact joints, of a seed that no training data has.

Videos are split whole: what is scored is never learnt from.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson

from jmpose.keypoints import COCO17, COCO17_HEAD, KeypointSet
from jmpose_cli.video.info import VideoInfo
from jmpose_cli.video.source import open_video
from jmpose_cli.video.writer import OverlayWriter

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "models/recipes"))
from nano_data import AGREE, PATCH_HEIGHT, PATCH_WIDTH, SURE, Teacher, patch_to_image  # noqa: E402
from renderer import render_scene  # noqa: E402

TRAIN, VALIDATION = ("pose2sim_two_people", "intel_one_by_one"), ("sam2_bedroom", "sports2d_walk_occluded")
LABEL_EVERY = 3  # frames; neighbours of a blurred frame stay sharp
BLUR_S = 1 / 15
MIN_HEIGHT_PX = 60
MIN_JOINTS = 5
MOST_FRAMES = 600
ANNOTATIONS = "keypoints.coco.json"


def main() -> None:
    """Write `<out>/{train,val}/<clip>/keypoints.coco.json` and `<out>/clips/<clip>.mp4`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/ablation/data"))
    parser.add_argument("--training-only", action="store_true", help="leave out what the ablation is scored on")
    args = parser.parse_args()
    (args.out / "clips").mkdir(parents=True, exist_ok=True)
    teacher = Teacher(args.data)
    for split, names in (("train", TRAIN), ("val", () if args.training_only else VALIDATION)):
        for name in names:
            video = args.data / "videos" / f"{name}.mp4"
            boxes = track(video, args.out / "tracks", args.data / "teachers/yolo11n_dequant.pt")
            clip(video, boxes, teacher, args.out, split)
    if not args.training_only:
        rendered(args.out, seed=2000, split="val")


def track(video: Path, out: Path, detector: Path) -> dict[int, list[dict[str, Any]]]:
    """Find and track people with the tool itself; gives the annotations of each frame."""
    file = out / video.stem / ANNOTATIONS
    if not file.exists():
        options = ["--detector", str(detector), "--set", "output.overlay=false", "--set", "output.formats=[coco]"]
        options += ["--frames", f":{MOST_FRAMES}"]
        subprocess.run(
            [sys.executable, "-m", "jmpose_cli.main", "infer", str(video), "--out", str(out), *options], check=True
        )
    content = orjson.loads(file.read_bytes())
    frame_of = {image["id"]: image["frame_index"] for image in content["images"]}
    people: dict[int, list[dict[str, Any]]] = {}
    for annotation in content["annotations"]:
        people.setdefault(frame_of[annotation["image_id"]], []).append(annotation)
    return people


def clip(video: Path, boxes: dict[int, list[dict[str, Any]]], teacher: Teacher, out: Path, split: str) -> None:
    """Label one video and write it sharp and blurred."""
    with open_video(video, frames=(None, MOST_FRAMES)) as source:
        info = source.info
        frames = [frame for batch in source for frame in batch.frames.copy()]
    labelled = range(LABEL_EVERY, len(frames) - LABEL_EVERY, LABEL_EVERY)
    people = [(frame, box["track_id"], box["bbox"]) for frame in labelled for box in boxes.get(frame, [])]
    people = [person for person in people if person[2][3] >= MIN_HEIGHT_PX]
    taught = [(frame, track, box, teach(frames[frame], box, teacher)) for frame, track, box in people]
    radius = max(1, round(BLUR_S * info.fps))
    blurred = [
        mean_of(frames[max(0, n - radius) : n + radius + 1]) if n in labelled else f for n, f in enumerate(frames)
    ]
    for name, shown in ((f"{video.stem}-sharp", frames), (f"{video.stem}-blurred", blurred)):
        write_clip(out, split, name, shown, info, taught, COCO17)


def teach(frame: np.ndarray, box_xywh: Sequence[float], teacher: Teacher) -> np.ndarray:
    """Joints `[17, 3]` of one person: x, y in image pixels, 2 where the teacher is sure and 0 elsewhere."""
    affine = patch_to_image(tuple(box_xywh))
    flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
    xy, score, apart, _ = teacher(cv2.warpAffine(frame, affine, (PATCH_WIDTH, PATCH_HEIGHT), flags=flags))
    sure = (score >= SURE) & (apart <= AGREE)
    return np.column_stack([np.where(sure[:, None], xy @ affine[:, :2].T + affine[:, 2], 0), 2 * sure])


def mean_of(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Average frames in linear light."""
    linear = np.mean([(frame / np.float32(255)) ** np.float32(2.2) for frame in frames], 0)
    return np.rint(255 * linear ** (1 / 2.2)).astype(np.uint8)


def rendered(out: Path, *, seed: int, split: str) -> None:
    """Write a rendered clip with exact joints."""
    frames = list(render_scene(seed, frames=90, width=640, height=360, people=5, fps=30))
    people = []
    for number in range(LABEL_EVERY, len(frames) - LABEL_EVERY, LABEL_EVERY):
        frame = frames[number]
        for person, (x0, y0, x1, y1) in enumerate(frame.boxes_xyxy.tolist()):
            flags = np.where(frame.visible[person], 2, 1)
            people.append(
                (
                    number,
                    int(frame.track_ids[person]),
                    (x0, y0, x1 - x0, y1 - y0),
                    np.column_stack([frame.joints_xy[person], flags]),
                )
            )
    info = VideoInfo(Path("rendered"), 640, 360, 30.0, None, 0, False, "images")
    write_clip(out, split, f"rendered-{seed}", [f.frame_rgb for f in frames], info, people, COCO17_HEAD)


def write_clip(
    out: Path,
    split: str,
    name: str,
    frames: Sequence[np.ndarray],
    info: VideoInfo,
    people: Iterable[tuple[int, int, Sequence[float], np.ndarray]],
    keypoints: KeypointSet,
) -> None:
    """Write a video and its annotations in the form of `jmpose infer`; people with few joints are left out."""
    path = out / "clips" / f"{name}.mp4"
    with OverlayWriter(path, info=info) as writer:
        for number, frame in enumerate(frames):
            writer.write(np.ascontiguousarray(frame), number / info.fps)
    height, width = frames[0].shape[:2]
    annotations = []
    for frame, track, box, joints in people:
        known = int((joints[:, 2] > 0).sum())
        if known >= MIN_JOINTS:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": frame + 1,
                    "category_id": 1,
                    "track_id": track,
                    "keypoints": np.round(joints, 2).flatten().tolist(),
                    "num_keypoints": known,
                    "bbox": list(box),
                    "area": 0.53 * box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    images = [
        {"id": n + 1, "file_name": f"{n:06d}.jpg", "width": width, "height": height, "frame_index": n}
        for n in sorted({a["image_id"] - 1 for a in annotations})
    ]
    category = {"id": 1, "name": "person", "keypoints": list(keypoints.joints)}
    content = {
        "info": {"video": {"source": path.name, "fps": info.fps}},
        "images": images,
        "annotations": annotations,
        "categories": [category],
    }
    file = out / split / name / ANNOTATIONS
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(orjson.dumps(content))
    print(f"{split}/{name}: {len(frames)} frames, {len(annotations)} people labelled", flush=True)


if __name__ == "__main__":
    main()
