"""Pictures of single evaluated frames: ground truth, predictions, and which joints are wrong."""

import base64
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from jmpose.keypoints import POSETRACK18
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.records import Doubles, PoseRecords
from jmpose_cli.metrics.joints import JOINTS
from jmpose_cli.metrics.pose_ap import assign_poses
from jmpose_cli.metrics.posetrack import Evaluation
from jmpose_cli.metrics.rules import AP_RULES
from jmpose_cli.metrics.video import MATCH_DISTANCE, VideoPair, pair_people, pair_video
from jmpose_cli.safe_paths import OutsideError, path_inside
from jmpose_cli.values import Bools, Bytes
from jmpose_cli.video.image_folder import read_image

_APART = 5  # evaluated frames between two pictures of one video: neighbours look alike
_MAX_WIDTH, _MAX_HEIGHT, _JPEG_QUALITY = 960, 720, 82
_MARGIN = 0.12  # of the extent of the people, on each side
_LIMBS = [(JOINTS.index(a), JOINTS.index(b)) for a, b in POSETRACK18.skeleton]
# Okabe and Ito's colours, which the colour-blind tell apart; RGB.
TRUTH, RIGHT, WRONG, MISSED = (0, 158, 115), (86, 180, 233), (213, 94, 0), (240, 228, 66)


@dataclass(frozen=True)
class FramePicture:
    """One drawn frame.

    Attributes:
        jpeg: Base64.
        caption: Video, frame and what is wrong.
    """

    jpeg: str
    caption: str


@dataclass(frozen=True)
class _View:
    """The part of a frame that is shown and how large."""

    low: Doubles
    scale: float
    size: tuple[int, int]

    def points(self, xy: Doubles) -> Doubles:
        return (xy - self.low) * self.scale


def worst_frames(
    evaluation: Evaluation,
    truth: dict[str, PoseRecords],
    predicted: dict[str, PoseRecords],
    *,
    images: Path | None,
    number: int,
) -> tuple[list[FramePicture], list[str]]:
    """Draw the frames with the most wrong joints (missed, or predicted where there are none).

    Args:
        evaluation: Tells the frames.
        truth: Ground truth by video.
        predicted: Predictions by video.
        images: Folder of the pictures; None draws on grey.
        number: Most frames to draw, spread over the videos.

    Returns:
        The pictures, the worst first, and sentences about pictures that were not found.
    """
    pictures, missing = [], []
    for wrong, name, frame in _ranked(evaluation, number):
        video = pair_video(name, truth[name], predicted[name], AP_RULES[evaluation.protocol])
        image = truth[name].images[video.image_rows[frame]]
        background = None
        if images is not None:
            background = _background(images, image.file_name, name)
            if background is None:
                missing.append(image.file_name)
        caption = f"{name}, {PurePath(image.file_name).name or image.id}: {-wrong} wrong joints"
        pictures.append(FramePicture(_draw(video, frame, background), caption))
    notes = []
    if missing:
        notes.append(f"{len(missing)} pictures were not found or not readable below {images}, such as {missing[0]}")
    elif images is None and pictures:
        notes.append("frames are drawn without pictures; --images FOLDER names them")
    return pictures, notes


