"""Bad and unusual inputs: one clear error each, a non-zero exit, nothing unfinished left behind."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.known_weights import SHIPPED
from tests.commands.test_infer import CLIP, command, infer
from tests.conftest import ROOT
from tests.video_assets import make_video


def text_file(folder: Path) -> Path:
    (folder / "text.mp4").write_text("no video at all")
    return folder / "text.mp4"


def video(path: Path, *, frames: int) -> Path:
    make_video(path, frames=frames)
    return path


def cut_off(folder: Path) -> Path:
    data = CLIP.read_bytes()
    (folder / "cut.mp4").write_bytes(data[: data.index(b"moov") + 500])
    return folder / "cut.mp4"


def empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def results(out: Path) -> set[str]:
    """Folders and files of results, without the run's own."""
    return {path.name for path in out.glob("*")} - {".jmpose", "summary.json", "failures.json"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (text_file, "text.mp4 is not a readable video"),
        (cut_off, "cut.mp4 is not a readable video"),
        (lambda folder: (folder / "zero.mp4").touch() or folder / "zero.mp4", "zero.mp4"),
        (empty_folder, "empty: a folder without videos or images"),
    ],
)
def test_inputs_that_are_no_video(make, message, tmp_path):
    shown = command("infer", make(tmp_path), "--out", tmp_path / "out")
    assert shown.returncode in (1, 2) and message in shown.stderr and "Traceback" not in shown.stderr
    assert results(tmp_path / "out") == set()


@pytest.mark.parametrize("frames", [1, 2, 9])
def test_videos_without_people_give_valid_empty_files(frames, tmp_path):
    assert (
        infer(
            video(tmp_path / "blank.mp4", frames=frames),
            "--out",
            tmp_path / "out",
            "--quiet",
            "--format",
            "coco,posetrack18,csv",
        )
        == 0
    )
    coco = json.loads((tmp_path / "out/blank/keypoints.coco.json").read_text())
    assert len(coco["images"]) == frames and coco["annotations"] == []
    assert len(json.loads((tmp_path / "out/blank/posetrack18.json").read_text())["images"]) == frames
    assert (tmp_path / "out/blank/overlay.mp4").stat().st_size > 0


def test_fifty_people_in_a_frame(tmp_path):
    clip = video(tmp_path / "crowd.mp4", frames=3)
    rows = [
        f"{frame},{person + 1},{(person % 10) * 15},{(person // 10) * 20},12,18,1"
        for frame in (1, 2, 3)
        for person in range(50)
    ]
    (tmp_path / "boxes.txt").write_text("\n".join(rows))
    options = ["--boxes", tmp_path / "boxes.txt", "--quiet"]
    assert infer(clip, "--out", tmp_path / "out", *options) == 0
    coco = json.loads((tmp_path / "out/crowd/keypoints.coco.json").read_text())
    assert len(coco["annotations"]) == 150 and len({a["track_id"] for a in coco["annotations"]}) == 50


def truncated(folder: Path) -> Path:
    data = (SHIPPED / "nano.safetensors").read_bytes()
    (folder / "nano.safetensors").write_bytes(data[: len(data) // 2])
    shutil.copy(SHIPPED / "nano.json", folder)
    return folder / "nano.safetensors"


def of_another_config(folder: Path) -> Path:
    shutil.copy(SHIPPED / "nano.safetensors", folder)
    config = json.loads((SHIPPED / "nano.json").read_text())
    config["mutual_blocks"] += 1
    (folder / "nano.json").write_text(json.dumps(config))
    return folder / "nano.safetensors"


def no_weights(folder: Path) -> Path:
    (folder / "x.safetensors").write_text("weights")
    return folder / "x.safetensors"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (truncated, "damaged or no safetensors"),
        (of_another_config, "says otherwise"),
        (no_weights, "damaged or no safetensors"),
    ],
)
def test_bad_model_weights(make, message, tmp_path):
    with pytest.raises(JmposeError, match=message) as caught:
        infer(CLIP, "--model", make(tmp_path), "--out", tmp_path / "out", "--quiet")
    assert caught.value.hint


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        shown = command("infer", CLIP, "--out", disk, "--frames", "0:12")
        assert shown.returncode == 1 and "No space left" in shown.stderr and "Traceback" not in shown.stderr
        assert "the same command resumes this run" in shown.stderr
        assert [p for p in disk.rglob("*") if p.is_file() and ".jmpose" not in p.parts] == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_an_image_folder_is_a_video(tmp_path):
    cv2 = pytest.importorskip("cv2")
    folder = tmp_path / "000342_mpii_test"
    folder.mkdir()
    for number in range(4):
        cv2.imwrite(str(folder / f"{number:06d}.jpg"), np.full((96, 128, 3), 40 * number, np.uint8))
    assert infer(folder, "--out", tmp_path / "out", "--quiet") == 0
    coco = json.loads((tmp_path / "out/000342_mpii_test/keypoints.coco.json").read_text())
    assert [image["time_s"] for image in coco["images"]] == pytest.approx([0, 0.04, 0.08, 0.12])
    assert [image["file_name"] for image in coco["images"]] == [f"{n:06d}.jpg" for n in range(4)]


def test_every_odd_file_works_or_fails_alone(shared_data, tmp_path):
    odd = shared_data / "videos" / "odd"
    shown = subprocess.run(
        [sys.executable, "-m", "jmpose_cli.main", "infer", odd, "--out", tmp_path / "o", "--frames", "0:6"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert shown.returncode == 1 and "Traceback" not in shown.stderr
    failed = {"audio_only_aac", "avi_truncated_invalid", "empty44bytes"}
    assert "3 of 17 inputs failed" in shown.stderr
    assert results(tmp_path / "o") == {p.stem for p in odd.iterdir() if p.is_file()} - failed
    assert not list((tmp_path / "o").rglob("*.partial"))
