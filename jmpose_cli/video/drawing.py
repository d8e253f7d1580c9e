"""Skeletons, ids and hidden faces, drawn onto frames.

Every person has a colour of its own, from the track id. Left limbs are its light shade and right limbs its
dark one; left joints are blue dots, right joints orange ones.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import repeat
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from jmpose.keypoints import KeypointSet
from jmpose_cli.choices import Labels
from jmpose_cli.values import Bytes, FramePoses
from jmpose_cli.video.heads import Doubles, HeadEllipses, head_ellipses, hide_heads

Colour = tuple[int, int, int]
UNSURE_SCORE, UNSURE_PROBABILITY = 0.3, 0.5
_FAINT = 0.35  # how much of a faint stroke covers what lies under it
_DARK: Colour = (16, 16, 20)
_PLATE: Colour = (225, 225, 225)
_LEFT_DOT: Colour = (70, 190, 255)
_RIGHT_DOT: Colour = (255, 120, 40)
_CENTRE_DOT: Colour = (250, 250, 250)
_FACE_JOINTS = frozenset({"left_eye", "right_eye", "left_ear", "right_ear"})
_NECK = frozenset({"head_bottom", "neck"})
# OpenPose's COCO model: joints, limbs and the colours of both, as in its source; image generators have learnt from such
# pictures.
_OPENPOSE_JOINTS = (
    *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("right_eye", "left_eye", "right_ear", "left_ear"),
)
_OPENPOSE_LIMBS = (
    *(("neck", "right_shoulder"), ("neck", "left_shoulder"), ("right_shoulder", "right_elbow")),
    *(("right_elbow", "right_wrist"), ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist")),
    *(("neck", "right_hip"), ("right_hip", "right_knee"), ("right_knee", "right_ankle")),
    *(("neck", "left_hip"), ("left_hip", "left_knee"), ("left_knee", "left_ankle")),
    *(
        ("neck", "nose"),
        ("nose", "right_eye"),
        ("right_eye", "right_ear"),
        ("nose", "left_eye"),
        ("left_eye", "left_ear"),
    ),
)
_OPENPOSE_COLOURS: tuple[Colour, ...] = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85)),
    *((0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255)),
    *((255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
# The end of the line from the nose in sets without a neck.
_MIDDLE_OF_SHOULDERS = "middle of the shoulders"
_FONT = cv2.FONT_HERSHEY_SIMPLEX
# Height of a digit at font scale 1.
_FONT_CAP_PX = 22
# Coordinates go to OpenCV in sixteenths of a pixel.
_SHIFT = 4


@dataclass(frozen=True)
class DrawStyle:
    """How people are drawn.

    Attributes:
        min_score: Joints below this score, and limbs that end in one, are not drawn; raising it draws less.
        background: The video's frames, or black.
        blur_faces: Make heads unrecognisable before anything is drawn on the frame.
        labels: What stands beside each head: the id, the person's score, both, or nothing.
        line_width: Factor of all widths, which else grow with the person.
        faint_unsure: Draw joints faintly that are as likely off as on, by their probability where the poses have one,
            else by a score below `UNSURE_SCORE`; and limbs that end in one.
        frame_time: Write the frame's number and time into a corner.
        openpose_colours: The colours and limbs of OpenPose's COCO model, which image generators have learnt.
    """

    min_score: float = 0.2
    background: Literal["frame", "black"] = "frame"
    blur_faces: bool = False
    labels: Labels = "id"
    line_width: float = 1.0
    faint_unsure: bool = True
    frame_time: bool = False
    openpose_colours: bool = False


def draw_people(
    frame_rgb: Bytes,
    poses: FramePoses,
    keypoints: KeypointSet,
    style: DrawStyle,
    *,
    heads: HeadEllipses | None = None,
    pixel_width: float = 1.0,
) -> Bytes:
    """Draw the people of one frame.

    Args:
        frame_rgb: `[H, W, 3]` uint8; left as it is.
        poses: The people.
        keypoints: Keypoint set of `poses`.
        style: What to draw.
        heads: The people's heads, where something knows more of them than these joints; None finds them.
        pixel_width: Width of a pixel in heights of a pixel. What is drawn has its right shape when the picture is shown
            with square pixels.

    Returns:
        A new `[H, W, 3]` uint8 RGB frame.
    """
    canvas = np.zeros_like(frame_rgb) if style.background == "black" else frame_rgb.copy()
    if style.frame_time:
        _write_time(_Paper(canvas, pixel_width), poses)
    if not len(poses):
        return canvas
    heads = heads or head_ellipses(poses, keypoints, style.min_score, pixel_width=pixel_width)
    if style.blur_faces and style.background == "frame":
        hide_heads(canvas, heads, pixel_width=pixel_width)
    paper, poses = _Paper(canvas, pixel_width), poses.in_square_pixels(pixel_width)
    boxes = poses.people.boxes_xyxy_px.astype(np.float64)
    sizes = np.sqrt((boxes[:, 2:] - boxes[:, :2]).clip(1).prod(axis=1))
    # Whoever stands lower in the picture is usually nearer, so drawn later.
    order = np.argsort(boxes[:, 3], kind="stable").tolist()
    _draw_skeletons(paper, poses, _plan(keypoints, style.openpose_colours), style, sizes, order)
    if style.labels == "none":
        return canvas
    head_boxes = heads.boxes_xyxy_px(scale=0.8)
    head_boxes[:, 1] = np.maximum(head_boxes[:, 1], boxes[:, 1])
    named = [row for row in order if (poses.scores[row] >= style.min_score).any()]
    _draw_labels(paper, poses, _texts(poses, style.labels), head_boxes, sizes, named)
    return canvas


def _texts(poses: FramePoses, labels: Labels) -> list[str]:
    ids = [str(track_id) for track_id in poses.people.track_ids.tolist()]
    scores = [f"{score:.2f}".removeprefix("0") for score in poses.person_scores.tolist()]
    if labels == "both":
        return [f"{one}: {score}" for one, score in zip(ids, scores, strict=True)]
    return scores if labels == "score" else ids


def _write_time(paper: "_Paper", poses: FramePoses) -> None:
    """Write number and time of the frame into the lower left corner, on a dark plate."""
    minutes, seconds = divmod(poses.time_s, 60)
    text = f"{poses.index}  {int(minutes)}:{seconds:06.3f}"
    scale = max(9.0, 0.022 * min(paper.height, paper.width)) / _FONT_CAP_PX
    stroke = max(1, round(1.5 * scale))
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, stroke)
    left, low = np.array([4.0 + height, paper.height - 4.0 - height]), np.array([4.0 + height + width, 0])
    ends = np.array([left]), np.array([[low[0], left[1]]])
    paper.fill(paper.capsules(*ends, np.array([float(height)]))[0], _PLATE)
    paper.write(text, [round(left[0]), round(left[1] + height / 2)], scale=scale, stroke=stroke)


@dataclass(frozen=True)
class _Paper:
    """What is drawn on, as it is shown: in square pixels, whatever those of the canvas are.

    Attributes:
        canvas: `[H, W, 3]` uint8.
        pixel_width: Width of a pixel of the canvas in heights of one.
    """

    canvas: Bytes
    pixel_width: float

    @property
    def width(self) -> float:
        """Width in heights of a pixel."""
        return float(self.canvas.shape[1] * self.pixel_width)

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.canvas.shape[0])

    def capsules(self, start: Doubles, end: Doubles, radius: Doubles) -> NDArray[np.int32]:
        """Outlines of thick lines with round ends for `fill`, `[..., V, 2]`; see `_capsules`."""
        outline = _capsules(start, end, radius) / (self.pixel_width, 1)
        # Far outside the picture nothing is seen, but the numbers would overflow.
        return np.asarray(np.rint(outline.clip(-30_000, 30_000) * (1 << _SHIFT)), np.int32)

    def fill(self, outline: NDArray[np.int32], colour: Colour, *, cover: float = 1.0) -> None:
        """Fill a convex outline `[V, 2]` in sixteenths of a pixel of the canvas; `cover` below 1 is translucent."""
        if cover >= 1:
            cv2.fillConvexPoly(self.canvas, outline, colour, cv2.LINE_AA, _SHIFT)
            return
        low = np.maximum((outline.min(0) >> _SHIFT) - 1, 0)
        high = np.minimum((outline.max(0) >> _SHIFT) + 2, (self.canvas.shape[1], self.canvas.shape[0]))
        if (high <= low).any():
            return
        under = self.canvas[low[1] : high[1], low[0] : high[0]]
        filled = under.copy()
        cv2.fillConvexPoly(filled, outline - (low << _SHIFT), colour, cv2.LINE_AA, _SHIFT)
        under[:] = cv2.addWeighted(filled, cover, under, 1 - cover, 0)

    def write(self, text: str, origin: list[int], *, scale: float, stroke: int) -> None:
        """Write a dark text whose lower left corner is `origin` (x, y)."""
        if self.pixel_width == 1:
            cv2.putText(self.canvas, text, origin, _FONT, scale, _DARK, stroke, cv2.LINE_AA)
            return
        (width, height), below = cv2.getTextSize(text, _FONT, scale, stroke)
        edge = below + stroke
        ink = np.zeros((height + 2 * edge, width + 2 * edge), np.uint8)
        cv2.putText(ink, text, (edge, edge + height), _FONT, scale, 255, stroke, cv2.LINE_AA)
        ink = cv2.resize(ink, (max(1, round(ink.shape[1] / self.pixel_width)), len(ink)), interpolation=cv2.INTER_AREA)
        left, top = round((origin[0] - edge) / self.pixel_width), origin[1] - height - edge
        rows, columns = (
            slice(max(0, -at), max(0, min(side, room - at)))
            for at, side, room in ((top, ink.shape[0], self.height), (left, ink.shape[1], self.canvas.shape[1]))
        )
        ink = ink[rows, columns, None] / np.float32(255)
        under = self.canvas[max(0, top) :, max(0, left) :][: ink.shape[0], : ink.shape[1]]
        under[:] = np.rint(under + ink * (np.array(_DARK) - under))


@dataclass(frozen=True)
class TrackColours:
    """The shades of one track, RGB."""

    light: Colour
    middle: Colour
    dark: Colour


@lru_cache(maxsize=4096)
def track_colours(track_id: int) -> TrackColours:
    """Colours of a track: hues a golden angle apart, so that neighbouring ids differ most."""
    hue = np.deg2rad(25.0 + 137.50776 * track_id)
    return TrackColours(
        light=_oklch_to_rgb(0.86, 0.10, hue),
        middle=_oklch_to_rgb(0.74, 0.16, hue),
        dark=_oklch_to_rgb(0.56, 0.17, hue),
    )


def _oklch_to_rgb(lightness: float, chroma: float, hue_rad: float) -> Colour:
    """Oklab polar coordinates to sRGB (Ottosson, "A perceptual color space for image processing")."""
    a, b = chroma * np.cos(hue_rad), chroma * np.sin(hue_rad)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.array(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ]
    ).clip(0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = np.rint(255 * srgb).astype(int).tolist()
    return red, green, blue


@dataclass(frozen=True)
class _Plan:
    """How a keypoint set is drawn. Index K stands for the middle of the shoulders.

    Attributes:
        shoulders: Indices of the two shoulders; empty when the set lacks them.
        pairs: `[L, 2]` joints that each limb connects, in drawing order.
        shades: L names of the limbs' shades in `TrackColours`; empty where limbs have colours of their own.
        limb_colours: L such colours; empty where they are the track's.
        limb_width: `[L]` thickness relative to a person's line width.
        dots: K colours of the joints.
        dot_width: `[K]` diameter relative to a person's line width.
    """

    shoulders: tuple[int, ...]
    pairs: NDArray[np.int64]
    shades: tuple[str, ...]
    limb_colours: tuple[Colour, ...]
    limb_width: Doubles
    dots: tuple[Colour, ...]
    dot_width: Doubles


@cache
def _plan(keypoints: KeypointSet, openpose: bool = False) -> _Plan:
    index = {name: i for i, name in enumerate(keypoints.joints)}
    shoulders = tuple(index[n] for n in ("left_shoulder", "right_shoulder") if n in index)
    index[_MIDDLE_OF_SHOULDERS] = len(keypoints)
    if openpose:
        return _openpose_plan(index, shoulders)
    pairs = list(keypoints.skeleton)
    if len(shoulders) == 2 and "nose" in index and not _NECK & set(index):
        pairs.append(("nose", _MIDDLE_OF_SHOULDERS))
    # Faces lie under arms, and the sides over the trunk.
    pairs.sort(key=lambda pair: (not _is_face(*pair), _side(*pair) != "middle"))
    sides = {"left": _LEFT_DOT, "right": _RIGHT_DOT}
    return _Plan(
        shoulders=shoulders,
        pairs=np.array([(index[a], index[b]) for a, b in pairs], np.int64).reshape(-1, 2),
        shades=tuple("middle" if _is_face(*pair) else _side(*pair) for pair in pairs),
        limb_colours=(),
        limb_width=np.array([0.5 if _is_face(*pair) else 1.0 for pair in pairs]),
        dots=tuple(sides.get(name.partition("_")[0], _CENTRE_DOT) for name in keypoints.joints),
        dot_width=np.array([1.2 if name in _FACE_JOINTS else 1.7 for name in keypoints.joints]),
    )


def _openpose_plan(index: dict[str, int], shoulders: tuple[int, ...]) -> _Plan:
    """The limbs of OpenPose's COCO model in its colours; joints that it does not have are not drawn."""
    neck = next((name for name in _NECK if name in index), _MIDDLE_OF_SHOULDERS)
    names = [tuple(neck if end == "neck" else end for end in pair) for pair in _OPENPOSE_LIMBS]
    has_neck = neck != _MIDDLE_OF_SHOULDERS or len(shoulders) == 2
    kept = [
        number
        for number, pair in enumerate(names)
        if all(end in index and (end != _MIDDLE_OF_SHOULDERS or has_neck) for end in pair)
    ]
    dots = {name: _OPENPOSE_COLOURS[place] for place, name in enumerate(_OPENPOSE_JOINTS)} | {
        neck: _OPENPOSE_COLOURS[1]
    }
    joints = [name for name in index if name != _MIDDLE_OF_SHOULDERS]
    return _Plan(
        shoulders=shoulders,
        pairs=np.array([[index[end] for end in names[number]] for number in kept], np.int64).reshape(-1, 2),
        shades=(),
        limb_colours=tuple(_darker(_OPENPOSE_COLOURS[number]) for number in kept),
        limb_width=np.ones(len(kept)),
        dots=tuple(dots.get(name, _CENTRE_DOT) for name in joints),
        dot_width=np.array([1.7 if name in dots else 0.0 for name in joints]),
    )


