"""Inputs that are on no disk: decoders need files, so a worker fetches a copy first."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from jmpose_cli.annotate.task import ClipTask, Watcher
from jmpose_cli.config import RunConfig
from jmpose_cli.files import explain_os_errors
from jmpose_cli.runs.folder_names import safe_name
from jmpose_cli.runs.storage import Storage


@contextmanager
def local_copy(task: ClipTask, run: RunConfig, watcher: Watcher) -> Iterator[ClipTask]:
    """Yield the task with a local path; a fetched copy lies in its work folder and is removed at the end.

    Args:
        task: The video.
        run: The limits on time and size.
        watcher: Whoever may ask to stop.

    Raises:
        JmposeError: The URL cannot be read, or the copy cannot be written.
        StoppedError: As asked by the watcher.
    """
    if not task.url:
        yield task
        return
    target = task.work / "input" / safe_name(task.path.name)
    with explain_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with Storage(silence_s=run.fetch_timeout_s, is_stopped=watcher.stop.is_set) as storage:
            storage.fetch(task.url, target, most_bytes=run.fetch_limit_gb * 1e9)
        yield replace(task, path=target)
    finally:
        target.unlink(missing_ok=True)
