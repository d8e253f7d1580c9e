"""Draw people at crossings: strips of frames with boxes and ids, the tracker of before above, ours below.

`python benchmarks/accuracy/crossings.py VIDEO|FOLDER ... --out FOLDER [--detector NAME|FILE] [--reid reid-nano]`

A sequence is a folder of tracking data, or a video with `NAME.posetrack18.json` beside it, as
`models/recipes/render_clip.py` writes them. Strips whose names begin with `kept` show where BoT-SORT, which jmpose had,
changes somebody's id and ours does not; those with `failed` where ours does. The person is marked by a white triangle
where they are annotated. Boxes and looks are kept in `--cache`.
"""

import argparse
from collections.abc import Sequence as Many
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch

from identity import Frames, Sequence, before, frames_of, observe, ours, overlaps_of, truth_of
from jmpose_cli.annotate.networks import open_embedder
from jmpose_cli.config import PeopleConfig
from jmpose_cli.formats.records import PoseRecords
from jmpose_cli.known_weights import choose_detector, choose_reid
from jmpose_cli.metrics.identity import match_frames
from jmpose_cli.people.detectors import load_detector
from jmpose_cli.video.drawing import track_colours

TILES, TILE_PX = 6, (200, 220)  # of a strip: how many, width and height of each
AROUND_S = 0.3  # shown before the last frame with the old id and after the first one with the new
HEIGHTS = 1.6  # of the person, that a tile is high
WHITE, GREY = (255, 255, 255), (60, 60, 60)


@dataclass(frozen=True)
class Switch:
    """An id that changes: whose, the last frame with the old one, and the first with the new one."""

    person: int
    last: int
    first: int


def ids_of(frames: Frames, truth: PoseRecords) -> dict[int, dict[int, int]]:
    """Of each person, the frames in which they are found, and the ids they have there."""
    numbers = np.unique(truth.image_row)
    rows = [np.flatnonzero(truth.image_row == number) for number in numbers]
    overlaps = [
        overlaps_of(truth.boxes_xyxy_px[r], frames[n][0].astype(float)) for r, n in zip(rows, numbers, strict=True)
    ]
    matched = match_frames([truth.track_ids[r] for r in rows], [frames[n][1] for n in numbers], overlaps)
    found: dict[int, dict[int, int]] = {}
    for number, people, tracks in zip(numbers.tolist(), matched.person_of, matched.tracks, strict=True):
        for person, track in zip(people.tolist(), tracks.tolist(), strict=True):
            if person >= 0:
                found.setdefault(person, {})[number] = track
    return found


def switches_of(ids: dict[int, dict[int, int]]) -> list[Switch]:
    """All changes of ids, in the order of time."""
    found = []
    for person, of_frame in ids.items():
        numbers = sorted(of_frame)
        found += [Switch(person, a, b) for a, b in pairwise(numbers) if of_frame[a] != of_frame[b]]
    return sorted(found, key=lambda switch: (switch.first, switch.person))


def kept(switch: Switch, ids: dict[int, int]) -> bool:
    """Whether a person has one id from the last frame to the first of somebody else's switch."""
    span = {track for number, track in ids.items() if switch.last <= number <= switch.first}
    return len(span) == 1 and switch.last in ids and switch.first in ids


def strip(sequence: Sequence, truth: PoseRecords, switch: Switch, both: Many[tuple[str, Frames]]) -> np.ndarray:
    """Draw a switch, `[H, W, 3]` BGR: a row for each tracker."""
    around = round(AROUND_S * sequence.fps)
    numbers = np.linspace(switch.last - around, switch.first + around, TILES).round().astype(int)
    numbers = np.unique(numbers.clip(0, len(sequence.people) - 1))
    mine = truth.track_ids == switch.person
    at = np.array([truth.image_row[mine], *truth.boxes_xyxy_px[mine].T])
    boxes = np.stack([np.interp(numbers, at[0], side) for side in at[1:]], 1)
    zoom = max(TILE_PX[1] / (HEIGHTS * np.median(boxes[:, 3] - boxes[:, 1])), max(np.divide(TILE_PX, sequence.size)))
    least = np.array(TILE_PX) - zoom * np.array(sequence.size)  # nothing beside the picture is shown
    wanted = dict(zip(numbers.tolist(), boxes, strict=True))
    columns = []
    for number, picture in enumerate(frames_of(sequence.folder)):
        if number in wanted:
            box = wanted[number]
            shift = (np.array(TILE_PX) / 2 - zoom * (box[:2] + box[2:]) / 2).clip(least, 0)
            by = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
            tile = cv2.warpAffine(picture, by, TILE_PX, flags=cv2.INTER_CUBIC)[..., ::-1]
            top = np.array([(box[0] + box[2]) / 2, box[1]]) * zoom + shift
            time_s = number / sequence.fps
            rows = [_drawn(tile, frames[number], zoom, shift, top, f"{name} {time_s:.2f} s") for name, frames in both]
            columns.append(np.vstack(rows))
        if number >= numbers[-1]:
            break
    return np.hstack(columns)


