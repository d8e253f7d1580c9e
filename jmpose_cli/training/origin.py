"""Where the settings of a run come from: a configuration for a new run, its own folder for one that is resumed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from jmpose_cli.config import load_settings, read_yaml
from jmpose_cli.errors import JmposeError
from jmpose_cli.training.config import TrainConfig, config_file, decisive_settings, flat, is_upkeep

SETTINGS, ABOUT = "config.yaml", "run.json"
_KEY = "configuration"
_SHOWN = 3  # differing settings that a message lists


@dataclass(frozen=True)
class Origin:
    """The settings of a run and where they come from.

    Attributes:
        config: The settings.
        name: The configuration that the run was started with.
        given: What that said by itself, without options, flat; None when a folder does not say.
        said: One line for the user.
    """

    config: TrainConfig
    name: str
    given: Mapping[str, Any] | None
    said: str

    def as_json(self) -> dict[str, Any]:
        """Return what a resumed run compares with, by its key in `run.json`."""
        return {_KEY: {"name": self.name, "settings": self.given}}


def new_settings(name: str, assignments: Sequence[str], options: Mapping[str, Any]) -> Origin:
    """Settings of a new run; see `load_train_config` for arguments and errors."""
    path = config_file(name)
    config = load_settings(TrainConfig, file=path, assignments=assignments, options=options)
    return Origin(config, name, _given(path), f"{name}{_changed(assignments, options)}")


def resumed_settings(folder: Path, name: str, assignments: Sequence[str], options: Mapping[str, Any]) -> Origin:
    """Settings of a run that is resumed: those in its folder.

    What decides the result stays. What only decides speed, upkeep or where the data lie may be changed by options, or
    in the configuration when it is named again.

    Args:
        folder: The run folder.
        name: The configuration, or "" to go by the folder alone.
        assignments: `a.b=c` strings.
        options: Dotted key to value; None values were not given.

    Raises:
        JmposeError: There is no run, its settings cannot be read, or something decisive would change.
    """
    path = folder / SETTINGS
    if not path.is_file():
        raise JmposeError(
            f"--resume: {folder} holds no run ({SETTINGS} is not there)", hint="leave out --resume to start one"
        )
    own = load_settings(TrainConfig, file=path, assignments=[], options={})
    recorded_name, recorded = _recorded(folder)
    edited: dict[str, Any] = {}
    if name and recorded is not None:
        edited = _edited(name, recorded)
    # Settings named on the command line come last.
    base = load_settings(TrainConfig, file=path, assignments=[], options=edited)
    changed = _merge(base, assignments, options)
    before, after = decisive_settings(own), decisive_settings(changed)
    differing = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if differing:
        raise JmposeError(
            f"--resume: a run is resumed with its own settings; {_listed(differing, before, after)}",
            hint="leave these options out, or start another run, from these weights with --init "
            f"{folder / 'last.safetensors'}",
        )
    said = f"{path}{_changed([*(f'{key}={value}' for key, value in edited.items()), *assignments], options)}"
    if name and recorded is None:
        said += f"; {name} was not compared, as {ABOUT} does not tell what the run was started with"
    return Origin(changed, recorded_name or name, recorded, said)


def _merge(base: TrainConfig, assignments: Sequence[str], options: Mapping[str, Any]) -> TrainConfig:
    return load_settings(
        TrainConfig, file=None, tree=base.model_dump(mode="json"), assignments=assignments, options=options
    )


def _given(path: Path) -> dict[str, Any]:
    """What a configuration file says, flat and as JSON gives it back."""
    tree = orjson.loads(orjson.dumps(read_yaml(path), option=orjson.OPT_NON_STR_KEYS, default=str))
    return dict(flat(tree))


def _recorded(folder: Path) -> tuple[str, dict[str, Any] | None]:
    """Name and settings of the configuration that a run was started with, as far as its folder tells."""
    try:
        entry = orjson.loads((folder / ABOUT).read_bytes())[_KEY]
        name, given = entry["name"], entry["settings"]
    except (OSError, ValueError, TypeError, LookupError):
        return "", None
    return str(name), given if isinstance(given, dict) else None


def _edited(name: str, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """What was changed in the configuration since the run was started.

    Raises:
        JmposeError: Something that decides the result.
    """
    now = _given(config_file(name))
    differing = [key for key in {**recorded, **now} if recorded.get(key) != now.get(key)]
    decisive = [key for key in differing if not is_upkeep(key)]
    if decisive:
        raise JmposeError(
            f"--resume: {name} is not what the run was started with, or another configuration: "
            f"{_listed(decisive, recorded, now)}",
            hint="leave it out to resume with the run's own settings, or start another run in another --out",
        )
    return {key: now[key] for key in differing if key in now}


def _listed(keys: Sequence[str], before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    listed = ", ".join(f"{key} was {before.get(key)!r}, is {after.get(key)!r}" for key in keys[:_SHOWN])
    return listed + (f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else "")


def _changed(assignments: Sequence[str], options: Mapping[str, Any]) -> str:
    given = [*assignments, *(f"{key}={value}" for key, value in options.items() if value is not None)]
    return f", with {', '.join(given)}" if given else ""
