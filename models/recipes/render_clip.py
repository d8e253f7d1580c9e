"""Render the demonstration clip, and its exact ground truth in the PoseTrack18 format.

    python models/recipes/render_clip.py --out examples/street.mp4 --seed 7

writes `street.mp4` (H.264) and `street.posetrack18.json` beside it. The seed decides who the people are and
what the street looks like; what the people do is the same for every seed. The same arguments give the same file.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from jmpose.keypoints import POSETRACK18
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.base import person_category
from jmpose_cli.formats.names import image_id_scheme
from jmpose_cli.video.info import VideoInfo
from jmpose_cli.video.writer import OverlayWriter
from renderer import JOINTS, RenderedFrame
from renderer.film import render
from renderer.street import street_scene

# People of whom less is to be seen are left out, as annotators would.
LEAST_SHOWN = 0.08
# PoseTrack18: the box of a person is the extent of the joints times 1.3.
_BOX_GROWTH = 1.3
_CHANNELS = [JOINTS.index(name) for name in POSETRACK18.joints]
_UNUSED = [POSETRACK18.joints.index(name) for name in ("left_ear", "right_ear")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: render and write both files; 0 when done, 1 when they cannot be written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("street.mp4"), help="the mp4 file (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="who and where (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=125, help="length (default: %(default)s)")
    parser.add_argument("--fps", type=float, default=25.0, help="frames a second (default: %(default)s)")
    parser.add_argument("--width", type=int, default=960, help="pixels (default: %(default)s)")
    parser.add_argument("--height", type=int, default=540, help="pixels (default: %(default)s)")
    options = parser.parse_args(arguments)
    scene = street_scene(options.seed, width=options.width, height=options.height)
    frames = render(scene, frames=options.frames, fps=options.fps, seed=options.seed)
    try:
        truth = write_clip(options.out, frames, width=options.width, height=options.height, fps=options.fps)
    except JmposeError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return 1
    print(f"{options.out}\n{truth}")
    return 0


def write_clip(path: Path, frames: Iterator[RenderedFrame], *, width: int, height: int, fps: float) -> Path:
    """Encode frames and write their ground truth beside the video.

    Args:
        path: The mp4 file.
        frames: What was rendered.
        width: Picture width, pixels.
        height: Picture height, pixels.
        fps: Frames a second.

    Returns:
        The ground truth's path: the video's with the ending `.posetrack18.json`.

    Raises:
        JmposeError: If the video cannot be written.
    """
    info = VideoInfo(path, width, height, fps, None, 0, has_audio=False, decoder="none")
    truth = GroundTruth(path.stem, width=width, height=height)
    with OverlayWriter(path, info=info) as writer:
        for frame in frames:
            writer.write(frame.frame_rgb, frame.time_s)
            truth.add(frame)
    file = path.with_suffix(".posetrack18.json")
    file.write_bytes(orjson.dumps(truth.document()) + b"\n")
    return file


class GroundTruth:
    """PoseTrack18 ground truth of rendered frames.

    Joints inside the picture have coordinates, and v tells whether they are seen (1) or hidden (0): PoseTrack's
    evaluation counts both. Joints outside the picture, and the ears, which PoseTrack does not use, are 0, 0, 0.

    Args:
        name: Name of the video inside the file.
        width: Picture width, pixels.
        height: Picture height, pixels.
    """

    def __init__(self, name: str, *, width: int, height: int) -> None:
        self._name = name
        self._size = (width, height)
        self._sequence, self._first_id = image_id_scheme(name)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, frame: RenderedFrame) -> None:
        """Append the next frame."""
        number = len(self._images)
        image_id = self._first_id + number
        self._images.append(
            {
                "id": image_id,
                "frame_id": image_id,
                "vid_id": f"{self._sequence:06d}",
                "file_name": f"images/{self._name}/{number:06d}.jpg",
                "width": self._size[0],
                "height": self._size[1],
                "is_labeled": True,
                "has_no_densepose": True,
                "ignore_regions_x": [],
                "ignore_regions_y": [],
            }
        )
        inside = self._inside(frame.joints_xy)
        wanted = np.flatnonzero((frame.shown >= LEAST_SHOWN) & inside.any(axis=1))
        for person, row in enumerate(wanted):
            self._annotations.append(
                {
                    "id": image_id * 100 + person,
                    "image_id": image_id,
                    "category_id": 1,
                    "track_id": int(frame.track_ids[row]),
                    **_person(frame, int(row), inside[row]),
                }
            )

    def document(self) -> dict[str, Any]:
        """The whole file."""
        images = [image | {"nframes": len(self._images)} for image in self._images]
        return {"images": images, "annotations": self._annotations, "categories": [person_category(POSETRACK18)]}

    def _inside(self, joints_xy: np.ndarray) -> np.ndarray:
        """`[N, 17]` which of PoseTrack's joints lie in the picture."""
        xy = joints_xy[:, _CHANNELS]
        inside = ((xy >= 0) & (xy <= np.array(self._size) - 1)).all(axis=2)
        return np.asarray(inside & ~np.isin(np.arange(len(_CHANNELS)), _UNUSED))


def _person(frame: RenderedFrame, row: int, inside: np.ndarray) -> dict[str, Any]:
    """Keypoints and boxes of one person."""
    xy = np.round(frame.joints_xy[row, _CHANNELS].astype(np.float64), 2)
    seen = frame.visible[row, _CHANNELS]
    keypoints = np.where(inside[:, None], np.column_stack([xy, seen]), 0.0)
    low, high = xy[inside].min(axis=0), xy[inside].max(axis=0)
    extent = (high - low) * _BOX_GROWTH
    corner = (low + high) / 2 - extent / 2
    head = frame.head_boxes_xyxy[row].astype(np.float64)
    return {
        "keypoints": [float(v) for v in keypoints.ravel()],
        "bbox": np.round([*corner, *extent], 2).tolist(),
        "bbox_head": np.round([*head[:2], *(head[2:] - head[:2])], 2).tolist(),
        "scores": [],
    }


if __name__ == "__main__":
    sys.exit(main())
