"""Batches from loader processes; a broken sample arrives as the error that it is."""

from collections.abc import Iterator, Sequence

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from jmpose_cli.data.augment import Window
from jmpose_cli.data.mixture import Batch, Draw, WindowSet, stack
from jmpose_cli.errors import JmposeError

Item = tuple[Window, int] | JmposeError


class _Careful(Dataset[Item]):
    """Turns errors into values: across processes an exception would lose its hint and gain a traceback."""

    def __init__(self, windows: WindowSet) -> None:
        self._windows = windows

    def __getitem__(self, draw: Draw) -> Item:
        try:
            return self._windows[draw]
        except JmposeError as error:
            return error


def _stack(items: Sequence[Item]) -> Batch | JmposeError:
    windows = [item for item in items if not isinstance(item, JmposeError)]
    if len(windows) < len(items):
        return next(item for item in items if isinstance(item, JmposeError))
    return stack(windows)


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def batches(windows: WindowSet, draws: Sequence[list[Draw]], *, workers: int, pin: bool) -> Iterator[Batch]:
    """Yield the batches of some draws, in their order.

    Args:
        windows: The people.
        draws: A list of draws a batch.
        workers: Loader processes; 0 loads in this one.
        pin: Use page-locked memory, for a GPU.

    Raises:
        JmposeError: A picture is broken or gone.
    """
    loader: DataLoader[Item] = DataLoader(
        _Careful(windows),
        batch_sampler=draws,
        num_workers=workers,
        collate_fn=_stack,
        worker_init_fn=_one_thread,
        pin_memory=pin,
        # Its own, so that a loader that is started again in mid-epoch leaves torch's random state alone.
        generator=torch.Generator().manual_seed(0),
    )
    for batch in loader:
        if isinstance(batch, JmposeError):
            raise batch
        yield batch
