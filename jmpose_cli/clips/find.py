"""Clips in folders: one that is named, or all below a folder of results."""

from collections.abc import Sequence
from pathlib import Path

from jmpose_cli.clips.layout import STATE_FOLDER, TRUTH_FILE
from jmpose_cli.errors import JmposeError


def find_clips(folders: Sequence[Path]) -> list[Path]:
    """Return the folders of clips, each once, in the order named; those below a folder in the order of their names.

    Args:
        folders: Each of a clip, or with clips below it, as `jmpose infer --out` leaves it.

    Raises:
        JmposeError: A folder is not there, or holds no clip.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            raise JmposeError(f"{folder}: no such folder", hint="name a folder that `jmpose infer` has left")
        clips = [folder] if (folder / TRUTH_FILE).is_file() else sorted(_below(folder))
        if not clips:
            raise JmposeError(
                f"{folder}: holds no {TRUTH_FILE}, nor do folders in it",
                hint="name the folder of a clip, or the --out of `jmpose infer`",
            )
        found.update(dict.fromkeys(clips))
    return list(found)


def _below(folder: Path) -> list[Path]:
    return [file.parent for file in folder.rglob(TRUTH_FILE) if STATE_FOLDER not in file.relative_to(folder).parts]