def _darker(colour: Colour) -> Colour:
    red, green, blue = (round(0.6 * part) for part in colour)
    return red, green, blue


def _is_face(a: str, b: str) -> bool:
    return a in _FACE_JOINTS or b in _FACE_JOINTS


def _side(a: str, b: str) -> str:
    """Shade of a limb: its side's, or the middle one when it joins both or none."""
    sides = {name.partition("_")[0] for name in (a, b)}
    return "light" if sides == {"left"} else "dark" if sides == {"right"} else "middle"


def _draw_skeletons(
    paper: _Paper, poses: FramePoses, plan: _Plan, style: DrawStyle, sizes: Doubles, order: list[int]
) -> None:
    xy = poses.xy_image.astype(np.float64)
    seen, sure = poses.scores >= style.min_score, _sure(poses, style)
    if len(plan.shoulders) == 2:
        xy = np.concatenate([xy, xy[:, plan.shoulders].mean(axis=1, keepdims=True)], axis=1)
        seen, sure = (
            np.concatenate([each, each[:, plan.shoulders].all(axis=1, keepdims=True)], axis=1) for each in (seen, sure)
        )
    # Suits the person, and is neither invisible nor clumsy in the picture.
    width = np.clip(0.014 * sizes, 0.8, max(0.8, 0.0075 * min(paper.height, paper.width)))[:, None] * style.line_width
    edge = (0.15 * width).clip(0.25, 1.2)
    start, end = xy[:, plan.pairs[:, 0]], xy[:, plan.pairs[:, 1]]
    limb_radius = (plan.limb_width * width / 2).clip(0.4)
    limbs, limb_edges = (paper.capsules(start, end, radius) for radius in (limb_radius, limb_radius + edge))
    joints = xy[:, : len(plan.dots)]
    dot_radius = (plan.dot_width * width / 2).clip(0.7)
    dots, dot_edges = paper.capsules(joints, joints, dot_radius), paper.capsules(joints, joints, dot_radius + edge)
    first, second = plan.pairs[:, 0], plan.pairs[:, 1]
    drawn, certain = seen[:, first] & seen[:, second], sure[:, first] & sure[:, second]
    has_dot = plan.dot_width > 0
    for row in order:
        colours = track_colours(int(poses.people.track_ids[row]))
        shades = {"light": colours.light, "middle": colours.middle, "dark": colours.dark}
        limb_colours = plan.limb_colours or tuple(shades[shade] for shade in plan.shades)
        # What is faint comes first, without an edge: it lies under what is certain.
        for limb in np.flatnonzero(drawn[row] & ~certain[row]).tolist():
            paper.fill(limbs[row, limb], limb_colours[limb], cover=_FAINT)
        shown = np.flatnonzero(drawn[row] & certain[row]).tolist()
        for limb in shown:
            paper.fill(limb_edges[row, limb], _DARK)
        for limb in shown:
            paper.fill(limbs[row, limb], limb_colours[limb])
        for joint in np.flatnonzero(seen[row, : len(plan.dots)] & has_dot).tolist():
            if sure[row, joint]:
                paper.fill(dot_edges[row, joint], _DARK)
                paper.fill(dots[row, joint], plan.dots[joint])
            else:
                paper.fill(dots[row, joint], plan.dots[joint], cover=_FAINT)


