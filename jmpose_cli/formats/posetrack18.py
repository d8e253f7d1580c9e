"""PoseTrack18 files, written from and read into poses.

What the official evaluation (poseval) asks for, and what is done here:

- Every frame is listed, in order, also without people; `categories` has exactly one entry, with the 17 names.
- A joint is absent when x = y = v = 0. The ears always are, as in PoseTrack; every other joint is written
  however low its score, since AP wants everything (for a good MOTA, drop low scores before evaluating).
- No two joint scores in a file are equal, because poseval leaves the order of ties to chance. Each score is
  cut to six decimals, and nine more count down through the file: 15 decimals, which a double keeps. Equal
  scores so rank in file order, and memory does not grow with the video.
- `track_id` is below 10000. In a video with more tracks, a new one gets the number of the one that was seen
  longest ago, and a note says so.
- Coordinates and scores are floats: the PoseTrack21 kit truncates the scores of a frame whose numbers are
  integers.

`bbox` is the tracked box of the person (not PoseTrack's extent of the joints times 1.3), so that the file can
serve as a file of boxes.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jmpose.keypoints import POSETRACK18, KeypointSet
from jmpose_cli.errors import JmposeError
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
from jmpose_cli.formats.keypoint_mapping import absent_joints, map_keypoints, present_joints
from jmpose_cli.formats.names import image_id_scheme
from jmpose_cli.values import Float, FramePoses

MAX_TRACKS = 10_000
_USED = np.array([joint not in {"left_ear", "right_ear"} for joint in POSETRACK18.joints])
# Digits of a score, then digits that make it unique: 15 in all survive text and double (DBL_DIG).
_SCORE_STEPS = 10**6
_TIE_STEPS = 10**9


class PoseTrack18Writer(PoseWriter):
    """Writes PoseTrack18 predictions; see `PoseWriter` for how it is used.

    Joints are matched by name; head joints that the model lacks are synthesised (`map_keypoints`).

    Args:
        path: The file to write; its folder must exist.
        meta: The video. A name like `000342_mpii_test` gives the official image ids.
        keypoints: Keypoint set of the poses that will come.

    Raises:
        JmposeError: The file cannot be created.
    """

    def __init__(self, path: Path, meta: VideoMeta, keypoints: KeypointSet) -> None:
        super().__init__(path, meta, keypoints)
        self._sequence, self._first_image_id = image_id_scheme(meta.name)
        self._present = (present_joints(keypoints, POSETRACK18) & _USED).astype(np.int64)
        self._numbers = TrackNumbers(MAX_TRACKS)
        self._scores = UniqueScores()
        self._frames = 0
        self._file = DatasetFile(path)

    def _write(self, poses: FramePoses) -> None:
        index = poses.people.index
        image_id = self._meta.image_ids[index] if self._meta.image_ids else self._first_image_id + index
        self._frames += 1
        self._file.add_image(
            {
                "id": image_id,
                "frame_id": image_id,
                "vid_id": f"{self._sequence:06d}",
                "file_name": f"images/{self._meta.name}/{self._image_name(index)}",
                "width": self._meta.width,
                "height": self._meta.height,
                "frame_index": index,
                "time_s": round(poses.people.time_s, TIME_DECIMALS),
                "is_labeled": True,
                "has_no_densepose": True,
                "ignore_regions_x": [],
                "ignore_regions_y": [],
            }
        )
        for record in self._annotations(poses):
            # Official ids keep two digits for the person, which a crowd overflows.
            annotation_id = image_id * MAX_TRACKS + record["track_id"]
            self._file.add_annotation({"id": annotation_id, "image_id": image_id, "category_id": 1} | record)

    def _image_name(self, index: int) -> str:
        names = self._meta.image_names
        return Path(names[index]).name if names else f"{index:06d}.jpg"

    def _annotations(self, poses: FramePoses) -> list[dict[str, Any]]:
        xy, scores = map_keypoints(poses.xy_image, poses.scores, self._keypoints, POSETRACK18)
        present = np.where(absent_joints(xy, scores), 0, self._present)
        columns: dict[str, list[Any]] = {
            "track_id": self._numbers.of_frame(poses.people.track_ids),
            "keypoints": flat_triples(xy, present),
            "scores": self._scores.of_frame(np.where(present, scores, 0)).tolist(),
            "score": rounded(poses.person_scores, SCORE_DECIMALS).tolist(),
            "bbox": boxes_xywh(poses.people.boxes_xyxy_px).tolist(),
            "bbox_head": boxes_xywh(head_boxes(xy)).tolist(),
        }
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _finish(self) -> None:
        numbers = self._numbers
        if numbers.renumbered:
            self.notes.append(
                f"{self.path.name}: PoseTrack18 has track numbers below {MAX_TRACKS} only; "
                f"tracks with another number than in the other files: {numbers.renumbered}, "
                f"of these with that of an earlier track: {numbers.reused}"
            )
        self._file.commit({"categories": [person_category(POSETRACK18)]}, image_extra={"nframes": self._frames})

    def _discard(self) -> None:
        self._file.discard()


class UniqueScores:
    """Makes all scores of a file different without remembering them."""

    def __init__(self) -> None:
        self._given = 0

    def of_frame(self, scores: Float) -> NDArray[np.float64]:
        """Cut `[N, K]` scores to six decimals in 0..0.999999 and append nine that count down."""
        if self._given + scores.size > _TIE_STEPS:
            hint = "split the video with --frames A:B, or leave posetrack18 out of --format"
            raise JmposeError(f"more than {_TIE_STEPS} joints in one PoseTrack18 file", hint=hint)
        steps = np.floor(scores.astype(np.float64) * _SCORE_STEPS).clip(0, _SCORE_STEPS - 1).astype(np.int64)
        order = self._given + np.arange(scores.size, dtype=np.int64).reshape(scores.shape)
        self._given += scores.size
        return np.asarray((steps * _TIE_STEPS + (_TIE_STEPS - 1 - order)) / (_SCORE_STEPS * _TIE_STEPS))


class TrackNumbers:
    """Numbers below a limit for any track ids, in bounded memory.

    A track keeps its own id where that is below the limit and free; otherwise it gets the smallest number
    that no track has had, and when all have been used, the number of the track that was seen longest ago.

    Attributes:
        renumbered: How many tracks have another number than their id.
        reused: How many of these have the number of an earlier track.
    """

    def __init__(self, limit: int) -> None:
        self.renumbered = 0
        self.reused = 0
        self._limit = limit
        self._number_of: OrderedDict[int, int] = OrderedDict()  # least recently seen first
        self._free = set(range(limit))

    def of_frame(self, track_ids: NDArray[np.int64]) -> list[int]:
        """Numbers of the people of one frame; ids must differ within the frame.

        Raises:
            JmposeError: More people in the frame than there are numbers.
        """
        ids = track_ids.tolist()
        if len(ids) > self._limit:
            raise JmposeError(f"{len(ids)} people in one frame; PoseTrack18 holds {self._limit}")
        # Those already known first, so that a newcomer never takes the number of someone in this frame.
        for track_id in ids:
            if track_id in self._number_of:
                self._number_of.move_to_end(track_id)
        for track_id in ids:
            if track_id not in self._number_of:
                self._number_of[track_id] = self._new_number(track_id)
        return [self._number_of[track_id] for track_id in ids]

    def _new_number(self, track_id: int) -> int:
        if track_id in self._free:
            number = track_id
        elif self._free:
            number = min(self._free)
        else:
            _, number = self._number_of.popitem(last=False)
            self.reused += 1
        self._free.discard(number)
        self.renumbered += number != track_id
        return number


def head_boxes(xy: Float) -> NDArray[np.float64]:
    """Boxes around heads, from `head_bottom` and `head_top`.

    The bounds of an ellipse whose long axis joins the two and whose short axis is three quarters of it.

    Args:
        xy: `[N, 17, 2]` joints in PoseTrack18's order.

    Returns:
        `[N, 4]` corners, image pixels.
    """
    bottom, top = (xy[:, POSETRACK18.joints.index(j)].astype(np.float64) for j in ("head_bottom", "head_top"))
    along = (top - bottom) / 2
    across = 0.75 * along[:, ::-1]
    reach = np.sqrt(along**2 + across**2)
    centre = (top + bottom) / 2
    return np.concatenate([centre - reach, centre + reach], axis=1)
