"""CVAT's own XML, version 1.1: skeletons as tracks of a video, and of single images.

What CVAT keeps of a track is its frames with `keyframe="1"`; what it exports has the interpolated ones too. A skeleton
ends where all its points are `outside`. CVAT numbers tracks anew, so that the id stands in an attribute of the label,
`jmpose_id`, too; it must be declared with the labels of the task (`--to cvat-labels`), or CVAT drops it. It is not
called `track_id`: CVAT's COCO export has its own number under that name.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any
from xml.parsers import expat

import numpy as np

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.names import frame_number
from jmpose_cli.formats.numbers import LARGEST_BOX_PX, LARGEST_PX, number_of, within
from jmpose_cli.formats.records import Doubles, ImageRecord, PoseRecords, Record, bare_records, check_tracks
from jmpose_cli.formats.text_file import read_utf8

ID_ATTRIBUTE = "jmpose_id"
_MAX_FRAME = 10**6
_MOST_PEOPLE = 10**7  # rows that keyframes far apart may be interpolated to
_MAX_ID = 2**53
_WHOLE = re.compile(r"-?\d{1,15}", re.ASCII)
_SHAPES = frozenset({"box", "ellipse", "polygon", "polyline", "points", "cuboid", "mask", "skeleton"})
OUTSIDE, OCCLUDED, VISIBLE = range(3)
"""States of a point, which are COCO's numbers of visibility."""


@dataclass
class _Shape:
    """A skeleton as it is read."""

    label: str
    frame: int
    track: int  # place of the track; -1 in an image
    points: dict[str, tuple[float, float, int]] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass
class _Track:
    number: int
    label: str
    shapes: list[_Shape] = field(default_factory=list)
    own_id: int | None = None


def read_cvat(path: Path) -> PoseRecords:
    """Read skeletons from a file that CVAT exported as "CVAT for video 1.1" or "CVAT for images 1.1".

    Ids are those of the attribute `jmpose_id`; tracks without it, which somebody added, get new ones, and all have
    CVAT's where none has it. Between keyframes that leave frames out, joints are interpolated, as CVAT does.

    Raises:
        JmposeError: It is no such file, holds no skeletons, or its values are none.
    """
    found = _Parser(path)
    found.parse(read_utf8(path))
    return _records(path, found)


