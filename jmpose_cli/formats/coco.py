"""COCO keypoint datasets, written from and read into poses.

The file is a COCO *dataset* (not a bare results list), so it opens in pycocotools, faster-coco-eval, CVAT and
the like, and its `annotations` are at the same time a valid results list for `COCO.loadRes`.

Beyond COCO's own fields: `frame_index` and `time_s` of every image; `keypoint_scores`, `score`, `track_id`
and `box_observed` (false where the box was interpolated) of every annotation, and `keypoints_raw` (as
`keypoints`) when the poses were smoothed.

Visibility: v = 2 where the joint score reaches `VISIBLE_SCORE`, else 1 (COCO's "labelled but not visible").
So every joint that the model gives keeps its coordinates and counts in `num_keypoints`, and a viewer can still
tell the doubtful ones. `area` is the area of the box, as there is no outline of the person.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jmpose.keypoints import KeypointSet
from jmpose_cli.formats.base import (
    SCORE_DECIMALS,
    TIME_DECIMALS,
    DatasetFile,
    PoseWriter,
    VideoMeta,
    boxes_xywh,
    flat_triples,
    person_category,
    rounded,
)
from jmpose_cli.formats.keypoint_mapping import coco_set, map_keypoints, present_joints
from jmpose_cli.values import Float, FramePoses

VISIBLE_SCORE = 0.3
"""Joint score from which v = 2; raising it marks more joints as doubtful, v = 1."""


class CocoWriter(PoseWriter):
    """Writes a COCO keypoint dataset; see `PoseWriter` for how it is used.

    Args:
        path: The file to write; its folder must exist.
        meta: The video.
        keypoints: Keypoint set of the poses that will come.
        written: Keypoint set of the file; joints that the poses do not give are absent (0, 0, 0). None takes the
            17 COCO joints in COCO's order when the poses have them all, otherwise their own set.
        info: What goes into the file's `info` beside the video: tool version, model name and the like.

    Raises:
        JmposeError: The file cannot be created.
    """

    def __init__(
        self,
        path: Path,
        meta: VideoMeta,
        keypoints: KeypointSet,
        *,
        info: dict[str, Any],
        written: KeypointSet | None = None,
    ) -> None:
        super().__init__(path, meta, keypoints)
        self._written = written or coco_set(keypoints)
        self._present = present_joints(keypoints, self._written)
        self._info = info
        self._annotation_id = 0
        self._file = DatasetFile(path)

    def _write(self, poses: FramePoses) -> None:
        image_id = poses.people.index + 1
        self._file.add_image(
            {
                "id": image_id,
                "file_name": image_file_name(self._meta, poses.people.index),
                "width": self._meta.width,
                "height": self._meta.height,
                "frame_index": poses.people.index,
                "time_s": round(poses.people.time_s, TIME_DECIMALS),
            }
        )
        for record in self._annotations(poses):
            self._annotation_id += 1
            keys = {"id": self._annotation_id, "image_id": image_id, "category_id": 1}
            self._file.add_annotation(keys | record)

    def _annotations(self, poses: FramePoses) -> list[dict[str, Any]]:
        xy, scores = map_keypoints(poses.xy_image, poses.scores, self._keypoints, self._written)
        boxes = boxes_xywh(poses.people.boxes_xyxy_px)
        columns: dict[str, list[Any]] = {
            "keypoints": self._triples(xy, scores),
            "num_keypoints": [int(self._present.sum())] * len(poses),
            "keypoint_scores": rounded(scores, SCORE_DECIMALS).tolist(),
            "bbox": boxes.tolist(),
            "area": rounded(boxes[:, 2] * boxes[:, 3]).tolist(),
            "score": rounded(poses.person_scores, SCORE_DECIMALS).tolist(),
            "iscrowd": [0] * len(poses),
            "track_id": poses.people.track_ids.tolist(),
            "box_observed": poses.people.observed.tolist(),
        }
        if poses.xy_raw_image is not None:
            raw, _ = map_keypoints(poses.xy_raw_image, poses.scores, self._keypoints, self._written)
            columns["keypoints_raw"] = self._triples(raw, scores)
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _triples(self, xy: Float, scores: Float) -> list[list[float]]:
        return flat_triples(xy, np.where(self._present, np.where(scores >= VISIBLE_SCORE, 2, 1), 0))

    def _finish(self) -> None:
        meta = self._meta
        video: dict[str, Any] = {
            "name": meta.name,
            "source": meta.source,
            "width": meta.width,
            "height": meta.height,
            "fps": meta.fps,
        }
        if meta.pixel_aspect != (1, 1):
            video["pixel_aspect"] = list(meta.pixel_aspect)
        self._file.commit(
            {
                "info": self._info | {"video": video},
                "licenses": [],
                "categories": [person_category(self._written)],
            }
        )

    def _discard(self) -> None:
        self._file.discard()


def image_file_name(meta: VideoMeta, index: int) -> str:
    """The frame's image: its real name for a folder of images, else `<video>/frame_000012.jpg`.

    CVAT matches frames of a video task by the name `frame_<number>`.
    """
    return meta.image_names[index] if meta.image_names else f"{meta.name}/frame_{index:06d}.jpg"
