"""The example programs run."""

import runpy
import sys

import pytest

from jmpose_cli import read_clip
from tests.conftest import ROOT
from tests.runs.batch_assets import street_video


@pytest.fixture
def run(monkeypatch, capsys):
    """`run(name, *arguments)` runs an example in this process and returns what it prints."""

    def program(name: str, *arguments: object) -> str:
        path = str(ROOT / "examples" / name)
        monkeypatch.setattr(sys, "argv", [path, *map(str, arguments)])
        runpy.run_path(path, run_name="__main__")
        return capsys.readouterr().out

    return program


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return street_video(tmp_path_factory.mktemp("videos") / "walk.mp4", first=0, frames=12)


def test_annotate(run, video):
    lines = run("annotate.py", video, "--model", "nano", "--frames", "0:2").splitlines()
    assert sum(" people" in line for line in lines) == 2
    assert any("score" in line for line in lines)


def test_own_boxes(run, video, tmp_path):
    said = run("own_boxes.py", video, tmp_path / "out")
    clip = read_clip(tmp_path / "out")
    people = sum(map(len, clip.frames))
    assert (len(clip.frames), clip.video.name) == (12, "walk") and people > 0
    assert said.startswith(f"{people} poses in 12 frames")


def test_network(run):
    lines = run("network.py").splitlines()
    assert "million parameters" in lines[0] and len(lines) == 1 + 19
