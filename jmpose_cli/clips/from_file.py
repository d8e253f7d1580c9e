"""What another program has made of a clip's poses, merged into the truth by frame and track id."""

from dataclasses import replace
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from jmpose_cli.clips.operation import LARGEST_ID, ROUNDING_PX, grown, listed, new_people, with_joints, with_people
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.keypoint_mapping import known_set
from jmpose_cli.formats.records import PoseRecords, frame_numbers
from jmpose_cli.formats.truth import MOST_FAULTS, Truth
from jmpose_cli.values import Bools, Ids

_SAY_HIDDEN = frozenset({"coco", "cvat"})
"""Formats whose marks of hidden joints are those of people, where they differ; others derive or leave them out."""


def merged(truth: Truth, records: PoseRecords) -> tuple[Truth, list[str]]:
    """Merge poses that came back from another program.

    In the frames that the file has: joints that have moved by more than rounding, that were removed or given are
    corrected ones; people who are gone are deleted, others added; who stands there unmoved with another id, gets that
    id. Joints that the file does not know stay as they are, and so do frames that it does not have. Boxes are taken
    from files without joints only.

    Args:
        truth: The clip.
        records: The file.

    Returns:
        The new truth, and sentences about what could not be taken.

    Raises:
        JmposeError: The file is of another video, its joints are not the clip's, or people in it have no track ids or,
            in one frame, the same.
    """
    frame = _places(truth, records)[records.image_row]
    _check_ids(truth, records, frame)
    ours, theirs, notes = _shared_joints(truth, records)
    row_of = {key: row for row, key in enumerate(zip(truth.frame.tolist(), truth.track_ids.tolist(), strict=True))}
    keys = zip(frame.tolist(), records.track_ids.tolist(), strict=True)
    row = np.array([row_of.get(key, -1) for key in keys], np.int64)
    row = _by_pose(truth, records, frame, row, ours, theirs) if ours else row
    in_file = np.isin(truth.frame, _places(truth, records))
    if len(records) and in_file.any() and not (row >= 0).any():
        raise JmposeError(
            f"{records.path}: nobody in it has the frame and the track id of somebody in {truth.path.parent}",
            hint="is it of this clip? If the program has numbered people anew, give them the ids of the clip there",
        )
    known = np.flatnonzero(row >= 0)
    changed = _with_known(truth, records, known, row[known], ours, theirs)
    changed = _with_ids(changed, row[known], records.track_ids[known])
    kept = ~in_file
    kept[row[known]] = True
    new = np.flatnonzero(row < 0)
    return _with_new(changed.rows(kept), records, new, frame[new], ours, theirs), notes


def _places(truth: Truth, records: PoseRecords) -> Ids:
    """Return the place in `truth.index` of each image; -1 where the clip has no such frame, and the file nobody in it.

    Raises:
        JmposeError: The file is of another video.
    """
    other = f"{records.path} is of another video than {truth.path.parent}"
    for image in records.images:
        size = (image.width, image.height)
        if None not in size and size != (truth.video.width, truth.video.height):
            hint = f"the clip has {truth.video.width} x {truth.video.height}"
            raise JmposeError(f"{other}: pictures of {image.width} x {image.height}", hint=hint)
    video = records.info.get("video") if records.kind == "coco" else None  # others name tasks and files
    name = video.get("name") if isinstance(video, dict) else None
    if isinstance(name, str) and name != truth.video.name:
        raise JmposeError(f"{other}: it says {name!r:.80}", hint=f"the clip is {truth.video.name!r:.80}")
    numbers = frame_numbers(records.images).tolist()
    names = [PurePath(image.file_name).name for image in records.images]
    peopled = np.unique(records.image_row).tolist()
    if truth.video.image_names and all(names):
        numbered = {PurePath(own).name: number for number, own in enumerate(truth.video.image_names) if own}
        strange = [names[place] for place in peopled if names[place] not in numbered]
        if strange:
            raise JmposeError(f"{other}: it has {strange[0]!r:.80}", hint="the clip has no image of this name")
        numbers = [numbered.get(one, -1) for one in names]
    place_of = {number: place for place, number in enumerate(truth.index.tolist())}
    missing = sorted({numbers[place] for place in peopled if numbers[place] not in place_of})
    if missing:
        span = f"frames {truth.index[0]} to {truth.index[-1]}" if len(truth.index) else "no frames"
        raise JmposeError(f"{other}: it has frames {listed(missing)}", hint=f"the clip has {span}")
    return np.array([place_of.get(number, -1) for number in numbers], np.int64)


def _check_ids(truth: Truth, records: PoseRecords, frame: Ids) -> None:
    without = (records.track_ids < 0) | (records.track_ids > LARGEST_ID)
    if without.any():
        frames = truth.index[np.unique(frame[without])].tolist()
        raise JmposeError(
            f"{records.path}: people without a track id in frames {listed(frames)}",
            hint="export tracks, not shapes of single frames; people are matched by frame and track id",
        )
    keys = frame * (LARGEST_ID + 1) + records.track_ids
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    doubled = [
        f"frame {truth.index[frame[row]]} has {count} people of track {records.track_ids[row]}"
        for row, count in zip(first[counts > 1].tolist(), counts[counts > 1].tolist(), strict=True)
    ]
    if doubled:
        raise JmposeError(
            f"{records.path}: {'; '.join(doubled[:MOST_FAULTS])}",
            hint="each person of a frame needs an id of its own; give one of them another, or delete it, there",
        )


