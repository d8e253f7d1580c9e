"""The first page: short, true, and its commands work."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import jmpose_cli
from jmpose_cli.main import app
from tests.conftest import ROOT
from tests.docs.pages import TOLD, blocks, console_lines, links, read
from tests.video_assets import make_video

EXAMPLE = ROOT / "examples"
FRAMES = 2


def project() -> dict:
    return tomllib.loads(read("pyproject.toml"))["project"]


def test_it_is_short():
    assert len(read("README.md").encode()) <= 6000


def test_there_is_one_picture_and_it_is_small():
    pictures = [link for link in links("README.md") if link.endswith((".jpg", ".png"))]
    assert len(pictures) == 1
    data = (ROOT / pictures[0]).read_bytes()
    assert data.startswith(b"\xff\xd8") and len(data) < 120_000


def test_versions_agree():
    newest = re.search(r"^## (\S+) \(\d{4}-\d\d-\d\d\)$", read("CHANGELOG.md"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == project()["version"] == jmpose_cli.__version__


def test_oldest_python_is_the_one_that_is_told():
    oldest = project()["requires-python"].removeprefix(">=")
    for page in ("README.md", "docs/install.md"):
        assert f"Python {oldest} or newer" in read(page)


def test_extras_are_told():
    told = read("docs/install.md").partition("## Extras")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE)) == set(project()["optional-dependencies"])


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder as the README's reader has it, with short videos."""
    folder = tmp_path_factory.mktemp("place")
    for name in ("examples", "clips"):
        (folder / name).mkdir()
    (folder / "examples" / "street.mp4").symlink_to(EXAMPLE / "street.mp4")
    truth = json.loads((EXAMPLE / "street.posetrack18.json").read_text())
    truth["images"] = truth["images"][:FRAMES]
    shown = {image["id"] for image in truth["images"]}
    truth["annotations"] = [one for one in truth["annotations"] if one["image_id"] in shown]
    (folder / "examples" / "street.posetrack18.json").write_text(json.dumps(truth))
    for video in ("match.mp4", "clips/one.mp4"):
        make_video(folder / video, frames=FRAMES)
    return folder


def test_commands_run(place, monkeypatch):
    monkeypatch.chdir(place)
    lines = [line for line in console_lines("README.md") if line.startswith("jmpose ")]
    assert len(lines) == 6
    for line in lines:
        words = shlex.split(line)[1:]
        if words[0] == "infer":
            words += ["--workers", "0", "--frames", f"0:{FRAMES}", "--offline"]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, (line, result.output, result.stderr)
    for name in ("keypoints.coco.json", "posetrack18.json", "overlay.mp4", "run.json"):
        assert f"`{name}`" in read("README.md") and (place / "out/street" / name).is_file()
    assert (place / "results/one/overlay.mp4").is_file()


def test_commands_that_only_print_run():
    lines = [line for page in TOLD for line in console_lines(page)]
    for line in ("jmpose models list", "jmpose models show vitpose-plus-h", "jmpose train --list"):
        assert line in lines
        assert CliRunner().invoke(app, line.split()[1:]).exit_code == 0


def test_the_python_example_runs(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    (code,) = blocks("README.md", "python")
    exec(compile(code, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == FRAMES
