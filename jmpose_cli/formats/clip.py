"""The poses of one video as frames: read back from the files of a run, written again, laid out as records."""

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from jmpose.keypoints import KeypointSet
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import explain_os_errors
from jmpose_cli.formats.base import VideoMeta
from jmpose_cli.formats.json_file import read_json
from jmpose_cli.formats.keypoint_mapping import known_set
from jmpose_cli.formats.one_video import described as described
from jmpose_cli.formats.one_video import frames_per_second as frames_per_second
from jmpose_cli.formats.one_video import in_order as in_order
from jmpose_cli.formats.one_video import positive_int
from jmpose_cli.formats.read import is_json, poses_in
from jmpose_cli.formats.records import Doubles, ImageRecord, JsonTable, PoseRecords
from jmpose_cli.formats.tabular import joint_columns
from jmpose_cli.formats.writers import FORMATS, open_writer
from jmpose_cli.values import Bools, Float, FramePoses, TrackedFrame

DEFAULT_FORMATS: tuple[str, ...] = ("coco", "posetrack18")


@dataclass(frozen=True)
class ClipPoses:
    """The poses of one video.

    Attributes:
        frames: All frames in order, those without people included.
        keypoints: Joints of the frames' arrays.
        video: What the files say of the video.
        info: What a COCO file says of the tool that made it.
        written: Keypoint set of the file that was read, where that has joints which nobody has in it.
    """

    frames: Sequence[FramePoses]
    keypoints: KeypointSet
    video: VideoMeta
    info: dict[str, Any] = field(default_factory=dict)
    written: KeypointSet | None = None


