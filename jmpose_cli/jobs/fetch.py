"""Inputs that do not lie on a disk: decoders need files, so a worker fetches a copy first."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from jmpose_cli.errors import JmposeError
from jmpose_cli.files import explain_os_errors
from jmpose_cli.jobs.task import ClipTask


@contextmanager
def local_copy(task: ClipTask) -> Iterator[ClipTask]:
    """Give the task with a local path; a fetched copy lies in its work folder and is gone at the end.

    Raises:
        JmposeError: The URL cannot be read, or the copy cannot be written.
    """
    if not task.url:
        yield task
        return
    import fsspec

    target = task.work / "input" / task.path.name
    with explain_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        try:
            filesystem, path = fsspec.core.url_to_fs(task.url)
            filesystem.get_file(path, str(target))
        except Exception as error:  # each protocol has errors of its own
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise JmposeError(
                f"{task.url}: cannot be fetched ({reason})", hint="check the address and the access rights"
            ) from error
        yield replace(task, path=target)
    finally:
        target.unlink(missing_ok=True)
