"""COCO keypoint data sets: the truth of a clip, and what other tools read of it.

The file is a COCO *data set*, not a bare results list: it opens in pycocotools, faster-coco-eval, CVAT and so on. Its
`annotations` are at the same time a valid results list for `COCO.loadRes`.

Of every image: COCO's fields, `frame_index`, `time_s`, and `reviewed`: a person has looked at all of it.

Of every annotation, beside COCO's own fields:

| field | meaning |
|---|---|
| `keypoints`, `keypoint_scores` | COCO's 17 joints when the model has them all, else its own |
| `extra_keypoints`, `extra_keypoint_scores` | what the model knows beyond the 17; named in the category, likewise |
| `score`, `box_score`, `box_observed` | of the person; of the box; false where the box was interpolated |
| `track_id`, `identity` | the tracker's id; who it is after tracks were joined |
| `source` | `model`, `corrected`, `propagated` or `interpolated` |
| `keypoint_sources` | the same of each joint, extra ones last, where they differ |
| `keypoint_probabilities` | calibrated, that the joint lies within 0.1 of the body size; extra ones last |
| `covariance` | of each joint xx, xy, yy in square pixels; extra ones last |
| `keypoints_raw`, `extra_keypoints_raw` | before smoothing, where the poses were smoothed |
| `segmentation`, `attributes` | what CVAT and FiftyOne want: empty; `track_id`, `keyframe` and `occluded` |

Visibility: v = 2 where the joint score reaches `VISIBLE_SCORE`, else 1 (COCO's "labelled but not visible"), unless a
person has said otherwise; 0 where the joint is not there. So every joint that the model gives keeps its coordinates and
counts in `num_keypoints`, and a viewer can still tell the doubtful ones. `area` is the area of the box, as there is no
outline of the person.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from jmpose_cli.formats.keypoint_mapping import absent_joints, extra_joints, map_keypoints, present_joints, truth_set
from jmpose_cli.formats.numbers import LARGEST_BOX_PX
from jmpose_cli.values import Bools, FramePoses, Ids

VISIBLE_SCORE = 0.3
"""Joint score from which v = 2; raising it marks more joints as doubtful, v = 1."""
SOURCES = ("model", "corrected", "propagated", "interpolated")
"""Where a joint may come from, by the numbers in `Marks.sources`."""
COVARIANCE_DECIMALS = 3


@dataclass(frozen=True)
class Marks:
    """What people have said of one frame, row by row as its poses.

    Attributes:
        reviewed: All of the frame has been looked at.
        identity: `[N]` int64, who it is.
        sources: `[N, K]` uint8 places in `SOURCES`.
        visibility: `[N, K]` uint8: 0 not there, 1 hidden, 2 visible.
        occluded: `[N]` bool, CVAT's mark of the whole person.
    """

    reviewed: bool
    identity: Ids
    sources: NDArray[np.uint8]
    visibility: NDArray[np.uint8]
    occluded: Bools


class CocoWriter(PoseWriter):
    """Writes a COCO keypoint data set; see `PoseWriter` for how it is used.

    Args:
        path: The file to write; its folder must exist.
        meta: The video.
        keypoints: Keypoint set of the poses that will come.
        written: Keypoint set of the file, all of it in `keypoints`; joints that the poses do not give are absent
            (0, 0, 0), and there are no covariances and probabilities. None takes all joints of the poses, those beyond
            COCO's 17 as extra ones.
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
        self._written = written or truth_set(keypoints)
        self._places = None if written else [keypoints.joints.index(joint) for joint in self._written.joints]
        self._present = present_joints(keypoints, self._written)
        self._extra = 0 if written else len(extra_joints(self._written.joints))
        self._base = len(self._written) - self._extra
        self._info = info
        self._annotation_id = 0
        self._file = DatasetFile(path)

    def write_marked(self, poses: FramePoses, marks: Marks) -> None:
        """Append one frame that people may have corrected; see `write`.

        The joints must be those of the file, in its order.
        """
        self._check(poses)
        self._add(poses, marks)

    def _write(self, poses: FramePoses) -> None:
        self._add(poses, None)

    def _add(self, poses: FramePoses, marks: Marks | None) -> None:
        image_id = poses.people.index + 1
        self._file.add_image(
            {
                "id": image_id,
                "file_name": image_file_name(self._meta, poses.people.index),
                "width": self._meta.width,
                "height": self._meta.height,
                "frame_index": poses.people.index,
                "time_s": round(poses.people.time_s, TIME_DECIMALS),
                "reviewed": marks is not None and marks.reviewed,
            }
        )
        for record in self._annotations(poses, marks):
            self._annotation_id += 1
            keys = {"id": self._annotation_id, "image_id": image_id, "category_id": 1}
            self._file.add_annotation(keys | record)

    def _annotations(self, poses: FramePoses, marks: Marks | None) -> list[dict[str, Any]]:
        people, count = poses.people, len(poses)
        xy, scores = map_keypoints(poses.xy_image, poses.scores, self._keypoints, self._written)
        if marks is None:
            seen = np.where(absent_joints(xy, scores), 0, np.where(scores >= VISIBLE_SCORE, 2, 1))
            visibility = np.where(self._present, seen, 0)
            identity, occluded = people.track_ids, np.zeros(count, bool)
        else:
            visibility, identity, occluded = marks.visibility.astype(np.int64), marks.identity, marks.occluded
        boxes = boxes_xywh(people.boxes_xyxy_px)
        box_scores = [None if np.isnan(score) else score for score in rounded(people.scores, SCORE_DECIMALS).tolist()]
        columns: dict[str, list[Any]] = {
            **self._split("keypoints", flat_triples(xy, visibility), 3),
            "num_keypoints": (visibility[:, : self._base] > 0).sum(1).tolist(),
            **self._split("keypoint_scores", rounded(scores, SCORE_DECIMALS).tolist(), 1),
            "bbox": boxes.tolist(),
            "area": rounded(boxes[:, 2] * boxes[:, 3]).tolist(),
            "segmentation": [[]] * count,
            "iscrowd": [0] * count,
            "score": rounded(poses.person_scores, SCORE_DECIMALS).tolist(),
            "box_score": box_scores,
            "box_observed": people.observed.tolist(),
            "track_id": people.track_ids.tolist(),
            "identity": identity.tolist(),
            "attributes": [
                {"track_id": track, "keyframe": True, "occluded": hidden}
                for track, hidden in zip(people.track_ids.tolist(), occluded.tolist(), strict=True)
            ],
            **_sources(count, marks),
        }
        if self._places is not None and poses.probabilities is not None:
            columns["keypoint_probabilities"] = rounded(poses.probabilities[:, self._places], SCORE_DECIMALS).tolist()
        if self._places is not None and poses.covariances is not None:
            spread = poses.covariances[:, self._places].clip(-LARGEST_BOX_PX, LARGEST_BOX_PX)
            columns["covariance"] = rounded(spread, COVARIANCE_DECIMALS).reshape(count, 3 * len(self._written)).tolist()
        if poses.xy_raw_image is not None:
            raw, _ = map_keypoints(poses.xy_raw_image, poses.scores, self._keypoints, self._written)
            columns |= self._split("keypoints_raw", flat_triples(raw, visibility), 3)
        records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return [{name: value for name, value in record.items() if value is not None} for record in records]

    def _split(self, name: str, rows: list[list[float]], values: int) -> dict[str, list[list[float]]]:
        """Return the columns of the first joints and of the extra ones, `values` numbers a joint."""
        if not self._extra:
            return {name: rows}
        end = values * self._base
        return {name: [row[:end] for row in rows], f"extra_{name}": [row[end:] for row in rows]}

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
                "categories": [person_category(self._written, extra=self._extra)],
            }
        )

    def _discard(self) -> None:
        self._file.discard()


def _sources(count: int, marks: Marks | None) -> dict[str, list[Any]]:
    """Return the columns that say where people and their joints come from."""
    if marks is None:
        return {"source": [SOURCES[0]] * count}
    whole, each = [], []
    for row in marks.sources.tolist():
        common = max(set(row), key=lambda number: (row.count(number), number)) if row else 0
        whole.append(SOURCES[common])
        each.append(None if len(set(row)) <= 1 else [SOURCES[number] for number in row])
    return {"source": whole, "keypoint_sources": each}


def image_file_name(meta: VideoMeta, index: int) -> str:
    """The frame's image: its real name for a folder of images, else `<video>/frame_000012.jpg`.

    CVAT matches frames of a video task by the name `frame_<number>`.
    """
    return meta.image_names[index] if meta.image_names else f"{meta.name}/frame_{index:06d}.jpg"