def _sure(poses: FramePoses, style: DrawStyle) -> NDArray[np.bool_]:
    """`[N, K]` joints that are not drawn faintly."""
    if not style.faint_unsure:
        return np.ones(poses.scores.shape, bool)
    if poses.probabilities is not None:
        return np.asarray(poses.probabilities >= UNSURE_PROBABILITY)
    return np.asarray(poses.scores >= UNSURE_SCORE)


def _capsules(start: Doubles, end: Doubles, radius: Doubles) -> Doubles:
    """Outlines of thick lines with round ends, `[..., V, 2]`.

    OpenCV's own thick lines have whole-pixel widths, and its small circles are diamonds.

    Args:
        start: `[..., 2]` one end; where both ends are the same, the outline is a circle.
        end: `[..., 2]` the other end.
        radius: `[...]` half the thickness in pixels.
    """
    along = end - start
    length = np.linalg.norm(along, axis=-1, keepdims=True)
    along = np.where(length > 0, along / np.maximum(length, 1e-9), np.array([1.0, 0.0]))
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    # As many corners as the largest one needs to look round.
    corners = int(np.clip(3 + radius.max(initial=1), 5, 12))
    angle = np.linspace(-np.pi / 2, np.pi / 2, corners)[:, None]
    cap = np.cos(angle) * along[..., None, :] + np.sin(angle) * across[..., None, :]
    cap *= radius[..., None, None]
    return np.concatenate([end[..., None, :] + cap, start[..., None, :] - cap], axis=-2)


