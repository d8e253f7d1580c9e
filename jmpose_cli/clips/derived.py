"""What derives from the poses of a clip, frame by frame: pose files of other formats, and the overlay's pictures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jmpose.keypoints import KeypointSet
from jmpose_cli.clips.layout import pose_files
from jmpose_cli.config import OutputConfig
from jmpose_cli.formats.base import PoseWriter, VideoMeta
from jmpose_cli.formats.keypoint_mapping import map_poses
from jmpose_cli.formats.writers import open_writer
from jmpose_cli.values import Bytes, FramePoses
from jmpose_cli.video.drawing import DrawStyle, draw_people
from jmpose_cli.video.heads import head_ellipses


def derived_writers(
    folder: Path,
    meta: VideoMeta,
    keypoints: KeypointSet,
    output: OutputConfig,
    *,
    info: dict[str, Any],
    smoothed: bool,
) -> Iterator[PoseWriter]:
    """Yield the writers of all pose files but the truth; each is to be entered.

    Args:
        folder: Of the clip.
        meta: The video.
        keypoints: Keypoint set of the poses that will come.
        output: Which files, and their keypoint set.
        info: As in the truth.
        smoothed: The poses will carry `xy_raw_image`.
    """
    for name, form in pose_files(output).items():
        yield open_writer(
            form, folder, meta, keypoints, info=info, smoothed=smoothed, written=output.keypoint_set, file_name=name
        )


def style_of(output: OutputConfig) -> DrawStyle:
    """Return how people are drawn by the settings."""
    return DrawStyle(
        min_score=output.min_score,
        background="black" if output.black_background else "frame",
        blur_faces=output.blur_faces,
        labels=output.labels,
        line_width=output.line_width,
        faint_unsure=output.faint_unsure,
        frame_time=output.frame_time,
        openpose_colours=output.openpose_colours,
    )


class FrameDrawing:
    """Draws the people of one frame after the other; a function of a picture `[H, W, 3]` and its poses.

    Args:
        keypoints: Keypoint set of the poses.
        output: The settings, with the set that is shown.
        pixel_width: Width of a pixel in heights of a pixel.
    """

    def __init__(self, keypoints: KeypointSet, output: OutputConfig, *, pixel_width: float) -> None:
        self._keypoints, self._shown = keypoints, output.keypoint_set or keypoints
        self._style, self._pixel_width = style_of(output), pixel_width

    def __call__(self, frame_rgb: Bytes, poses: FramePoses) -> Bytes:
        """Draw the people of a frame `[H, W, 3]` uint8 RGB onto a copy of it."""
        heads = head_ellipses(poses, self._keypoints, self._style.min_score, pixel_width=self._pixel_width)
        people = map_poses(poses, self._keypoints, self._shown)
        return draw_people(frame_rgb, people, self._shown, self._style, heads=heads, pixel_width=self._pixel_width)