class _Parser:
    """Takes the elements of a file; entities and document types, which such files do not have, are refused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.meta: dict[str, str] = {}
        self.labels: list[dict[str, str]] = []
        self.tracks: list[_Track] = []
        self.images: dict[int, ImageRecord] = {}
        self.image_shapes: list[_Shape] = []
        self.left_out: dict[str, int] = {}
        self._open: list[str] = []
        self._text: list[str] = []
        self._attribute = ""
        self._image: int | None = None
        self._track: _Track | None = None
        self._shape: _Shape | None = None
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text.append
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.buffer_text = True

    def parse(self, data: bytes) -> None:
        """Read a whole file."""
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            raise JmposeError(f"{self.path} is not valid XML: {error}", hint="the file may be cut off") from error
        except (ValueError, LookupError) as error:  # an encoding that nobody knows
            raise JmposeError(f"{self.path} is not valid XML: {error}", hint="CVAT writes UTF-8") from error

    def _fault(self, problem: str, hint: str) -> JmposeError:
        return JmposeError(f"{self.path}: line {self._parser.CurrentLineNumber}: {problem}", hint=hint)

    def _refuse(self, *_: Any) -> None:
        raise self._fault("a document type", "CVAT writes none; with entities a small file can grow without end")

    def _start(self, tag: str, given: dict[str, str]) -> None:
        if not self._open and tag != "annotations":
            raise self._fault(
                f"<{tag[:40]}>", "CVAT's files begin with <annotations>; `--to` lists what can be written"
            )
        self._open.append(tag)
        self._text.clear()
        if tag == "label" and self._open[-2] == "labels":
            self.labels.append({})
        elif tag == "track":
            number = self._whole(given, "id", -_MAX_ID, _MAX_ID)
            self._track = _Track(number, given.get("label", ""))
            self.tracks.append(self._track)
        elif tag == "image":
            self._begin_image(given)
        elif tag in _SHAPES and (self._track is not None or self._image is not None):
            self._begin_shape(tag, given)
        elif tag == "attribute":
            self._attribute = given.get("name", "")

    def _begin_image(self, given: dict[str, str]) -> None:
        number, name = self._whole(given, "id", 0, _MAX_FRAME), given.get("name", "")
        if number in self.images:
            raise self._fault(f"image {number} is there twice", "every image has its own id")
        sizes = [self._whole(given, side, 1, int(LARGEST_BOX_PX)) if side in given else None for side in _SIDES]
        self.images[number] = ImageRecord(number, name, sizes[0], sizes[1], frame_number(name), None)
        self._image = number

    def _begin_shape(self, tag: str, given: dict[str, str]) -> None:
        if self._shape is not None:
            self._add_point(self._shape, tag, given)
        elif tag != "skeleton":
            self.left_out[tag] = self.left_out.get(tag, 0) + 1
        elif self._track is not None:
            frame = self._whole(given, "frame", 0, _MAX_FRAME)
            self._shape = _Shape(self._track.label, frame, len(self.tracks) - 1)
            self._track.shapes.append(self._shape)
        elif self._image is not None:
            self._shape = _Shape(given.get("label", ""), self._image, -1)
            self.image_shapes.append(self._shape)

    def _add_point(self, shape: _Shape, tag: str, given: dict[str, str]) -> None:
        joint = given.get("label", "")
        if tag != "points" or not joint:
            raise self._fault(f"a {tag} in a skeleton", "skeletons must be made of points, each with its label")
        if joint in shape.points:
            raise self._fault(f"{joint[:40]!r} is there twice in a skeleton", "every point stands once")
        values = [number_of(part) for part in given.get("points", "").split(",")]
        if len(values) != 2 or not all(abs(value) <= LARGEST_PX for value in values):
            place = given.get("points", "")[:60]
            raise self._fault(f"{joint[:40]!r} is at {place!r}", f"a point is x,y: two numbers {within(LARGEST_PX)}")
        state = OUTSIDE if given.get("outside") == "1" else OCCLUDED if given.get("occluded") == "1" else VISIBLE
        shape.points[joint] = (values[0], values[1], state)

    def _end(self, tag: str) -> None:
        self._open.pop()
        text = "".join(self._text).strip()
        if tag == "track":
            self._track = None
        elif tag == "image":
            self._image = None
        elif tag == "skeleton":
            self._shape = None
        elif tag == "attribute" and self._shape is not None and self._open[-1] == "skeleton":
            self._shape.attributes[self._attribute] = text
        elif self.labels and self._open[-1:] == ["label"]:
            self.labels[-1][tag] = text
        elif "meta" in self._open and "labels" not in self._open:
            self.meta.setdefault(tag, text)
        self._text.clear()

    def _whole(self, given: dict[str, str], name: str, lowest: int, highest: int) -> int:
        return self._number(given.get(name, ""), name, lowest, highest)

    def _number(self, text: str, name: str, lowest: int, highest: int) -> int:
        if not _WHOLE.fullmatch(text) or not lowest <= int(text) <= highest:
            raise self._fault(f"{name} is {text[:40]!r}", f"it must be a whole number from {lowest} to {highest}")
        return int(text)

    def fact(self, name: str, lowest: int, highest: int) -> int | None:
        """Return a whole number that the file says of its task; None where it does not."""
        text = self.meta.get(name, "")
        return self._number(text, name, lowest, highest) if text else None


_SIDES = ("width", "height")


def _records(path: Path, found: _Parser) -> PoseRecords:
    notes = [f"shapes that are no skeletons were left out: {count} {tag}" for tag, count in found.left_out.items()]
    joints = _joints(path, found)
    _name_tracks(path, found, notes)
    rows: list[tuple[int, int, Doubles]] = []
    for track in found.tracks:
        rows += _rows_of(path, track, joints, room=_MOST_PEOPLE - len(rows))
    made = len(rows) - sum(len(track.shapes) for track in found.tracks)
    if made:
        notes.append(f"skeletons between keyframes were interpolated, as CVAT does: {made}")
    for shape in found.image_shapes:
        rows.append((shape.frame, _id_in(path, shape, -1), _values(shape, joints)))
    rows = [row for row in rows if (row[2][:, 2] > 0).any()]
    images, info = _images(path, found, [frame for frame, _, _ in rows])
    place = {(image.id if found.images else image.frame_index): row for row, image in enumerate(images)}
    rows.sort(key=lambda row: place[row[0]])
    values = np.array([row[2] for row in rows], np.float64).reshape(len(rows), len(joints), 3)
    records = bare_records(
        path,
        "cvat",
        joints,
        images,
        image_row=np.array([place[frame] for frame, _, _ in rows], np.int64),
        track_ids=np.array([track for _, track, _ in rows], np.int64),
        xy=values[..., :2],
        visibility=values[..., 2],
        scores=np.full(values.shape[:2], np.nan),
        notes=notes,
        info=info,
    )
    check_tracks(records)
    return records


def _joints(path: Path, found: _Parser) -> tuple[str, ...]:
    """Find the joints of the one label that skeletons have."""
    shapes = [shape for track in found.tracks for shape in track.shapes] + found.image_shapes
    labels = sorted({shape.label for shape in shapes})
    if not labels:
        labels = [label.get("name", "") for label in found.labels if label.get("type") == "skeleton"]
    if len(labels) != 1:
        said = f"skeletons of {len(labels)} labels ({', '.join(labels)[:80]})" if labels else "no skeletons"
        raise JmposeError(
            f"{path}: {said}", hint="people must be skeletons of one label; export the task with it alone"
        )
    declared = [label.get("name", "") for label in found.labels if label.get("parent") == labels[0]]
    joints = dict.fromkeys([*declared, *(joint for shape in shapes for joint in shape.points)])
    if not joints or (declared and len(joints) > len(declared)):
        strange = ", ".join(list(joints)[len(declared) :][:5])
        raise JmposeError(
            f"{path}: the label {labels[0]!r} has no points {strange}".rstrip(),
            hint="each point of a skeleton is declared in <labels> with its parent",
        )
    return tuple(joints)


def _id_in(path: Path, shape: _Shape, default: int) -> int:
    text = shape.attributes.get(ID_ATTRIBUTE, "")
    if not text:
        return default
    if not _WHOLE.fullmatch(text) or not 0 <= int(text) <= _MAX_ID:
        raise JmposeError(
            f"{path}: {ID_ATTRIBUTE} is {text[:40]!r} in frame {shape.frame}", hint="it must be a whole number from 0"
        )
    return int(text)


def _name_tracks(path: Path, found: _Parser, notes: list[str]) -> None:
    """Give each track its id: the one that it came with, else a new one; CVAT's own where none came with one."""
    for track in found.tracks:
        given = {_id_in(path, shape, -1) for shape in track.shapes} - {-1}
        if len(given) > 1:
            raise JmposeError(
                f"{path}: track {track.number} has the ids {', '.join(map(str, sorted(given)))}",
                hint=f"{ID_ATTRIBUTE} must be the same in all of a track",
            )
        track.own_id = next(iter(given), None)
    bare = [track for track in found.tracks if track.own_id is None]
    if len(bare) == len(found.tracks):
        for track in bare:
            track.own_id = track.number
        return
    highest = max(track.own_id for track in found.tracks if track.own_id is not None)
    for number, track in enumerate(bare, highest + 1):
        track.own_id = number
    if bare:
        notes.append(f"tracks without {ID_ATTRIBUTE} got new ids from {highest + 1} on: {len(bare)}")


