"""`jmpose infer` as users call it, on the example clip with the shipped weights."""

import io
import json
import subprocess
import sys
import traceback
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from jmpose_cli.device import cpu_has_bf16
from jmpose_cli.errors import JmposeError
from jmpose_cli.main import _exit_code, app
from jmpose_cli.people.association import Associator
from jmpose_cli.people.detect_onnx import OnnxDetector
from jmpose_cli.values import Detections
from tests.conftest import ROOT
from tests.runs.batch_assets import street_frames
from tests.video_assets import make_video

CLIP = ROOT / "examples" / "street.mp4"
TRUTH = ROOT / "examples" / "street.posetrack18.json"


def infer(*arguments: object) -> int:
    """Run in this process; a JmposeError comes through as it is."""
    result = CliRunner().invoke(app, ["infer", *map(str, arguments), "--workers", "0"])
    if isinstance(result.exception, JmposeError):
        raise result.exception
    return result.exit_code


@dataclass(frozen=True)
class Shown:
    """What a command left: its exit code, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def command(*arguments: object) -> Shown:
    """Run as the shell's `jmpose` does, but in this process: errors are printed, and unforeseen ones as tracebacks."""
    words = ["jmpose", *map(str, arguments), *(("--workers", "0") if arguments[0] == "infer" else ())]
    out, err = io.StringIO(), io.StringIO()
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        chdir(ROOT),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", words)
        try:
            code = _exit_code()
        except Exception:
            traceback.print_exc()
            code = 1
    return Shown(int(code or 0), out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def short_run(tmp_path_factory) -> Path:
    """Results of twelve frames, with every format and the overlay."""
    out = tmp_path_factory.mktemp("short")
    assert infer(CLIP, "--out", out, "--frames", "0:12", "--format", "coco,posetrack18,csv", "--quiet") == 0
    return out / "street"


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text())


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['jmpose', '--help']\n"
        "from jmpose_cli.main import run\n"
        "try: run()\n"
        "except SystemExit: pass\n"
        "print('LOADED', *(m for m in ('torch', 'cv2', 'numpy', 'pydantic') if m in sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "infer" in shown.stdout and shown.stdout.rstrip().endswith("LOADED")


def test_every_file_is_there_and_nothing_else(short_run):
    names = {"keypoints.coco.json", "posetrack18.json", "keypoints.csv", "overlay.mp4", "run.json"}
    assert {p.name for p in short_run.iterdir()} == names


def test_people_are_found_and_tracked(short_run):
    coco, record = read(short_run, "keypoints.coco.json"), read(short_run, "run.json")
    assert [image["frame_index"] for image in coco["images"]] == list(range(12))
    assert record["frames"] == 12 and record["people"] == len(coco["annotations"]) >= 12
    ids = {a["track_id"] for a in coco["annotations"]}
    assert record["tracks"] == len(ids) and min(ids) >= 1
    longest = max(sum(a["track_id"] == i for a in coco["annotations"]) for i in ids)
    assert longest >= 10


def test_the_record_says_what_ran(short_run):
    record = read(short_run, "run.json")
    assert record["device"] == "cpu" and record["precision"] == "fp32"
    assert all(len(w["sha256"]) == 64 for w in record["weights"].values())
    assert record["config"]["decode"]["frames"] == [0, 12]
    summary = json.loads((short_run.parent / "summary.json").read_text())
    stages = summary["videos"]["street"]["stage_s"]
    assert {"decode", "detect", "track", "pose", "write", "draw", "encode"} <= set(stages)
    assert (summary["done"], summary["failed"], summary["frames"]) == (1, 0, 12)


@pytest.mark.parametrize(
    "options", [("--batch", 1), ("--batch", 5), ("--batch", 64), *(("--set", f"run.threads={n}") for n in (1, 3))]
)
def test_batch_and_threads_do_not_change_the_result(short_run, tmp_path, options):
    assert infer(CLIP, "--out", tmp_path, "--frames", "0:12", "--no-overlay", "--quiet", *options) == 0
    for name in ("posetrack18.json",):
        assert (tmp_path / "street" / name).read_bytes() == (short_run / name).read_bytes()
    ours, other = (read(f, "keypoints.coco.json") for f in (tmp_path / "street", short_run))
    assert ours["annotations"] == other["annotations"] and ours["images"] == other["images"]


