"""Packages that only some commands and options need: extras of jmpose, which are installed on demand."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from jmpose_cli.errors import JmposeError

HANDOVER = "handover"
"""Packages of the formats of other tools."""


def check_installed(module: str, *, extra: str, by: str) -> None:
    """Make sure that a package of an extra is there, without loading it.

    Args:
        module: Name under which it is imported.
        extra: What installs it: `pip install 'jmpose[EXTRA]'`.
        by: The command or option that needs it.

    Raises:
        JmposeError: It is not installed.
    """
    if find_spec(module) is None:
        raise JmposeError(f"{by}: {module} is not installed", hint=f"pip install 'jmpose[{extra}]'")


def require(module: str, *, extra: str, by: str) -> ModuleType:
    """Import a package of an extra.

    Args:
        module: As in `check_installed`.
        extra: As in `check_installed`.
        by: As in `check_installed`.

    Raises:
        JmposeError: It is not installed or cannot be loaded.
    """
    check_installed(module, extra=extra, by=by)
    try:
        return import_module(module)
    except ImportError as error:
        raise JmposeError(
            f"{by}: {module} cannot be loaded ({error})", hint=f"pip install --force-reinstall 'jmpose[{extra}]'"
        ) from error
