"""Runs are kept away from a clip while it is corrected."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jmpose_cli.clips.layout import STATE_FOLDER, replacing_mark
from jmpose_cli.errors import JmposeError
from jmpose_cli.runs.claims import Claims
from jmpose_cli.runs.plan import work_folder, work_key


@contextmanager
def kept_from_runs(folder: Path) -> Iterator[None]:
    """Keep runs of `jmpose infer` away from a clip inside the block.

    Raises:
        JmposeError: One works on it, or was stopped while it replaced its files.
    """
    place = folder.resolve()
    out = next((above for above in place.parents if (above / STATE_FOLDER / "claims").is_dir()), None)
    if out is None:
        yield
        return
    name = place.relative_to(out).as_posix()
    with Claims(out / STATE_FOLDER / "claims") as claims:
        holder = claims.take(work_key(name))
        if holder is not None:
            raise JmposeError(
                f"{folder}: another jmpose works on it ({holder})", hint="wait until it is done, or end it"
            )
        if replacing_mark(work_folder(out, name)).exists():
            hint = "finish it first: the same `jmpose infer` command resumes it"
            raise JmposeError(f"{folder}: a run was stopped while it replaced the files", hint=hint)
        yield
