"""Repositories of the Hugging Face Hub: the one file that asks the Hub.

huggingface_hub says what a repository holds, at which revision and with which checksums. The files are fetched as all
others are: its own downloads start again after an interruption and are not compared with the checksum.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from jmpose.plain_files import read_json
from jmpose.regular_file import read_regular
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import write_whole
from jmpose_cli.zoo.catalogue import KIND_NAMES, HubRepo, Kind
from jmpose_cli.zoo.download import Progress, download

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
SUMS = "SHA256SUMS"  # `sha256sum -c` reads it too
MODEL_TYPES: dict[Kind, tuple[str, ...]] = {
    "pose": ("vitpose",),
    "detector": ("rt_detr", "rt_detr_v2", "d_fine"),
    "reid": (),
}
_WANTED = ("preprocessor_config.json", "*.safetensors", "*.safetensors.index.json")  # no pickles, no code
_TIMEOUT_S = 15.0


def is_offline() -> bool:
    """Whether the environment forbids the network, as huggingface_hub reads it."""
    asked = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return asked.upper() in {"1", "ON", "YES", "TRUE"}


def is_complete(folder: Path) -> bool:
    """Whether a folder holds a configuration and all the weights that go with it."""
    if not (folder / CONFIG).is_file():
        return False
    if (folder / WEIGHTS).is_file():
        return True
    try:
        shards = set(map(str, read_json(folder / INDEX)["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return all(_is_name(shard) and (folder / shard).is_file() for shard in shards)


def fetch(place: HubRepo, folder: Path, *, kind: Kind, progress: Progress | None = None) -> None:
    """Bring a repository's configuration and weights into `folder`, verified; an interrupted download is resumed.

    Args:
        place: The repository.
        folder: Where the files go, as they are called there.
        kind: What it must hold; looked at before the weights are fetched.
        progress: As for `download`.

    Raises:
        JmposeError: No connection, no such repository or revision, no access, another kind of model, another checksum,
            no space.
    """
    from huggingface_hub import get_token, hf_hub_url

    about = _ask(place, folder)
    sums = {file.rfilename: file.lfs.sha256 if file.lfs else "" for file in about.siblings or ()}
    if place.sha256:
        sums[WEIGHTS] = place.sha256
    if CONFIG not in sums:
        raise JmposeError(f"{place.repo} has no {CONFIG}", hint="name a model in the form of transformers")
    wanted = [name for name in sums if _is_name(name) and any(fnmatch(name, pattern) for pattern in _WANTED)]
    # The configuration comes first: it is small, and says whether the rest is worth the time.
    for name in (CONFIG, *wanted):
        url = hf_hub_url(place.repo, name, revision=about.sha, endpoint=_endpoint())
        download(url, folder / name, sha256=sums[name], progress=progress, token=get_token())
        if name == CONFIG:
            _check_kind(place, folder / name, kind)
    if not is_complete(folder):
        raise JmposeError(f"{place.repo} holds no {WEIGHTS}", hint="only safetensors are read, no pickles")
    known = [f"{digest}  {name}\n" for name, digest in sums.items() if digest and name in wanted]
    write_whole(folder / SUMS, "".join(known).encode())


def _is_name(text: str) -> bool:
    """Tell a file's name from a path, which might lead out of the folder."""
    return Path(text).name == text and "\\" not in text


def by_hand(place: HubRepo, folder: Path) -> str:
    """Say where a repository's files are to be had and where to put them."""
    page = f"https://huggingface.co/{place.repo}/tree/{place.revision or 'main'}"
    return f"fetch {CONFIG} and {WEIGHTS} from {page} and put them into {folder}"


def recorded_sha256(file: Path) -> str:
    """Return the checksum that the Hub named when it gave a file; empty when the file was put there by hand."""
    try:
        lines = read_regular(file.parent / SUMS).decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    return next((line.partition("  ")[0] for line in lines if line.partition("  ")[2] == file.name), "")


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _ask(place: HubRepo, folder: Path) -> Any:
    """Ask the Hub for a repository's files and revision."""
    from huggingface_hub import HfApi, constants, errors

    constants.HF_HUB_DISABLE_TELEMETRY = True  # else it also tells the Hub what this machine has, and asks for more
    hub = HfApi(endpoint=_endpoint(), library_name="jmpose")
    try:
        with _silence():
            return hub.model_info(place.repo, revision=place.revision, files_metadata=True, timeout=_TIMEOUT_S)
    except Exception as error:  # besides its own, those of an HTTP library that changes with its version
        if isinstance(error, errors.GatedRepoError):
            message, hint = "asks for an agreement", "accept it on its page and log in with `hf auth login`"
        elif isinstance(error, errors.RepositoryNotFoundError):
            message = "is no repository of the Hub, or a private one"
            hint = "check the name, or log in with `hf auth login`"
        elif isinstance(error, errors.RevisionNotFoundError):
            message, hint = f"has no revision {place.revision}", by_hand(place, folder)
        elif isinstance(error, errors.HFValidationError):
            message, hint = "is no id of the Hub", "write it as owner/name"
        else:
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            message, hint = (
                f"cannot be fetched from the Hub: {reason}",
                f"check the connection, or {by_hand(place, folder)}",
            )
        raise JmposeError(f"{place.repo} {message}", hint=hint) from error


@contextmanager
def _silence() -> Iterator[None]:
    """Keep huggingface_hub's warnings to itself: failures are raised here."""
    from huggingface_hub.utils.logging import get_verbosity, set_verbosity

    level = get_verbosity()
    set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        set_verbosity(level)


def _check_kind(place: HubRepo, config: Path, kind: Kind) -> None:
    try:
        model_type = read_json(config).get("model_type")
    except (OSError, ValueError, AttributeError):
        model_type = None
    if model_type not in MODEL_TYPES[kind]:
        what = KIND_NAMES[kind]
        raise JmposeError(
            f"{place.repo} is no {what} that jmpose can run (model_type {model_type!r})",
            hint=f"model_type of a {what}: {', '.join(MODEL_TYPES[kind])}",
        )
