"""Files made anew of the truth: those that `infer` writes, to the byte, without a network."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from jmpose_cli.clips.find import find_clips
from jmpose_cli.clips.layout import OVERLAY_FILE, RUN_FILE, TRUTH_FILE
from jmpose_cli.clips.render import refresh, render, with_output
from jmpose_cli.clips.run_record import read_run
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.truth import read_truth, write_truth
from jmpose_cli.main import app
from tests.conftest import ROOT

CLIP = ROOT / "examples" / "street.mp4"
COMMAND = ("infer", str(CLIP), "--frames", "3:9", "--workers", "0", "--quiet", "--format", "coco,posetrack18,csv")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Results of six frames, with every file."""
    folder = tmp_path_factory.mktemp("results")
    assert CliRunner().invoke(app, [*COMMAND, "--out", str(folder)]).exit_code == 0
    return folder


@pytest.fixture
def clip(out, tmp_path):
    shutil.copytree(out, tmp_path / "out")
    return tmp_path / "out" / "street"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_rendered_is_what_infer_wrote_to_the_byte(clip):
    before = contents(clip)
    for name in ("posetrack18.json", "keypoints.csv", OVERLAY_FILE):
        (clip / name).unlink()
    assert render(clip, read_run(clip).config.output) == []
    assert contents(clip) == before


def test_no_network_is_loaded(clip):
    code = (
        "import sys; from jmpose_cli.main import app\n"
        "try: app()\n"
        "except SystemExit as ended: print(ended.code, *(m for m in ('torch', 'ultralytics') if m in sys.modules))"
    )
    words = [sys.executable, "-c", code, "render", str(clip), "--labels", "both", "-q"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "0\n"


def test_other_output_settings_infer_nothing_again(clip):
    words = [*COMMAND, "--out", str(clip.parent), "--log-json", "--format", "csv", "--keypoints", "halpe26"]
    result = CliRunner().invoke(app, [*words, "--no-overlay"])
    events = [json.loads(line) for line in result.stdout.splitlines()]
    (plan,) = [event for event in events if event["event"] == "plan"]
    assert result.exit_code == 0 and (plan["render"], plan["todo"]) == (1, 0)
    assert {path.name for path in clip.iterdir()} == {TRUTH_FILE, "keypoints.csv", RUN_FILE}
    assert "left_heel_x" in (clip / "keypoints.csv").read_text().partition("\r\n")[0]
    again = CliRunner().invoke(app, [*words, "--no-overlay"])
    (plan,) = [event for event in map(json.loads, again.stdout.splitlines()) if event["event"] == "plan"]
    assert (plan["done"], plan["render"]) == (1, 0)


def test_a_corrected_truth_is_in_all_that_derives_from_it(clip):
    before, truth = contents(clip), read_truth(clip)
    write_truth(truth.rows(truth.track_ids != truth.track_ids[0]), clip / TRUTH_FILE)
    assert not read_run(clip).is_current("posetrack18.json")
    assert refresh(clip) == []
    after = contents(clip)
    assert all(after[name] != before[name] for name in ("posetrack18.json", "keypoints.csv", OVERLAY_FILE, RUN_FILE))
    people = json.loads(after["posetrack18.json"])["annotations"]
    assert {person["track_id"] for person in people} == set(truth.track_ids.tolist()) - {int(truth.track_ids[0])}
    assert read_run(clip).is_current(OVERLAY_FILE) and refresh(clip) == [] and contents(clip) == after


def test_joints_that_are_not_there_stand_in_no_file(clip):
    truth = read_truth(clip)
    nose, visibility, xy, scores = 0, truth.visibility.copy(), truth.xy.copy(), truth.scores.copy()
    visibility[:, nose], xy[:, nose], scores[:, nose] = 0, 0, 0
    write_truth(replace(truth, visibility=visibility, xy=xy, scores=scores), clip / TRUTH_FILE)
    render(clip, with_output(read_run(clip), {"formats": ["posetrack18", "csv"], "overlay": False}))
    people = json.loads((clip / "posetrack18.json").read_bytes())["annotations"]
    assert all(person["keypoints"][:3] == [0, 0, 0] and person["keypoints"][3] != 0 for person in people)
    header, first = (line.split(",") for line in (clip / "keypoints.csv").read_text().splitlines()[:2])
    assert first[header.index("nose_x")] == "" and first[header.index("left_eye_x")] != ""


def test_a_video_that_was_moved_is_named(clip, tmp_path):
    record = json.loads((clip / RUN_FILE).read_bytes())
    (clip / RUN_FILE).write_text(json.dumps(record | {"input": str(tmp_path / "gone.mp4")}))
    before = contents(clip)
    with pytest.raises(JmposeError, match=r"gone\.mp4: the video is not there") as caught:
        render(clip, read_run(clip).config.output)
    assert "--video" in caught.value.hint and contents(clip) == before
    write_truth(read_truth(clip).rows(np.arange(3)), clip / TRUTH_FILE)
    (note,) = refresh(clip)
    assert "overlay.mp4 is as it was before" in note and read_run(clip).is_current("posetrack18.json")
    assert (clip / OVERLAY_FILE).read_bytes() == before[OVERLAY_FILE] and not read_run(clip).is_current(OVERLAY_FILE)
    assert render(clip, read_run(clip).config.output, video=CLIP) == []
    assert read_run(clip).input == str(CLIP) and read_run(clip).is_current(OVERLAY_FILE)


def test_a_video_that_was_changed_is_noticed(clip, tmp_path):
    video = tmp_path / "street.mp4"
    shutil.copy(CLIP, video)
    render(clip, read_run(clip).config.output, video=video)
    os.utime(video, ns=(0, 0))
    render(clip, read_run(clip).config.output)  # another time, the same content
    with video.open("ab") as file:
        file.write(b"\0\0\0\x08free")
    before = contents(clip)
    with pytest.raises(JmposeError, match="its content has changed") as caught:
        render(clip, read_run(clip).config.output)
    assert "--video" in caught.value.hint and contents(clip) == before
    write_truth(read_truth(clip).rows(np.arange(3)), clip / TRUTH_FILE)
    (note,) = refresh(clip)
    assert "overlay.mp4 is as it was before" in note and read_run(clip).is_current("posetrack18.json")
    assert render(clip, read_run(clip).config.output, video=video) == []  # it is right, says the user
    assert render(clip, read_run(clip).config.output) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--labels", "name"], "name"),
        (["--format", "xml"], "output.formats"),
        (["--line-width", "0"], "output.line_width"),
    ],
)
def test_wrong_options_are_named_and_change_nothing(clip, options, said):
    before = contents(clip)
    result = CliRunner().invoke(app, ["render", str(clip), *options])
    assert result.exit_code and said in f"{result.exception} {result.stderr}" and contents(clip) == before


def test_stopped_in_the_middle_nothing_is_changed(clip):
    before = contents(clip)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(clip, with_output(read_run(clip), {"labels": "none"}), step=stop)
    assert contents(clip) == before


def test_clips_are_found(clip, tmp_path):
    assert find_clips([clip.parent, clip]) == [clip]
    with pytest.raises(JmposeError, match="no such folder"):
        find_clips([tmp_path / "none"])
    with pytest.raises(JmposeError, match=r"holds no keypoints\.coco\.json"):
        find_clips([clip.parent / ".jmpose"])
