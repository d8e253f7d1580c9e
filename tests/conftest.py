"""Fixtures shared by all tests."""

import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]

# One thread in each of several processes, before torch, OpenCV and NumPy choose for themselves; child processes inherit
# it. Small networks gain nothing from more, and threads of several processes on the same cores wait for one another.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
    os.environ.setdefault(_name, "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real videos and annotated images beside the checkout; skips where it is absent."""
    path = Path(os.environ.get("JMPOSE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not (path / "README.md").is_file():
        pytest.skip(f"real data not found at {path} (set JMPOSE_SHARED_DATA)")
    return path


@pytest.fixture
def children() -> Callable[[], list[psutil.Process]]:
    """A function that gives the living processes that began below this one since the test did.

    What ran before may have left one for all tests, such as Python's resource tracker.
    """
    before = set(psutil.Process().children(recursive=True))
    return lambda: [found for found in psutil.Process().children(recursive=True) if found not in before]
