"""Folders of results: finished, failed, and of a run that was killed half-way."""

import tempfile
from pathlib import Path

from tests.fuzz import seeds
from tests.fuzz.case import Case
from tests.fuzz.harness import Harness
from tests.video_assets import make_video

WORDS = ("infer", "v.mp4", "--workers", "0", "--set", "people.input_size=64", "--frames", "0:40", "--no-overlay")
_ENOUGH_BYTES = 4000  # some frames of the record

_made: list[dict[str | bytes, bytes | None]] = []


def folders() -> list[dict[str | bytes, bytes | None]]:
    """What lies in the folder of each run, its video included."""
    assert _made, "prepare comes first"
    return _made


def prepare(harness: Harness) -> None:
    """Make the folders by running commands in the harness that will run the cases: their paths are in the journals."""
    if _made:
        return
    _made.append(_folder(harness, Case("made", "finished", WORDS, {"v.mp4": seeds.videos()["v.mp4"]})))
    _made.append(_folder(harness, Case("made", "failed", WORDS, {"v.mp4": b"nothing"})))
    slow = (*WORDS, "--set", "run.chunk_frames=1", "--set", "run.chunk_s=0.001")
    killed = _folder(harness, Case("made", "killed", slow, {"v.mp4": _long_video()}), enough=_ENOUGH_BYTES)
    assert any(str(name).endswith("poses.records") for name in killed)
    _made.append(killed)


def _folder(harness: Harness, case: Case, *, enough: int | None = None) -> dict[str | bytes, bytes | None]:
    work = harness.folder / "case" / "work"

    def is_enough() -> bool:
        return any(file.stat().st_size > (enough or 0) for file in work.glob("out/.jmpose/work/*/poses.records"))

    harness.run(case, stop_when=is_enough if enough else None)
    files = [file for file in work.rglob("*") if file.is_file() and file.name != "canary"]
    return {str(file.relative_to(work)): file.read_bytes() for file in files}


def _long_video() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.mp4"
        make_video(path, frames=40, size=seeds.SIZE_WH)
        return path.read_bytes()
