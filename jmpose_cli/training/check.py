"""Reading every picture once before a long run."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jmpose_cli.data.samples import Source
from jmpose_cli.errors import JmposeError
from jmpose_cli.training.display import Display
from jmpose_cli.training.sources import TrainingData
from jmpose_cli.video.image_folder import read_image

_SHOWN = 10


def read_all_pictures(data: TrainingData, display: Display) -> None:
    """Decode every picture that training or validation may use.

    Raises:
        JmposeError: Some are broken; up to ten are named.
    """
    sources: list[Source] = [*data.train.sources]
    sources += [source for chosen in data.validation for source in chosen.sources]
    paths = list(dict.fromkeys(path for source in sources for path in source.pictures()))
    broken: list[str] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool, display.validation("pictures", len(paths)) as progress:
        for fault in pool.map(_fault, paths):
            progress.advance()
            broken += fault
    if broken:
        raise JmposeError(
            f"{len(broken)} of {len(paths)} pictures cannot be read: {_listed(broken)}",
            hint="copy them again, or remove their annotations",
        )
    display.note(f"all {len(paths)} pictures can be read")


def _fault(path: Path) -> Sequence[str]:
    try:
        read_image(path)
    except JmposeError as error:
        return [error.message]
    return []


def _listed(faults: Iterable[str]) -> str:
    known = list(faults)
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return ", ".join(known[:_SHOWN]) + more
