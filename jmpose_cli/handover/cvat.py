"""CVAT's XML, version 1.1, with people as skeleton tracks, and the labels that its task needs; see `formats/cvat`."""

import re
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import orjson

from jmpose_cli.files import PartialFile
from jmpose_cli.formats.cvat import ID_ATTRIBUTE, OCCLUDED, OUTSIDE
from jmpose_cli.formats.keypoint_mapping import known_set
from jmpose_cli.formats.records import PoseRecords
from jmpose_cli.handover.handover import Handover, without_joints

_LABEL = "person"
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_cvat(given: Handover) -> None:
    """Write people as skeleton tracks, every frame a keyframe.

    Raises:
        JmposeError: The file cannot be written.
    """
    without_joints(given)
    frames, step = given.frames, _step(given)
    seen = given.records.visibility.astype(np.int64)
    with PartialFile(given.path) as file:
        file.write(_head(given, step).encode())
        following = {a: b for a, b in zip(frames.tolist(), frames.tolist()[1:], strict=False)}
        for track, rows in given.tracks():
            own = rows[given.records.present[rows].any(1)]
            if not len(own):
                continue
            file.write(f'  <track id="{track}" label="{_LABEL}" source="auto">\n'.encode())
            numbers = given.frame_of_row[own].tolist()
            for row, frame, after in zip(own.tolist(), numbers, [*numbers[1:], None], strict=True):
                points = given.records.xy[row].tolist()
                file.write(_skeleton(given, frame, track, points, seen[row].tolist()).encode())
                ends = following.get(frame)
                if ends is not None and ends != after:
                    file.write(_skeleton(given, ends, track, points, [OUTSIDE] * len(points)).encode())
            file.write(b"  </track>\n")
        file.write(b"</annotations>\n")


def _step(given: Handover) -> int:
    """Frames from one to the next; CVAT has no word for anything but equal steps."""
    steps = np.unique(np.diff(given.frames))
    if len(steps) <= 1:
        return int(steps[0]) if len(steps) else 1
    given.notes.append("frames that were left out stand as frames without people: CVAT has equal steps only")
    return 1


def _skeleton(given: Handover, frame: int, track: int, points: list[list[float]], seen: list[int]) -> str:
    elements = [
        f'      <points label={_quoted(joint)} keyframe="1" outside="{int(state == OUTSIDE)}" '
        f'occluded="{int(state == OCCLUDED)}" points="{x!r},{y!r}"/>\n'
        for joint, (x, y), state in zip(given.records.joints, points, seen, strict=True)
    ]
    is_outside = int(not any(seen))
    return (
        f'    <skeleton frame="{frame}" keyframe="1" outside="{is_outside}" occluded="0" z_order="0">\n'
        f'{"".join(elements)}      <attribute name="{ID_ATTRIBUTE}">{track}</attribute>\n    </skeleton>\n'
    )


def _quoted(text: str) -> str:
    return quoteattr(_NOT_XML.sub("\ufffd", text))


def _escaped(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text))


def _head(given: Handover, step: int) -> str:
    frames, video = given.frames, given.video
    first, last = (int(frames[0]), int(frames[-1])) if len(frames) else (0, 0)
    points = "".join(
        f"<label><name>{_escaped(joint)}</name><type>points</type><attributes></attributes><parent>{_LABEL}</parent>"
        "</label>\n"
        for joint in given.records.joints
    )
    size = ""
    if video.width and video.height:
        size = f"<original_size><width>{video.width}</width><height>{video.height}</height></original_size>\n"
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n<meta>\n<task>\n'
        f"<name>{_escaped(video.name)}</name><size>{len(range(first, last + 1, step))}</size>"
        f"<mode>interpolation</mode><overlap>0</overlap><start_frame>{first}</start_frame>"
        f"<stop_frame>{last}</stop_frame><frame_filter>{f'step={step}' if step > 1 else ''}</frame_filter>\n"
        f"<labels>\n<label><name>{_LABEL}</name><type>skeleton</type><attributes>\n<attribute><name>{ID_ATTRIBUTE}</name>"
        "<mutable>False</mutable><input_type>text</input_type><default_value></default_value><values></values>"
        f"</attribute></attributes>\n<svg>{escape(_svg(given.records))}</svg></label>\n{points}</labels>\n{size}</task>\n"
        f"<source>{_escaped(video.source)}</source>\n</meta>\n"
    )


def write_cvat_labels(given: Handover) -> None:
    """Write the labels that a CVAT task must have, as its field "Raw" takes them.

    Raises:
        JmposeError: The file cannot be written.
    """
    attribute = {"name": ID_ATTRIBUTE, "input_type": "text", "mutable": False, "values": [""], "default_value": ""}
    label = {
        "name": _LABEL,
        "type": "skeleton",
        "attributes": [attribute],
        "sublabels": [{"name": joint, "type": "points", "attributes": []} for joint in given.records.joints],
        "svg": _svg(given.records),
    }
    given.write(orjson.dumps([label], option=orjson.OPT_INDENT_2))


def _svg(records: PoseRecords) -> str:
    """Draw the template of the skeleton: the mean pose of the people, in percent of the picture that CVAT shows."""
    places = _mean_pose(records)
    numbers = {joint: number for number, joint in enumerate(records.joints, 1)}
    known = known_set(records.joints)
    lines = [
        f'<line x1="{places[numbers[a] - 1][0]}" y1="{places[numbers[a] - 1][1]}" x2="{places[numbers[b] - 1][0]}" '
        f'y2="{places[numbers[b] - 1][1]}" data-type="edge" data-node-from="{numbers[a]}" '
        f'data-node-to="{numbers[b]}"></line>'
        for a, b in (known.skeleton if known else ())
    ]
    nodes = [
        f'<circle r="0.75" cx="{x}" cy="{y}" data-type="element node" data-element-id="{number}" '
        f'data-node-id="{number}" data-label-name={_quoted(joint)}></circle>'
        for (joint, number), (x, y) in zip(numbers.items(), places, strict=True)
    ]
    return "".join(lines + nodes)


def _mean_pose(records: PoseRecords) -> list[list[float]]:
    """Return the mean place of each joint, from 10 to 90; on a circle where nobody has the joint."""
    there = records.present[..., None]
    low = np.where(there, records.xy, np.inf).min(1, initial=np.inf, keepdims=True)
    high = np.where(there, records.xy, -np.inf).max(1, initial=-np.inf, keepdims=True)
    size = np.where(np.isfinite(high - low) & (high > low), high - low, 1.0)
    parts = np.where(there, (records.xy - np.where(np.isfinite(low), low, 0.0)) / size, 0.0).sum(0)
    counts = records.present.sum(0)[:, None]
    angles = 2 * np.pi * np.arange(len(records.joints)) / max(1, len(records.joints))
    circle = 0.5 + 0.5 * np.stack([np.cos(angles), np.sin(angles)], 1)
    mean = np.where(counts > 0, parts / np.maximum(counts, 1), circle)
    places: list[list[float]] = np.round(10 + 80 * mean, 2).tolist()
    return places