def _drawn(
    tile: np.ndarray, found: tuple[np.ndarray, np.ndarray], zoom: float, shift: np.ndarray, top: np.ndarray, text: str
) -> np.ndarray:
    """Draw boxes with ids, and a triangle above a person's head at `top`, into a copy of a tile."""
    canvas = np.ascontiguousarray(tile)
    for box, track in zip(found[0] * zoom + np.tile(shift, 2), found[1].tolist(), strict=True):
        x0, y0, x1, y1 = box.round().astype(int).tolist()
        colour = track_colours(track).middle[::-1]
        cv2.rectangle(canvas, (x0, y0), (x1, y1), colour, 2, cv2.LINE_AA)
        _write(canvas, str(track), (x0 + 4, max(y0, 20) + 18), colour, 0.6)
    x, y = top.round().astype(int).tolist()
    outline = np.array([[x - 7, y - 16], [x + 7, y - 16], [x, y - 4]])
    cv2.fillConvexPoly(canvas, outline, WHITE, cv2.LINE_AA)
    cv2.polylines(canvas, [outline], True, GREY, 1, cv2.LINE_AA)
    _write(canvas, text, (6, TILE_PX[1] - 8), WHITE, 0.45)
    cv2.rectangle(canvas, (0, 0), (TILE_PX[0], TILE_PX[1]), GREY, 1)
    return canvas


def _write(canvas: np.ndarray, text: str, origin: tuple[int, int], colour: Many[int], scale: float) -> None:
    stroke = 1 if scale < 0.5 else 2
    for x, y in ((-1, -1), (-1, 1), (1, -1), (1, 1), (0, 0)):
        shade = (0, 0, 0) if x else colour
        at = (origin[0] + x, origin[1] + y)
        cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, shade, stroke, cv2.LINE_AA)


def main() -> None:
    """Write the strips, and say what each shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequences", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--detector", default="person-nano", help="A name or a file.")
    parser.add_argument("--reid", default="reid-nano", help="reid-nano, none, or a .pth of OSNet.")
    parser.add_argument("--cache", type=Path, default=Path("out/identity"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    for folder in (args.out, args.cache):
        folder.mkdir(parents=True, exist_ok=True)
    path, least = choose_detector(args.detector, on_gpu=False).path, PeopleConfig().keep_box_score
    detector, _ = load_detector(path, engine="torch", device="cpu", min_score=least, input_size=None, threads=1)
    looks = choose_reid(args.reid)
    embedder = open_embedder(looks, device="cpu") if looks else None
    for where in args.sequences:
        sequence, truth = observe(where, detector, embedder, args.cache), truth_of(where)
        both = [("before", before(sequence)), ("now", ours(sequence))]
        old, new = (ids_of(frames, truth) for _, frames in both)
        shown = [("kept", one) for one in switches_of(old) if kept(one, new.get(one.person, {}))]
        shown += [("failed", one) for one in switches_of(new)]
        for title, switch in shown:
            file = args.out / f"{title}-{where.stem}-{switch.first:04}-{switch.person}.jpg"
            cv2.imwrite(str(file), strip(sequence, truth, switch, both), [cv2.IMWRITE_JPEG_QUALITY, 85])
            print(f"{file}: person {switch.person}, frames {switch.last} to {switch.first}")


if __name__ == "__main__":
    main()