def _draw_labels(
    paper: _Paper, poses: FramePoses, texts: list[str], heads_xyxy: Doubles, sizes: Doubles, order: list[int]
) -> None:
    """Write each text on a plate near its person's head, off all heads and other plates where there is room."""
    largest = max(7.0, 0.02 * min(paper.height, paper.width))
    scales = (np.clip(0.06 * sizes, 5, largest) / _FONT_CAP_PX).tolist()
    strokes = [max(1, round(1.5 * scale)) for scale in scales]
    labels = list(zip(texts, repeat(_FONT), scales, strokes))
    text_sizes = np.array([cv2.getTextSize(*label)[0] for label in labels], np.float64)
    heights = text_sizes[:, 1] + 0.6 * _FONT_CAP_PX * np.array(scales)
    widths = text_sizes[:, 0] + 0.9 * heights
    plates = np.zeros((len(poses), 4))
    taken = heads_xyxy
    for row in order:
        bottom = float(poses.people.boxes_xyxy_px[row, 3])
        plates[row] = _place(widths[row], heights[row], heads_xyxy[row], bottom, taken, paper)
        taken = np.vstack([taken, plates[row]])
    middle = (plates[:, :2] + plates[:, 2:]) / 2
    reach = np.stack([(widths - heights) / 2, np.zeros(len(poses))], axis=1)
    inner = paper.capsules(middle - reach, middle + reach, heights / 2)
    outer = paper.capsules(middle - reach, middle + reach, heights / 2 + 1)
    origins = np.rint(middle + text_sizes * np.array([-0.5, 0.5])).astype(int).tolist()
    for row in order:
        paper.fill(outer[row], _DARK)
        paper.fill(inner[row], track_colours(int(poses.people.track_ids[row])).middle)
        paper.write(texts[row], origins[row], scale=scales[row], stroke=strokes[row])


def _place(width: float, height: float, head: Doubles, bottom: float, taken: Doubles, paper: _Paper) -> Doubles:
    """Corners of the plate: above the head if that is free, else the place nearby that covers least."""
    middle, side_y = (head[0] + head[2] - width) / 2, (head[1] + head[3] - height) / 2
    above = head[1] - height - 2
    places = np.array(
        [
            (middle, above),
            (middle - 0.6 * width, above),
            (middle + 0.6 * width, above),
            (middle, above - height - 2),
            (head[2] + 3, side_y),
            (head[0] - width - 3, side_y),
            (middle, head[3] + 3),
            (middle, bottom + 2),
        ]
    )
    limit = np.array([paper.width - width - 1, paper.height - height - 1]).clip(1)
    places = places.clip(1, limit)
    plates = np.concatenate([places, places + np.array([width, height])], axis=1)
    low = np.maximum(plates[:, None, :2], taken[None, :, :2])
    high = np.minimum(plates[:, None, 2:], taken[None, :, 2:])
    covered = (high - low).clip(0).prod(axis=2).sum(axis=1) / (width * height)
    # Earlier places are better by a little.
    return np.asarray(plates[np.argmin(covered + 0.02 * np.arange(len(plates)))])
