"""Poses with known content."""

from tests.formats.conftest import make_poses, meta

__all__ = ["make_poses", "meta"]