def test_smoothing_keeps_the_raw_joints(short_run, tmp_path):
    assert infer(CLIP, "--out", tmp_path, "--frames", "0:24", "--smooth", "--quiet") == 0
    smooth = read(tmp_path / "street", "keypoints.coco.json")["annotations"]
    raw = {(a["image_id"], a["track_id"]): a for a in read(short_run, "keypoints.coco.json")["annotations"]}
    pairs = [(a, raw[key]) for a in smooth if (key := (a["image_id"], a["track_id"])) in raw and a["image_id"] < 8]
    assert len(pairs) >= 8
    assert all(a["keypoints_raw"] == b["keypoints"] for a, b in pairs)
    assert any(a["keypoints"] != b["keypoints"] for a, b in pairs)
    assert (tmp_path / "street" / "overlay.mp4").is_file()
    assert not list((tmp_path / "street").glob("*.partial"))


@pytest.mark.parametrize("option", ["--fps", "--image-fps"])
def test_pictures_far_apart_are_said_to_be(tmp_path, option):
    (tmp_path / "slow").mkdir()
    for number, frame in enumerate(street_frames()[:3]):
        cv2.imwrite(str(tmp_path / "slow" / f"{number}.jpg"), frame[:, :, ::-1])
    assert infer(tmp_path / "slow", option, 0.2, "--smooth", "--no-overlay", "--out", tmp_path / "out", "--quiet") == 0
    record = read(tmp_path / "out" / "slow", "run.json")
    far, smooth = record["notes"]
    assert "looked for every 5 s" in far and "nothing is smoothed: 0.2 frames a second" in smooth
    assert (record["video"]["fps"], record["config"]["decode"]["fps"]) == (0.2, 0.2)


def test_own_boxes_replace_the_detector(short_run, tmp_path):
    assert infer(CLIP, "--out", tmp_path, "--boxes", TRUTH, "--frames", "0:6", "--no-overlay", "--quiet") == 0
    wanted = json.loads(TRUTH.read_text())
    first = [i["id"] for i in wanted["images"][:6]]
    expected = {a["track_id"] for a in wanted["annotations"] if a["image_id"] in first and any(a["bbox"][2:])}
    found = {a["track_id"] for a in read(tmp_path / "street", "keypoints.coco.json")["annotations"]}
    assert found == expected


def test_tracks_of_one_person_are_joined_at_the_end(tmp_path):
    there = [f for f in range(24) if not 10 <= f < 14]
    boxes = "".join(f"{f + 1},-1,{100 + 4 * f},60,60,150,0.9,-1,-1,-1\n" for f in there)
    (tmp_path / "boxes.txt").write_text(boxes)
    options = (CLIP, "--boxes", tmp_path / "boxes.txt", "--frames", "0:24", "--no-overlay", "--quiet")
    short = ("--reid", "none", "--set", "people.lost_after_s=0.1", "--set", "people.max_gap_s=0")
    for switch, who in (("--stitch", {(1, 1), (2, 1)}), ("--no-stitch", {(1, 1), (2, 2)})):
        assert infer(*options, *short, switch, "--out", tmp_path / switch) == 0
        folder = tmp_path / switch / "street"
        people = read(folder, "keypoints.coco.json")["annotations"]
        assert {(one["track_id"], one["identity"]) for one in people} == who
        record = read(folder, "run.json")
        joins = record.get("identities", {"joins": []})["joins"]
        wanted = [(1, 2, 14)] if switch == "--stitch" else []
        assert [(one["first"], one["second"], one["frame"]) for one in joins] == wanted


def test_the_largest_for_longest_is_kept_over_the_whole_video(tmp_path):
    rows = [f"{f + 1},1,100,60,60,150,0.9,-1,-1,-1\n" for f in range(16)]
    rows += [f"{f + 1},2,300,40,100,250,0.9,-1,-1,-1\n" for f in range(4, 16)]
    (tmp_path / "boxes.txt").write_text("".join(rows))
    options = ("--boxes", tmp_path / "boxes.txt", "--frames", "0:16", "--quiet", "--max-people", 1)
    assert infer(CLIP, *options, "--out", tmp_path) == 0
    people = read(tmp_path / "street", "keypoints.coco.json")["annotations"]
    assert [one["track_id"] for one in people] == [2] * 12
    overlay = cv2.VideoCapture(str(tmp_path / "street" / "overlay.mp4"))
    assert overlay.get(cv2.CAP_PROP_FRAME_COUNT) == 16