def _ranked(evaluation: Evaluation, number: int) -> list[tuple[int, str, int]]:
    """Choose frames: minus the number of wrong joints, video, evaluated frame."""
    of_one_video = max(2, number // len(evaluation.videos))
    chosen = []
    for video in evaluation.videos:
        taken: list[int] = []
        for frame in np.argsort(-video.wrong, kind="stable").tolist():
            if video.wrong[frame] == 0 or len(taken) == of_one_video:
                break
            if all(abs(frame - other) >= _APART for other in taken):
                taken.append(frame)
        chosen += [(-int(video.wrong[frame]), video.name, frame) for frame in taken]
    return sorted(chosen)[:number]


def _background(images: Path, file_name: str, video: str) -> Bytes | None:
    """Read the picture from the likeliest place; None when there is none."""
    parts = PurePath(file_name).parts
    candidates = [PurePath(*parts[-count:]) for count in range(len(parts), 0, -1)]
    for candidate in [*candidates, PurePath(video, PurePath(file_name).name)]:
        with suppress(OutsideError):
            path = path_inside(images, candidate)
            if path.is_file():
                try:
                    return read_image(path)
                except JmposeError:
                    return None
    return None


def _draw(video: VideoPair, frame: int, background: Bytes | None) -> str:
    """Draw one frame; return a base64 JPEG."""
    import cv2

    truth, predicted = video.truth, video.predicted
    mine = slice(truth.starts[frame], truth.starts[frame + 1])
    theirs = slice(predicted.starts[frame], predicted.starts[frame + 1])
    hit_truth, hit_predicted = _hits(video)
    points = np.concatenate([truth.xy[mine][truth.present[mine]], predicted.xy[theirs][predicted.present[theirs]]])
    view = _view(points, background)
    canvas = _canvas(view, background)
    thickness = max(1, round(view.size[0] / 480))
    for row in range(mine.start, mine.stop):
        _limbs(canvas, view.points(truth.xy[row]), truth.present[row], np.ones(len(JOINTS), bool), TRUTH, thickness)
        for joint in np.flatnonzero(truth.present[row] & ~hit_truth[row]).tolist():
            _ring(canvas, view.points(truth.xy[row, joint]), max(4.0, truth.head_size[row] * view.scale / 2))
    for row in range(theirs.start, theirs.stop):
        xy = view.points(predicted.xy[row])
        _limbs(canvas, xy, predicted.present[row], hit_predicted[row], RIGHT, thickness)
        for joint in np.flatnonzero(predicted.present[row]).tolist():
            colour = RIGHT if hit_predicted[row, joint] else WRONG
            _dot(canvas, xy[joint], 2 + 2 * thickness, colour)
    _, jpeg = cv2.imencode(".jpg", canvas[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return base64.b64encode(jpeg.tobytes()).decode()


def _hits(video: VideoPair) -> tuple[Bools, Bools]:
    """Which annotated and which predicted joints are right, as AP counts them."""
    truth, predicted = video.truth, video.predicted
    pairs = pair_people(truth, predicted)
    used = assign_poses(pairs, truth.present.sum(1), len(predicted))
    used = used[used >= 0]
    hits = tuple(np.zeros(people.present.shape, bool) for people in (truth, predicted))
    for hit, rows in zip(hits, (pairs.truth_row, pairs.predicted_row), strict=True):
        hit[rows[used]] = pairs.distance[used] <= MATCH_DISTANCE
    return hits[0], hits[1]


def _view(points: Doubles, background: Bytes | None) -> _View:
    """Show the people and a margin, inside the picture."""
    low, high = points.min(0), points.max(0)
    margin = _MARGIN * max(*(high - low), 50.0)
    low, high = low - margin, high + margin
    if background is not None:
        limits = np.array([background.shape[1], background.shape[0]], float)
        low, high = np.clip(low, 0, limits - 1), np.clip(high, 1, limits)
        if (high - low).min() < 2:  # all of them outside
            low, high = np.zeros(2), limits
    width, height = high - low
    scale = min(_MAX_WIDTH / width, _MAX_HEIGHT / height)
    return _View(low, float(scale), (max(1, round(width * scale)), max(1, round(height * scale))))


def _canvas(view: _View, background: Bytes | None) -> Bytes:
    import cv2

    width, height = view.size
    if background is None:
        return np.full((height, width, 3), 58, np.uint8)
    matrix = np.array([[view.scale, 0, -view.low[0] * view.scale], [0, view.scale, -view.low[1] * view.scale]])
    shown = cv2.warpAffine(
        background, matrix, (width, height), flags=cv2.INTER_AREA if view.scale < 1 else cv2.INTER_LINEAR
    )
    # Paler, so that the lines stand out.
    return np.asarray(shown * 0.75, np.uint8)


def _limbs(
    canvas: Bytes, xy: Doubles, there: Bools, right: Bools, colour: tuple[int, int, int], thickness: int
) -> None:
    """Draw the limbs whose ends are there, in `colour` when both are right."""
    import cv2

    for a, b in _LIMBS:
        if there[a] and there[b]:
            shade = colour if right[a] and right[b] else WRONG
            cv2.line(canvas, _pixel(xy[a]), _pixel(xy[b]), shade, thickness, cv2.LINE_AA)


def _dot(canvas: Bytes, at: Doubles, radius: int, colour: tuple[int, int, int]) -> None:
    import cv2

    cv2.circle(canvas, _pixel(at), radius + 1, (0, 0, 0), -1, cv2.LINE_AA)
    cv2.circle(canvas, _pixel(at), radius, colour, -1, cv2.LINE_AA)


def _ring(canvas: Bytes, at: Doubles, radius: float) -> None:
    """Mark a missed joint by the circle in which a prediction would have been right."""
    import cv2

    cv2.circle(canvas, _pixel(at), round(radius), MISSED, 1, cv2.LINE_AA)


def _pixel(point: Doubles) -> tuple[int, int]:
    x, y = np.clip(point, -1e5, 1e5).round().astype(int).tolist()
    return x, y