def read_clip(path: Path | str) -> ClipPoses:
    """Read the poses of a video.

    Of a folder that `jmpose infer` or `write_clip` has left, the COCO file is read, or where there is none the
    PoseTrack18 file; box scores that it does not hold are those of the CSV table beside it.

    Args:
        path: Such a folder, or a pose file of any format that `jmpose convert` reads, about one video.

    Returns:
        The poses as they are in the file, at its precision. What a file does not tell is NaN in scores and joints, -1
        in track ids; `people.segment` is 0 throughout.

    Raises:
        JmposeError: There is no such file, it cannot be read, or it holds several videos.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        usual = [FORMATS[form].file_name for form in DEFAULT_FORMATS]
        found = [folder / name for name in usual if (folder / name).is_file()]
        if not found:
            raise JmposeError(f"{path}: holds no {' and no '.join(usual)}", hint="name the pose file itself")
        path = found[0]
    data = read_json(path) if is_json(path) else None
    records = poses_in(path, data)
    rows = in_order(records)
    written = known_set(records.joints) or unknown_set(path, records, data)
    is_there: Bools = np.asarray(records.present.any(0) | (not records.present.any()))
    keypoints = written if is_there.all() else _part_of(written, is_there)
    columns = _columns(records, data, is_there)
    frames = tuple(_frames(records, rows, columns))
    info, video = described(path, data, rows)
    clip = ClipPoses(frames, keypoints, video, info, written if keypoints != written else None)
    table = folder / FORMATS["csv"].file_name
    is_ours = path.name in [form.file_name for form in FORMATS.values()]
    if not is_ours or not table.is_file() or not np.isnan(columns["box_scores"]).all():
        return clip
    return _with_box_scores(clip, table)


def write_clip(
    folder: Path | str,
    clip: ClipPoses,
    *,
    formats: Sequence[str] = DEFAULT_FORMATS,
    info: dict[str, Any] | None = None,
) -> list[str]:
    """Write pose files into a folder, under the names that `jmpose infer` gives them; what stands there is replaced.

    Args:
        folder: Made where it is missing.
        clip: The poses. `dataclasses.replace(clip, frames=...)` gives a clip with others.
        formats: Which files.
        info: In place of `clip.info`.

    Returns:
        Sentences about what a format could not hold.

    Raises:
        JmposeError: A format is not known; a value is missing or not finite; people have no track ids; a file cannot be
            written. No file is left then.
    """
    folder = Path(folder)
    names = tuple(dict.fromkeys(formats))
    unknown = [form for form in names if form not in FORMATS]
    if unknown:
        raise JmposeError(f"there is no format {unknown[0]!r}", hint=f"allowed: {', '.join(FORMATS)}")
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    smoothed = any(poses.xy_raw_image is not None for poses in clip.frames)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                open_writer(
                    form,
                    folder,
                    clip.video,
                    clip.keypoints,
                    info=clip.info if info is None else info,
                    smoothed=smoothed,
                    written=clip.written,
                )
            )
            for form in names
        ]
        for poses in clip.frames:
            _check_ids(poses, clip.video.name)
            for writer in writers:
                writer.write(poses)
    return [note for writer in writers for note in writer.notes]


def to_records(poses: FramePoses | Iterable[FramePoses], keypoints: KeypointSet) -> list[dict[str, float]]:
    """Lay poses out as flat records, one a person and frame, which `pandas.DataFrame` takes as they are.

    Args:
        poses: One frame, or any number of them.
        keypoints: Their joints.

    Returns:
        Dictionaries with the columns of the CSV table: `frame_index, time_s, track_id, person_score, box_x, box_y,
        box_w, box_h, box_score, box_observed`, then `<joint>_x, <joint>_y, <joint>_score` of each joint, and
        `<joint>_x_raw, <joint>_y_raw` where the poses were smoothed. Coordinates are image pixels.
    """
    frames = [poses] if isinstance(poses, FramePoses) else poses
    joints = joint_columns(keypoints.joints, with_raw=False)
    raw_joints = joint_columns(keypoints.joints, with_raw=True)[len(joints) :]
    return [record for frame in frames for record in _records_of(frame, joints, raw_joints)]


def _records_of(poses: FramePoses, joints: list[str], raw_joints: list[str]) -> Iterator[dict[str, float]]:
    people, count = poses.people, len(poses)
    values = np.concatenate([poses.xy_image, poses.scores[..., None]], 2).reshape(count, len(joints)).tolist()
    corners = people.boxes_xyxy_px
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
    raw = [] if poses.xy_raw_image is None else poses.xy_raw_image.reshape(count, len(raw_joints)).tolist()
    columns = {
        "track_id": people.track_ids,
        "person_score": poses.person_scores,
        **dict(zip(("box_x", "box_y", "box_w", "box_h"), boxes.T, strict=True)),
        "box_score": people.scores,
        "box_observed": people.observed,
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    for place, row in enumerate(rows):
        yield {
            "frame_index": people.index,
            "time_s": people.time_s,
            **dict(zip(columns, row, strict=True)),
            **dict(zip(joints, values[place], strict=True)),
            **(dict(zip(raw_joints, raw[place], strict=True)) if raw else {}),
        }


def _columns(records: PoseRecords, data: Any, is_there: Bools) -> dict[str, np.ndarray]:
    """Give what frames hold of each person, one row a person of the file."""
    joints = int(is_there.sum())
    xy = np.where(records.present[..., None], records.xy, np.nan)[:, is_there]
    columns = {
        "boxes": records.boxes_xyxy_px,
        "ids": records.track_ids,
        "person_scores": records.person_scores,
        "xy": xy,
        "scores": np.where(records.present, records.scores, np.nan)[:, is_there],
        "observed": np.ones(len(records), bool),
        "box_scores": np.full(len(records), np.nan),
    }
    if records.kind == "coco":
        table = JsonTable(records.path, "annotations", data["annotations"])
        columns["observed"] = table.flags("box_observed", default=True)
        columns["box_scores"] = table.numbers("box_score")
        size = len(records.joints)
        raw = raw_joints(table, size, records.extra_joints)
        if raw is not None:
            columns["raw"] = np.where(np.isnan(xy), np.nan, raw[:, is_there]).reshape(-1, joints, 2)
        covariances = optional_lists(table, "covariance", 3 * size, "xx, xy, yy of each joint")
        if covariances is not None:
            columns["covariances"] = covariances.reshape(-1, size, 3)[:, is_there]
        probabilities = optional_lists(table, "keypoint_probabilities", size, "one for each joint")
        if probabilities is not None:
            columns["probabilities"] = probabilities[:, is_there]
    return columns


def optional_lists(table: JsonTable, name: str, length: int, meaning: str) -> Doubles | None:
    """Return lists that some person has, `[N, length]`, zeros for those who have not; None where nobody has one."""
    if not any(name in record for record in table.records):
        return None
    return np.nan_to_num(table.number_lists(name, length, meaning, required=False))


def raw_joints(table: JsonTable, joints: int, extra: int) -> Doubles | None:
    """Return joints before smoothing, `[N, K, 2]`, the last `extra` of them from a field of their own."""
    lists = [
        optional_lists(table, name, 3 * count, f"x, y, v of {count} joints")
        for name, count in (("keypoints_raw", joints - extra), ("extra_keypoints_raw", extra))
        if count
    ]
    if any(part is None for part in lists):
        return None
    return np.concatenate([part.reshape(len(table), -1, 3)[..., :2] for part in lists if part is not None], 1)


def _frames(
    records: PoseRecords, rows: Sequence[tuple[int, int, ImageRecord]], columns: dict[str, np.ndarray]
) -> Iterator[FramePoses]:
    by_image = np.argsort(records.image_row, kind="stable")
    starts = np.searchsorted(records.image_row[by_image], np.arange(len(records.images) + 1))
    fps = frames_per_second(rows)
    for index, place, image in rows:
        own = by_image[starts[place] : starts[place + 1]]

        def floats(name: str, own: np.ndarray = own) -> Float:
            return np.asarray(columns[name][own], np.float32)

        people = TrackedFrame(
            index=index,
            time_s=index / fps if image.time_s is None else image.time_s,
            boxes_xyxy_px=floats("boxes"),
            scores=floats("box_scores"),
            track_ids=columns["ids"][own],
            observed=columns["observed"][own],
        )
        raw, covariances, probabilities = (
            floats(name) if name in columns else None for name in ("raw", "covariances", "probabilities")
        )
        poses = FramePoses(people, floats("xy"), floats("scores"), floats("person_scores"), raw)
        yield replace(poses, covariances=covariances, probabilities=probabilities)


def unknown_set(path: Path, records: PoseRecords, data: Any) -> KeypointSet:
    """Make a keypoint set of what a file says of its joints; no file holds sigmas."""
    categories = data.get("categories") if isinstance(data, dict) else None
    named = [entry for entry in categories or [] if isinstance(entry, dict) and entry.get("keypoints")]
    pairs = [*_listed(named[0].get("skeleton")), *_listed(named[0].get("extra_skeleton"))] if named else []
    count = len(records.joints)
    skeleton = [
        (records.joints[pair[0] - 1], records.joints[pair[1] - 1])
        for pair in pairs
        if isinstance(pair, list) and len(pair) == 2 and all(0 < positive_int(end) <= count for end in pair)
    ]
    return KeypointSet(path.stem, records.joints, tuple(skeleton), (math.nan,) * count)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _part_of(whole: KeypointSet, is_there: Bools) -> KeypointSet:
    """Leave joints out of a keypoint set."""
    kept = {joint for joint, there in zip(whole.joints, is_there.tolist(), strict=True) if there}
    return replace(
        whole,
        name=f"part of {whole.name}",
        joints=tuple(joint for joint in whole.joints if joint in kept),
        skeleton=tuple(pair for pair in whole.skeleton if kept.issuperset(pair)),
        sigmas=tuple(np.array(whole.sigmas)[is_there].tolist()),
        synonyms=tuple(pair for pair in whole.synonyms if pair[0] in kept),
    )


def _with_box_scores(clip: ClipPoses, table: Path) -> ClipPoses:
    """Take box scores from the CSV table of the same video."""
    try:
        with table.open(newline="", encoding="utf-8") as file:
            scores = {
                (int(r["frame_index"]), int(r["track_id"])): float(r["box_score"] or "nan")
                for r in csv.DictReader(file)
            }
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise JmposeError(
            f"{table}: is not the table of a run ({error})", hint="move it away to read without it"
        ) from error

    def scored(poses: FramePoses) -> FramePoses:
        people = poses.people
        found = [scores.get((people.index, track), math.nan) for track in people.track_ids.tolist()]
        return replace(poses, people=replace(people, scores=np.array(found, np.float32)))

    return replace(clip, frames=tuple(map(scored, clip.frames)))


def _check_ids(poses: FramePoses, video: str) -> None:
    ids = poses.people.track_ids
    if (ids < 0).any() or len(np.unique(ids)) < len(ids):
        raise JmposeError(
            f"{video}, frame {poses.people.index}: people without track ids, or two with one",
            hint="give each its own id",
        )
