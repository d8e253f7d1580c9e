"""Write pose files of any known format from the neutral form, without loss of what the format can hold."""

from pathlib import Path

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.records import PoseRecords, check_tracks, need_tracks
from jmpose_cli.handover.convert_joints import lost, with_visibility_of
from jmpose_cli.handover.handover import Handover
from jmpose_cli.handover.targets import TARGETS, Target


def target_of(name: str) -> Target:
    """Find a format by its name.

    Raises:
        JmposeError: There is none of this name.
    """
    if name not in TARGETS:
        raise JmposeError(f"there is no format {name[:80]!r}", hint=f"allowed: {', '.join(TARGETS)}")
    return TARGETS[name]


def write_poses(records: PoseRecords, path: Path, *, to: str, footage: Path | None = None) -> list[str]:
    """Write a file; coordinates, scores and ids stay exactly as they are, and so does the order of people and frames.

    People without track ids become no file of a format that has tracks: made-up tracks would be evaluated as if they
    were meant.

    Args:
        records: What to write.
        path: The file, which is replaced when it exists; a folder for formats of many files, where files of the same
            names are replaced.
        to: The format.
        footage: The video that the records are about, for formats that hold pictures.

    Returns:
        Sentences about what the format does not hold.

    Raises:
        JmposeError: The format is not known, or needs what the records lack; two people of one frame have the same
            track id; the file cannot be written.
    """
    target = target_of(to)
    if not records.joints and to != "mot":
        raise JmposeError(f"{records.path}: without joints", hint="boxes alone can only become mot")
    if "track ids" in target.holds:
        check_tracks(records)
    if target.tracked:
        need_tracks(records, to)
    target.check()
    notes = lost(records, to, target.holds)
    target.write(Handover(with_visibility_of(records, to), path, notes, footage))
    return notes
