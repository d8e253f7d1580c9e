"""Where this program and its libraries may keep files, also on machines that give the user no home.

Containers run under any user id, services without `HOME`, and some disks are read-only. The cache is `JMPOSE_CACHE`,
else `~/.cache/jmpose`, else a private folder among the temporary files.
"""

import getpass
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path


def settle() -> None:
    """Give this process and its children a home and a user name where they have none: libraries ask for both."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = f"user-{os.getuid()}"
    if _home() is None:
        os.environ["HOME"] = str(private_folder() or os.sep)


def cache_folder() -> Path:
    """Where downloaded models are kept; it need not exist, and may be read-only where the home is."""
    asked = os.environ.get("JMPOSE_CACHE")
    if asked:
        return Path(os.path.expanduser(asked))
    home = _home()
    usual = (home or Path(os.sep)) / ".cache" / "jmpose"
    if home and (os.path.isdir(usual) or _can_be_made(usual)):
        return usual
    private = private_folder()
    return private / "cache" if private else usual


def is_kept() -> bool:
    """Whether the cache outlives the temporary files."""
    private = private_folder()
    return private is None or private not in cache_folder().parents


def library_folder(name: str) -> Path | None:
    """Make a folder that a library may write to; None where nothing can be written."""
    for place in (cache_folder, private_folder):  # the latter is made only where it is needed
        folder = place()
        with suppress(OSError):
            if folder is not None:
                (folder / name).mkdir(parents=True, exist_ok=True)
                if os.access(folder / name, os.W_OK | os.X_OK):
                    return folder / name
    return None


def private_folder() -> Path | None:
    """A folder among the temporary files that belongs to this user alone; None where there are no temporary files."""
    try:
        return _private_folder(tempfile.gettempdir())
    except OSError:
        return None


@contextmanager
def temporary_files(spare: Path) -> Iterator[None]:
    """Let temporary files of this process and its children go to `spare` where the machine has no place for them."""
    try:
        tempfile.gettempdir()
    except OSError:
        pass
    else:
        yield
        return
    spare.mkdir(parents=True, exist_ok=True)
    before, tempfile.tempdir = os.environ.get("TMPDIR"), str(spare.absolute())
    os.environ["TMPDIR"] = tempfile.tempdir
    try:
        yield
    finally:
        tempfile.tempdir = None
        del os.environ["TMPDIR"]
        if before is not None:
            os.environ["TMPDIR"] = before
        shutil.rmtree(spare, ignore_errors=True)


@cache
def _private_folder(temporary: str) -> Path:
    folder = Path(temporary) / f"jmpose-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    facts = folder.lstat()
    # Anybody may have made it before: what lies in it would be taken for this user's models.
    if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o077:
        return folder
    return Path(tempfile.mkdtemp(prefix="jmpose-", dir=temporary))


def _home() -> Path | None:
    """The user's home; None where it is not known or is no folder."""
    home = os.environ.get("HOME") if "HOME" in os.environ else os.path.expanduser("~")
    return Path(home) if home and os.path.isabs(home) and os.path.isdir(home) else None


def _can_be_made(folder: Path) -> bool:
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    return os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK)