@pytest.mark.parametrize(
    ("options", "most"), [(("--max-people", 1), 1), (("--min-box-score", 0.99), 0), (("--max-people", 2), 2)]
)
def test_people_can_be_limited(tmp_path, options, most):
    assert infer(CLIP, "--out", tmp_path, "--frames", "0:8", "--no-overlay", "--quiet", *options) == 0
    coco = read(tmp_path / "street", "keypoints.coco.json")
    counts = [sum(a["image_id"] == i["id"] for a in coco["annotations"]) for i in coco["images"]]
    assert max(counts) <= most and len(coco["images"]) == 8


def test_a_person_found_twice_is_one(tmp_path, monkeypatch):
    found = OnnxDetector.detect

    def doubled(self: OnnxDetector, frames: np.ndarray, **shape: float) -> list[Detections]:
        """Give the leftmost certain box of each frame and, as a second one, nine tenths of it."""
        pairs = []
        for one in found(self, frames, **shape):
            row = np.where(one.scores >= 0.3, one.boxes_xyxy_px[:, 0], np.inf).argmin(keepdims=True)
            whole, part = one.boxes_xyxy_px[row], one.boxes_xyxy_px[row]
            part[:, 3] -= 0.1 * (part[:, 3] - part[:, 1])
            pairs.append(Detections(np.concatenate([whole, part]), one.scores[row.repeat(2)]))
        return pairs

    def most(*options: object) -> int:
        assert infer(CLIP, "--out", tmp_path, "--frames", "0:8", "--no-overlay", "--quiet", *options) == 0
        people = [a["image_id"] for a in read(tmp_path / "street", "keypoints.coco.json")["annotations"]]
        return max(people.count(image) for image in people)

    monkeypatch.setattr(OnnxDetector, "detect", doubled)
    monkeypatch.setattr(Associator, "_is_double", lambda *_: False)  # which would leave the second box out
    assert most("--set", "people.same_pose_oks=1") == 2
    assert most() == 1


def test_other_options_run(tmp_path):
    options = ["--flip-test", "--detect-every", 2, "--decoder", "pyav", "--black-background", "--time", "0:0.3"]
    precision = "bf16" if cpu_has_bf16() else "fp32"
    assert infer(CLIP, "--out", tmp_path, "--precision", precision, "--quiet", *options) == 0
    record = read(tmp_path / "street", "run.json")
    assert record["precision"] == precision and record["video"]["decoder"] == "pyav" and record["frames"] >= 7


def test_overwriting_leaves_nothing_of_the_run_before(tmp_path):
    assert infer(CLIP, "--out", tmp_path, "--frames", "0:3", "--format", "csv", "--quiet") == 0
    options = ["--frames", "0:3", "--format", "coco", "--no-overlay", "--overwrite", "--quiet"]
    assert infer(CLIP, "--out", tmp_path, *options) == 0
    assert {p.name for p in (tmp_path / "street").iterdir()} == {"keypoints.coco.json", "run.json"}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("no such kernel"), "street: unexpected RuntimeError: no such kernel"),
        (RuntimeError("CUDA out of memory. Tried to"), "street: out of memory: CUDA out of memory. Tried to"),
        (MemoryError(), "street: out of memory"),
    ],
)
def test_an_unexpected_failure_stops_one_video_only(tmp_path, monkeypatch, error, message):
    from jmpose_cli.pose.estimator import PoseEstimator

    estimate = PoseEstimator.estimate

    def broken(self, windows, views=None):
        if windows[0].key.pixels.shape[0] > 200:
            raise error
        return estimate(self, windows, views)

    monkeypatch.setattr(PoseEstimator, "estimate", broken)
    make_video(tmp_path / "small.mp4", frames=3)
    words = ["infer", str(CLIP), str(tmp_path / "small.mp4"), "--out", str(tmp_path / "o"), "--frames", "0:3"]
    result = CliRunner().invoke(app, [*words, "--no-overlay", "--workers", "0"])
    assert result.exit_code == 1 and message in result.stderr and "1 of 2 inputs failed" in result.stderr
    assert not (tmp_path / "o" / "street").exists() and (tmp_path / "o" / "small" / "run.json").is_file()
    (failure,) = json.loads((tmp_path / "o" / "failures.json").read_text())
    assert failure["name"] == "street" and failure["reason"] in message


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """All result files with their time of change."""
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}


