"""Folders of results, finished, failed and of a run that was killed half-way; and one of a training run."""

import tempfile
from pathlib import Path

import yaml

from tests.fuzz import seeds
from tests.fuzz.case import Case
from tests.fuzz.harness import Harness
from tests.video_assets import make_video

_COMMAND = ("infer", "v.mp4", "--workers", "0", "--set", "people.input_size=64", "--frames", "0:40")
WORDS = (*_COMMAND, "--no-overlay", "--boxes", "b.txt")
TWO_BOXES = b"1,1,5,5,30,30,1\n2,1,6,5,30,30,1\n"
_ENOUGH_BYTES = 4000  # some frames of a record

Files = dict[str | bytes, bytes | None]
_made: list[Files] = []
_trained: list[Files] = []


def run_folder() -> Files:
    """What lies in the folder of a training run that was killed, below `run`."""
    assert _trained, "prepare comes first"
    return _trained[0]


def folders() -> list[Files]:
    """What lies in the folder of each run, its video included."""
    assert _made, "prepare comes first"
    return _made


def prepare(harness: Harness, kind: str) -> None:
    """Make the folders that a kind needs, in the harness that will run the cases: their paths are in the journals."""
    if kind == "results" and not _made:
        _prepare_results(harness)
    if kind == "resumed" and not _trained:
        _prepare_run(harness)


def _prepare_run(harness: Harness) -> None:
    files: Files = {"t.yaml": yaml.safe_dump(seeds.training()).encode(), **seeds.data_set()}
    case = Case("made", "trained", ("train", "t.yaml", "--out", "run"), files)
    made = _folder(harness, case, enough="run/checkpoints/*.pt")
    _trained.append(
        {name: data for name, data in made.items() if str(name).startswith("run/") and "/tensor" not in str(name)}
    )
    assert any(str(name).endswith(".pt") for name in _trained[0]) and "run/config.yaml" in _trained[0]


def _prepare_results(harness: Harness) -> None:
    _made.append(
        _folder(harness, Case("made", "finished", WORDS, {"v.mp4": seeds.videos()["v.mp4"], "b.txt": TWO_BOXES}))
    )
    _made.append(_folder(harness, Case("made", "failed", WORDS, {"v.mp4": b"nothing", "b.txt": TWO_BOXES})))
    slow = (*WORDS, "--set", "run.chunk_frames=1", "--set", "run.chunk_s=0.001")
    killed = _folder(
        harness,
        Case("made", "killed", slow, {"v.mp4": _long_video(), "b.txt": TWO_BOXES}),
        enough="out/.jmpose/work/*/poses.records",
    )
    assert any(str(name).endswith("poses.records") for name in killed)
    _made.append(killed)


def _folder(harness: Harness, case: Case, *, enough: str | None = None) -> Files:
    work = harness.folder / "case" / "work"

    def is_enough() -> bool:
        return any(file.stat().st_size > _ENOUGH_BYTES for file in work.glob(enough or ""))

    harness.run(case, stop_when=is_enough if enough else None)
    files = [file for file in work.rglob("*") if file.is_file() and file.name != "canary"]
    return {str(file.relative_to(work)): file.read_bytes() for file in files}


def _long_video() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.mp4"
        make_video(path, frames=40, size=seeds.SIZE_WH)
        return path.read_bytes()
