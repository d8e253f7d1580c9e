"""`run.json`: how the files of a clip were made, and what each was like when it was."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from jmpose.files import file_sha256
from jmpose.keypoints import KeypointSet
from jmpose_cli.clips.layout import RUN_FILE, TRUTH_FILE
from jmpose_cli.config import InferConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import write_whole
from jmpose_cli.formats.json_file import read_json
from jmpose_cli.formats.keypoint_mapping import derived_joints, present_joints
from jmpose_cli.people.stitch import Join
from jmpose_cli.text import to_json
from jmpose_cli.video.content import check_unchanged

FileFacts = tuple[int, str]
"""Size in bytes and sha256."""


@dataclass(frozen=True)
class RunRecord:
    """What stands in `run.json`.

    Attributes:
        path: The file.
        values: All of it.
        config: Its settings.
        input: The video, as an absolute path or an address.
        files: What each file was like when it was written; empty in those of older versions.
    """

    path: Path
    values: dict[str, Any]
    config: InferConfig
    input: str
    files: dict[str, FileFacts]

    def video(self, given: Path | None = None, *, otherwise: str = "") -> Path:
        """Return where the video lies.

        Args:
            given: What the user names instead; its content is taken as right.
            otherwise: What else can be done, for the message.

        Raises:
            JmposeError: It is not there, or its content is not what it was.
        """
        path = Path(self.input) if given is None else given
        if not path.exists():
            raise JmposeError(
                f"{path}: the video is not there", hint=f"say where it lies now with --video FILE{otherwise}"
            )
        if given is None:
            hint = f"put it back, or name the right one with --video FILE; this one, where it is right{otherwise}"
            check_unchanged(path, self.values, hint=hint)
        return path

    def is_current(self, name: str) -> bool:
        """Whether a file is as it was when it was written, and the truth that it derives from too."""
        folder = self.path.parent
        return all(is_as_written(folder / one, self.files.get(one)) for one in (name, TRUTH_FILE))


def file_facts(path: Path) -> FileFacts:
    """Give a file's size in bytes and its sha256."""
    return path.stat().st_size, file_sha256(path)


def is_as_written(path: Path, facts: FileFacts | list[Any] | None) -> bool:
    """Whether a file is there and has the size and content that were noted of it."""
    try:
        return facts is not None and os.stat(path).st_size == facts[0] and file_sha256(path) == facts[1]
    except OSError:
        return False


def keypoints_record(given: KeypointSet, written: KeypointSet | None) -> dict[str, Any]:
    """Describe the model's keypoint set and what becomes of it in the files that have another one."""
    if written is None:
        return {"model": given.name}
    present = present_joints(given, written)
    absent = [joint for joint, there in zip(written.joints, present, strict=True) if not there]
    return {"model": given.name, "written": written.name, "derived": derived_joints(given, written), "absent": absent}


def read_run(folder: Path) -> RunRecord:
    """Read how the files of a clip were made.

    Raises:
        JmposeError: There is no `run.json`, or it is damaged.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        raise JmposeError(f"{folder}: holds no {RUN_FILE}", hint="name a folder that `jmpose infer` has left")
    values = read_json(path)
    hint = "the file was changed or is damaged; `jmpose infer --overwrite` makes all anew"
    if not isinstance(values, dict) or not isinstance(values.get("input"), str):
        raise JmposeError(f"{path}: says nothing of the video", hint=hint)
    try:
        config = InferConfig.model_validate(values.get("config") or {})
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise JmposeError(f"{path}: config.{where} is not a setting of this version", hint=hint) from error
    return RunRecord(path, values, config, values["input"], _facts(values.get("files")))


def recorded_files(folder: Path) -> dict[str, FileFacts] | None:
    """Return what the files of a clip were like when they were written; None where nothing tells."""
    try:
        return read_run(folder).files or None
    except (JmposeError, OSError):
        return None


def recorded_joins(folder: Path) -> tuple[Join, ...]:
    """Return which tracks of a clip were taken to be one person; none where nothing tells."""
    try:
        identities = read_run(folder).values.get("identities")
        given = identities.get("joins") if isinstance(identities, dict) else ()
        return TypeAdapter(tuple[Join, ...]).validate_python(given)
    except (JmposeError, OSError, ValidationError):
        return ()


def write_record(record: RunRecord, changes: dict[str, Any]) -> None:
    """Write `run.json` with some of its values changed.

    Raises:
        JmposeError: It cannot be written; what stood there is as it was.
    """
    write_whole(record.path, to_json(record.values | changes, indent=True) + b"\n")


def _facts(values: Any) -> dict[str, FileFacts]:
    given = values if isinstance(values, dict) else {}
    return {
        name: (facts[0], facts[1])
        for name, facts in given.items()
        if isinstance(facts, list) and [type(fact) for fact in facts] == [int, str]
    }