def test_what_is_done_is_not_done_again(short_run, capfd):
    before = tree(short_run)
    options = ["--frames", "0:12", "--format", "coco,posetrack18,csv"]
    assert infer(CLIP, "--out", short_run.parent, *options) == 0
    assert tree(short_run) == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--frames", "0:3"], "other settings: decode.frames was 0,2, is 0,3"),
        (["--frames", "0:2", "--smooth"], "other settings: pose.smooth was false, is true"),
        (["--frames", "0:2", "--overwrite"], "--overwrite"),
    ],
)
def test_what_differs_is_done_again_and_the_reason_is_said(tmp_path, options, reason):
    assert infer(CLIP, "--out", tmp_path, "--frames", "0:2", "--no-overlay", "--quiet") == 0
    words = ["infer", str(CLIP), "--out", str(tmp_path), "--no-overlay", "--workers", "0", *options]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0 and f"street is done again: {reason}" in result.stderr


def test_edited_results_are_not_replaced_unasked(tmp_path):
    assert infer(CLIP, "--out", tmp_path, "--frames", "0:2", "--no-overlay", "--quiet") == 0
    edited = tmp_path / "street" / "keypoints.coco.json"
    edited.write_text(edited.read_text().replace('"score":', '"score" :', 1))
    before = edited.read_text()
    words = ["infer", str(CLIP), "--out", str(tmp_path), "--no-overlay", "--workers", "0", "--frames", "0:3"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0 and "1 edited, left alone: street; --overwrite replaces" in result.stderr
    assert edited.read_text() == before
    assert infer(CLIP, "--out", tmp_path, "--frames", "0:3", "--no-overlay", "--quiet", "--overwrite") == 0
    assert len(read(tmp_path / "street", "keypoints.coco.json")["images"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.mp4"], r"none\.mp4: no such file or folder"),
        ([CLIP, "--device", "cuda:77"], "--device cuda:77: torch .* sees"),
        ([CLIP, "--device", "tpu"], "--device tpu: unknown"),
        ([CLIP, "--precision", "fp16", "--device", "cpu"], "far slower than fp32"),
        ([CLIP, "--model", "nope"], "--model nope: is neither a known name nor a file"),
        ([CLIP, "--detector", "nope.pt"], r"--detector nope\.pt: is neither"),
        ([CLIP, "--boxes", "nope.json"], r"nope\.json"),
        ([CLIP, "--temporal", "nope.safetensors"], r"--temporal nope\.safetensors: no such file"),
        ([CLIP, "--config", "nope.yaml"], r"nope\.yaml: cannot be read"),
        ([CLIP, "--set", "people.nope=1"], r"unknown setting 'people\.nope'"),
        ([CLIP, "--frames", "x"], "A:B"),
        ([CLIP, "--format", "xml"], "xml"),
        ([CLIP, "--out", "/proc/nowhere"], "/proc/nowhere"),
        ([CLIP, "--shard", "0/4"], "--shard 0/4: not a part"),
        ([CLIP, "--devices", "cpu,cpu"], "--devices cpu,cpu: not a list"),
        ([CLIP, ROOT / "out.mp4", "--boxes", TRUTH], r"out\.mp4: no such file"),
    ],
)
def test_bad_usage_is_one_clear_error(arguments, message, tmp_path, monkeypatch):
    if "--out" not in arguments:
        arguments = [*arguments, "--out", tmp_path]
    with pytest.raises(JmposeError, match=message):
        infer(*arguments)


def test_a_boxes_file_belongs_to_one_video(tmp_path):
    (tmp_path / "a.mp4").touch(), (tmp_path / "b.mp4").touch()
    with pytest.raises(JmposeError, match=r"--boxes .* with 2 videos"):
        infer(tmp_path / "a.mp4", tmp_path / "b.mp4", "--boxes", TRUTH, "--out", tmp_path / "o")


def test_an_empty_range_fails_the_video(tmp_path):
    shown = command("infer", CLIP, "--frames", "9:3", "--out", tmp_path)
    assert shown.returncode == 1 and "--frames 9:3 is an empty range" in shown.stderr


def test_usage_errors_exit_with_2_and_no_traceback(tmp_path):
    shown = command("infer", tmp_path / "none.mp4", "--out", tmp_path / "o")
    assert shown.returncode == 2 and "error:" in shown.stderr and "Traceback" not in shown.stderr
    assert command("infer", CLIP, "--decoder", "vlc").returncode == 2


def test_a_failed_input_does_not_stop_the_others(tmp_path):
    (tmp_path / "text.mp4").write_text("this is no video")
    shown = command("infer", tmp_path / "text.mp4", CLIP, "--out", tmp_path / "o", "--frames", "0:4", "--no-overlay")
    assert shown.returncode == 1 and "text" in shown.stderr and "1 of 2 inputs failed" in shown.stderr
    assert (tmp_path / "o" / "street" / "run.json").is_file() and not (tmp_path / "o" / "text").exists()
