"""Checkpoints: all that decides how a run continues, written so that neither a kill nor a full disk damages one."""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from jmpose.torch_files import load_plain
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import explain_os_errors, write_whole
from jmpose_cli.training.config import TrainConfig, decisive_settings
from jmpose_cli.training.precision import Arithmetic

FOLDER = "checkpoints"
_PATTERN = "step-*.pt"
_PRECISION = "precision"
_DATA = "sha256 of "


@dataclass
class Position:
    """How far a run is.

    Attributes:
        epoch: Number of the epoch, from 0.
        batch: Batches of one device that are done in it.
        step: Optimiser steps that are done.
        best: Best validation score so far; None before the first.
        seconds: Spent on the steps; counted where the length of the run is a time.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None
    seconds: float = 0.0

    def check(self) -> None:
        """Raise ValueError where a value is not what it should be."""
        for name in ("epoch", "batch", "step"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ValueError(f"{name} is {str(value)[:40]}")
        if not isinstance(self.seconds, int | float) or not 0 <= self.seconds < float("inf"):
            raise ValueError(f"seconds is {str(self.seconds)[:40]}")
        if self.best is not None and not isinstance(self.best, int | float):
            raise ValueError(f"best is {str(self.best)[:40]}")


def checkpoint_files(folder: Path) -> list[Path]:
    """List the complete checkpoints of a run folder, the newest last."""
    return sorted((folder / FOLDER).glob(_PATTERN))


class Checkpoints:
    """The checkpoints of one run folder, the last few of which are kept.

    Args:
        folder: The run folder.
        config: Settings of the run; a checkpoint of other ones is refused.
        arithmetic: What the run computes in; one that may differ is noted where it does.
        checksums: Of the annotation files, which must be the same too.
        keep: How many are kept.

    Attributes:
        notes: What was found on the way that the user should know.
    """

    def __init__(
        self,
        folder: Path,
        config: TrainConfig,
        arithmetic: Arithmetic,
        *,
        checksums: Mapping[str, str],
        keep: int,
    ) -> None:
        self._arithmetic, self.notes = arithmetic, list[str]()
        self._run_folder, self._folder, self._keep = folder, folder / FOLDER, keep
        self._settings = decisive_settings(config) | {f"{_DATA}{name}": s for name, s in checksums.items()}
        self._settings[_PRECISION] = arithmetic.name

    def files(self) -> list[Path]:
        """Complete checkpoints, the newest last."""
        return checkpoint_files(self._run_folder)

    def save(self, position: Position, stateful: Mapping[str, Any]) -> Path:
        """Write a checkpoint, then remove the oldest ones.

        Raises:
            JmposeError: It cannot be written; the ones before are untouched.
        """
        state = {name: holder.state_dict() for name, holder in stateful.items()}
        state |= {"position": asdict(position), "settings": self._settings, "random": _random_state()}
        buffer = io.BytesIO()
        torch.save(state, buffer)
        # Two numbers: an epoch's end may be saved at the step of its last batch.
        path = self._folder / f"step-{position.step:09d}-{position.epoch:05d}.pt"
        with explain_os_errors(path):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, buffer.getvalue())
            for old in self.files()[: -self._keep]:
                old.unlink(missing_ok=True)
        return path

    def restore(self, stateful: Mapping[str, Any]) -> Position:
        """Load the newest checkpoint; a run without one starts at the beginning.

        Raises:
            JmposeError: It is damaged or of other settings.
        """
        files = self.files()
        if not files:
            return Position()
        path = files[-1]
        try:
            state = load_plain(path)
            settings, position = dict(state["settings"]), Position(**state["position"])
            position.check()
        except Exception as error:  # damaged pickles fail in every way there is
            raise _damaged(path, error) from error
        self._check_settings(path, settings)
        try:
            for name, holder in stateful.items():
                holder.load_state_dict(state[name])
            _set_random_state(state["random"])
        except Exception as error:  # torch's classes and Lightning's differ in how they say that something is missing
            raise _damaged(path, error) from error
        return position

    def _check_settings(self, path: Path, stored: dict[str, Any]) -> None:
        differing = [key for key in {**stored, **self._settings} if stored.get(key) != self._settings.get(key)]
        if _checksums(stored) == _checksums(self._settings):  # the same files, wherever they lie now
            differing = [key for key in differing if not key.startswith(_DATA)]
        if self._arithmetic.may_differ and _PRECISION in differing:
            differing.remove(_PRECISION)
            because = f": {self._arithmetic.reason}" if self._arithmetic.reason else ""
            self.notes.append(f"was trained in {stored.get(_PRECISION)}, continues in {self._arithmetic.name}{because}")
        if differing:
            listed = ", ".join(
                f"{key} was {stored.get(key)!r}, is {self._settings.get(key)!r}" for key in differing[:3]
            )
            more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            raise JmposeError(
                f"{path} is a checkpoint of another configuration: {listed}{more}",
                hint="resume with the same settings and data, or start afresh in another --out",
            )


def _checksums(settings: Mapping[str, Any]) -> list[str]:
    return sorted(str(value) for key, value in settings.items() if key.startswith(_DATA))


def _damaged(path: Path, error: Exception) -> JmposeError:
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return JmposeError(
        f"{path}: the checkpoint is damaged ({reason})", hint="remove it; the run resumes from the one before"
    )


def _random_state() -> dict[str, Any]:
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": devices}


def _set_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
