"""A picture of a model's worst poses on the rendered example, for its card.

`python benchmarks/accuracy/failures.py [--model nano] [--out docs/nano_failures.jpg]`

The tool runs on the true boxes of `examples/street.mp4`. Of each person the frame with the largest mean error (in box
sizes, over visible joints) is shown, worst first: the estimate as the overlay draws it, the truth as white rings.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch

from jmpose.keypoints import POSETRACK18
from jmpose_cli.formats.keypoint_mapping import map_keypoints
from jmpose_cli.known_weights import choose_model
from jmpose_cli.pose.estimator import EstimatorSettings, PoseEstimator
from jmpose_cli.pose.torch_engine import TorchEstimator
from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker
from jmpose_cli.values import FramePoses, TrackedFrame
from jmpose_cli.video.drawing import DrawStyle, draw_people
from jmpose_cli.video.source import open_video
from pose_accuracy import annotated_frame

EXAMPLE = Path("examples/street.mp4")
TILE_PX = 320
MARGIN = 0.15  # of the box, around it


def main() -> None:
    """Write the picture and print the errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("docs/nano_failures.jpg"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    path = choose_model(args.model).path
    estimator = TorchEstimator.load(path, EstimatorSettings())
    fps, pictures, frames = read(args.frames)
    worst: dict[int, tuple[float, np.ndarray]] = {}
    for poses, picture, people in zip(estimate(estimator, fps, pictures, frames), pictures, frames, strict=True):
        xy, _ = map_keypoints(poses.xy_image, poses.scores, estimator.keypoints, POSETRACK18)
        for row, person in enumerate(people):
            wanted = np.array(person["keypoints"]).reshape(-1, 3)
            error = error_of(xy[row], wanted, poses.people.boxes_xyxy_px[row])
            if error > worst.get(person["track_id"], (0.0, picture))[0]:
                worst[person["track_id"]] = error, tile(estimator, poses, row, picture, wanted)
    ordered = sorted(worst.values(), key=lambda item: -item[0])
    print("mean error in box sizes, worst first: " + ", ".join(f"{error:.3f}" for error, _ in ordered))
    tiles = [picture for _, picture in ordered[:6]]
    sheet = np.vstack([np.hstack(tiles[:3]), np.hstack(tiles[3:])])
    cv2.imwrite(str(args.out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])


def read(count: int) -> tuple[float, list[np.ndarray], list[list[dict]]]:
    """Return the frame rate, the first pictures and the people of each."""
    truth = json.loads(EXAMPLE.with_suffix(".posetrack18.json").read_text())
    people: dict[int, list[dict]] = {image["id"]: [] for image in truth["images"]}
    for annotation in truth["annotations"]:
        people[annotation["image_id"]].append(annotation)
    with open_video(EXAMPLE, frames=(0, count)) as source:
        pictures = [picture for batch in source for picture in batch.frames]
        return source.info.fps, pictures, list(people.values())[: len(pictures)]


def estimate(
    estimator: PoseEstimator, fps: float, pictures: list[np.ndarray], frames: list[list[dict]]
) -> list[FramePoses]:
    """Run the tool's windows and network on true boxes."""
    window = estimator.preprocess
    spacing = Spacing.for_video(
        window.window_offsets, fps=fps, reference_fps=window.reference_fps, max_gap_s=window.max_support_gap_s
    )
    maker, windows = WindowMaker(spacing), []
    for index, (picture, people) in enumerate(zip(pictures, frames, strict=True)):
        ids = [person["track_id"] + 1 for person in people]
        boxes = annotated_frame([person["bbox"] for person in people], ids, index=index, time_s=index / fps)
        windows += maker.push(SeenFrame(picture, boxes))
    return estimator.estimate([*windows, *maker.finish()])


def error_of(xy: np.ndarray, wanted: np.ndarray, box_xyxy: np.ndarray) -> float:
    """Mean distance of joints `[17, 2]` to the visible ones of `[17, 3]`, in box sizes; 0 where few are."""
    seen = (wanted[:, 2] > 0) & np.isfinite(xy).all(1)
    x0, y0, x1, y1 = box_xyxy
    apart = np.linalg.norm(xy - wanted[:, :2], axis=1)[seen]
    return float(apart.mean() / np.sqrt((x1 - x0) * (y1 - y0))) if seen.sum() >= 8 else 0.0


def tile(estimator: PoseEstimator, poses: FramePoses, row: int, picture: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Draw one person, estimate and truth, `[TILE_PX, TILE_PX, 3]`."""
    x0, y0, x1, y1 = poses.people.boxes_xyxy_px[row]
    half = (0.5 + MARGIN) * max(x1 - x0, y1 - y0)
    zoom = TILE_PX / (2 * half)
    affine = np.array([[zoom, 0, TILE_PX / 2 - zoom * (x0 + x1) / 2], [0, zoom, TILE_PX / 2 - zoom * (y0 + y1) / 2]])
    one = slice(row, row + 1)
    people = poses.people
    box = (people.boxes_xyxy_px[one].reshape(2, 2) * zoom + affine[:, 2]).reshape(1, 4).astype(np.float32)
    shown = FramePoses(
        TrackedFrame(0, 0.0, box, people.scores[one], people.track_ids[one], people.observed[one]),
        (poses.xy_image[one] * zoom + affine[:, 2]).astype(np.float32),
        poses.scores[one],
        poses.person_scores[one],
    )
    canvas = cv2.warpAffine(picture, affine, (TILE_PX, TILE_PX), flags=cv2.INTER_CUBIC)
    canvas = draw_people(canvas, shown, estimator.keypoints, DrawStyle())
    for x, y, visible in wanted:
        if visible > 0:
            at = np.rint(np.array([x, y]) * zoom + affine[:, 2]).astype(int).tolist()
            cv2.circle(canvas, at, 4, (255, 255, 255), 1, cv2.LINE_AA)
    return canvas


if __name__ == "__main__":
    main()
