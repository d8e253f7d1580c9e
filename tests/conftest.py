"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real videos and annotated images beside the checkout; skips where it is absent."""
    path = Path(os.environ.get("JMPOSE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not (path / "README.md").is_file():
        pytest.skip(f"real data not found at {path} (set JMPOSE_SHARED_DATA)")
    return path
