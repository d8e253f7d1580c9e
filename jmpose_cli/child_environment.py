"""What processes that jmpose starts of itself are given to start with."""

import os
from pathlib import Path

import jmpose_cli


def child_environment() -> dict[str, str]:
    """Return this process's environment, with the package importable whatever way this process found it."""
    package_root = str(Path(jmpose_cli.__file__).resolve().parents[1])
    inherited = os.environ.get("PYTHONPATH")
    path = package_root if not inherited else os.pathsep.join((package_root, inherited))
    return {**os.environ, "PYTHONPATH": path}
