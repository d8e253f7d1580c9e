"""File names beyond ASCII, and beyond UTF-8, whatever the locale is."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from jmpose_cli.video.source import open_video
from tests.conftest import ROOT
from tests.video_assets import make_video

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NAMES = ("løp 走".encode(), b"camera \xff\xfe 1")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("option", [[], ["-E"]], ids=["plain", "ignoring the environment"])
def test_an_ascii_locale_takes_every_name(name, option, tmp_path):
    given, out = os.fsencode(tmp_path) + b"/" + name + b".json", os.fsencode(tmp_path) + b"/" + name + b".out.json"
    shutil.copy(ROOT / "examples" / "street.posetrack18.json", given)
    code = f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'models')]}; from jmpose_cli.main import run; run()"
    command = [sys.executable, *option, "-c", code, "convert", given, out, "--to", "coco"]
    done = subprocess.run(command, env=os.environ | ASCII, capture_output=True)
    assert done.returncode == 0, done.stderr
    with open(out, "rb") as file:
        assert json.load(file)["annotations"]


def test_a_name_that_is_no_utf8_is_read_and_the_reason_for_the_other_decoder_is_said(tmp_path):
    path = tmp_path / os.fsdecode(NAMES[1] + b".mp4")
    make_video(path, frames=6)
    with open_video(path) as source:
        assert sum(len(batch.index) for batch in source) == 6
    (note,) = source.notes
    assert note == "PyAV takes over from decord at frame 0: decord takes no file whose name is no UTF-8"