def _shared_joints(truth: Truth, records: PoseRecords) -> tuple[list[int], list[int], list[str]]:
    """Return places in the truth and in the file of the joints that both know, and notes.

    Raises:
        JmposeError: There are joints, and none that both know.
    """
    there = np.flatnonzero(records.present.any(0)).tolist()
    same = known_set(records.joints)
    names = records.joints if same is None else same.common_names
    wanted = {name: place for place, name in enumerate(truth.keypoints.common_names)}
    shared = [(wanted[names[place]], place) for place in there if names[place] in wanted]
    if there and not shared:
        raise JmposeError(
            f"{records.path}: none of its joints is one of the clip's: {', '.join(records.joints)}",
            hint=f"the clip has {', '.join(truth.keypoints.joints)}",
        )
    strange = [records.joints[place] for place in there if names[place] not in wanted]
    notes = [f"joints that the clip does not have are left out: {', '.join(strange)}"] if strange else []
    return [ours for ours, _ in shared], [theirs for _, theirs in shared], notes


def _by_pose(truth: Truth, records: PoseRecords, frame: Ids, row: Ids, ours: list[int], theirs: list[int]) -> Ids:
    """Return `[N]` the row of each person of a file: of one that has not moved, else of one with the same id, else -1.

    Args:
        truth: The clip.
        records: The file.
        frame: `[N]` places of its people's frames.
        row: `[N]` rows of those with the same id.
        ours: Places of joints in the truth.
        theirs: Places of the same joints in the file.
    """
    xy, there = records.xy[:, theirs], records.present[:, theirs]

    def are_alike(place: int, rows: Ids) -> Bools:
        near = np.abs(truth.xy[rows][:, ours] - xy[place]).max(2) <= ROUNDING_PX
        same = (truth.present[rows][:, ours] == there[place]) & (near | ~there[place])
        return np.asarray(same.all(1) & there[place].any())

    found = np.full(len(row), -1)
    left = [place for place, one in enumerate(row.tolist()) if one < 0 or not are_alike(place, np.array([one]))[0]]
    unmoved = np.setdiff1d(np.arange(len(row)), left)
    found[unmoved] = row[unmoved]
    taken = set(found[unmoved].tolist())
    for place in left:
        here = truth.of_frame(int(frame[place]))
        free = np.array([one for one in range(here.start, here.stop) if one not in taken], np.int64)
        alike = free[are_alike(place, free)] if len(free) else free
        if len(alike):
            found[place] = alike[0]
            taken.add(int(alike[0]))
    for place in left:
        if found[place] < 0 and int(row[place]) not in taken:
            found[place] = row[place]
    return found


def _with_ids(truth: Truth, rows: Ids, tracks: Ids) -> Truth:
    """Return the same with other ids."""
    ids, who = truth.track_ids.copy(), truth.identity.copy()
    known, first = np.unique(ids, return_index=True)
    names = dict(zip(known.tolist(), who[first].tolist(), strict=True))
    other = ids[rows] != tracks
    ids[rows] = tracks
    who[rows[other]] = [names.get(track, track) for track in tracks[other].tolist()]
    return replace(truth, track_ids=ids, identity=who)


def _visibility(
    records: PoseRecords, rows: Ids, joints: list[int], before: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """Return `[R, J]` what a file says of joints; where it does not tell hidden from visible, as it was."""
    there = records.present[rows][:, joints]
    seen = records.visibility[rows][:, joints].clip(1, 2) if records.kind in _SAY_HIDDEN else np.full(there.shape, 2)
    if before is not None and records.kind not in _SAY_HIDDEN:
        seen = np.where(before > 0, before, seen)
    return np.where(there, seen, 0).astype(np.uint8)


def _with_known(truth: Truth, records: PoseRecords, found: Ids, rows: Ids, ours: list[int], theirs: list[int]) -> Truth:
    if not ours:
        boxes, given = truth.boxes_xyxy_px.copy(), records.boxes_xyxy_px[found]
        far = np.abs(given - boxes[rows]) > 2 * ROUNDING_PX  # False where there is none
        boxes[rows] = np.where(far.any(1, keepdims=True), given, boxes[rows])
        return replace(truth, boxes_xyxy_px=boxes)
    before = truth.visibility[rows][:, ours]
    xy, visibility = records.xy[found][:, theirs], _visibility(records, found, theirs, before)
    far = (np.abs(xy - truth.xy[rows][:, ours]) > ROUNDING_PX).any(2) & (visibility > 0)
    return with_joints(truth, rows, ours, xy, visibility, said=far | (visibility != before))


def _with_new(truth: Truth, records: PoseRecords, found: Ids, frame: Ids, ours: list[int], theirs: list[int]) -> Truth:
    xy, visibility = records.xy[found][:, theirs], _visibility(records, found, theirs, None)
    boxes = records.boxes_xyxy_px[found]
    hulls = grown(np.tile((np.inf, np.inf, -np.inf, -np.inf), (len(found), 1)), xy, visibility > 0)
    boxes = np.where(np.isnan(boxes), hulls, boxes)
    for place in np.flatnonzero(~np.isfinite(boxes).all(1))[:1].tolist():
        raise JmposeError(
            f"{records.path}: track {records.track_ids[found[place]]} in frame {truth.index[frame[place]]} is new, "
            "and has neither a box nor joints",
            hint="give it some, or delete it there",
        )
    added = new_people(truth, frame, records.track_ids[found], boxes, ours, xy, visibility)
    return with_people(truth, added)