def _values(shape: _Shape, joints: tuple[str, ...]) -> Doubles:
    """Return x, y and visibility of each joint, `[K, 3]`."""
    return np.array([shape.points.get(joint, (0.0, 0.0, OUTSIDE)) for joint in joints], np.float64)


def _rows_of(path: Path, track: _Track, joints: tuple[str, ...], *, room: int) -> Iterator[tuple[int, int, Doubles]]:
    """Yield frame, id and values of a track, frames between its keyframes too."""
    shapes = sorted(track.shapes, key=lambda shape: shape.frame)
    own_id = track.number if track.own_id is None else track.own_id
    made = 0
    for shape, after in zip(shapes, [*shapes[1:], None], strict=True):
        values = _values(shape, joints)
        yield shape.frame, own_id, values
        if after is None or not values[:, 2].any():
            continue
        if after.frame == shape.frame:
            raise JmposeError(
                f"{path}: track {track.number} has two skeletons in frame {shape.frame}", hint="a frame has one"
            )
        following = _values(after, joints)
        made += after.frame - shape.frame - 1
        if made > room:
            raise JmposeError(f"{path}: more than {_MOST_PEOPLE} skeletons", hint="split the task")
        for frame in range(shape.frame + 1, after.frame):
            part = (frame - shape.frame) / (after.frame - shape.frame)
            between = values.copy()
            moves = (values[:, 2] > 0) & (following[:, 2] > 0)
            between[moves, :2] += part * (following[moves, :2] - values[moves, :2])
            yield frame, own_id, between


def _images(path: Path, found: _Parser, frames: list[int]) -> tuple[list[ImageRecord], Record]:
    """List the images of the task, and what it says of its video."""
    if found.images:
        if found.tracks:
            raise JmposeError(f"{path}: tracks beside images", hint="CVAT exports the ones or the others")
        return list(found.images.values()), {}
    width, height = (found.fact(side, 1, int(LARGEST_BOX_PX)) for side in _SIDES)
    first, last = (found.fact(name, 0, _MAX_FRAME) for name in ("start_frame", "stop_frame"))
    chosen = re.fullmatch(r"step=(\d{1,6})", found.meta.get("frame_filter", ""))
    step = max(1, int(chosen[1])) if chosen else 1
    numbers = set(range(first or 0, (max(frames, default=0) if last is None else last) + 1, step))
    strange = sorted(set(frames) - numbers)
    if strange:
        raise JmposeError(
            f"{path}: a skeleton in frame {strange[0]}, which the task does not have",
            hint=f"it has the frames from {first or 0} to {last} in steps of {step}; is it of another video?",
        )
    source = found.meta.get("source", "")
    video: Record = {"name": PurePath(source).stem, "source": source} if source else {}
    if width and height:
        video |= {"width": width, "height": height}
    images = [ImageRecord(number + 1, "", width, height, number, None) for number in sorted(numbers)]
    return images, {"video": video} if video else {}
