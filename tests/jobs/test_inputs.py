from pathlib import Path

import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.jobs.inputs import find_clips
from jmpose_cli.known_weights import choose_detector, choose_model


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def names(*inputs: Path) -> list[str]:
    return [clip.name for clip in find_clips(inputs)]


def test_files_keep_their_order_and_repeats_count_once(tmp_path):
    b, a = touch(tmp_path / "b.mp4"), touch(tmp_path / "a.mov")
    assert names(b, a, b) == ["b", "a"]


def test_a_folder_stands_for_its_videos(tmp_path):
    for name in ("b.mp4", "a.MKV", "notes.txt", ".hidden.txt"):
        touch(tmp_path / name)
    assert names(tmp_path) == ["a", "b"]


def test_a_folder_of_images_is_one_video(tmp_path):
    touch(tmp_path / "000342_mpii_test" / "000000.jpg")
    assert names(tmp_path / "000342_mpii_test") == ["000342_mpii_test"]


def test_equal_stems_are_told_apart_by_their_endings(tmp_path):
    touch(tmp_path / "a.mp4"), touch(tmp_path / "a.mov")
    assert names(tmp_path) == ["a", "a.mp4"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: [p / "none.mp4"], "none.mp4: no such file"),
        (lambda p: [touch(p / "x" / "notes.txt").parent], "a folder without videos or images"),
        (lambda p: [touch(p / d / "a.mp4") for d in ("1", "2", "3")], "both write to the folder 'a.mp4'"),
    ],
)
def test_bad_inputs(tmp_path, make, message):
    with pytest.raises(JmposeError, match=message):
        find_clips(make(tmp_path))


def test_auto_takes_a_yolo_from_the_cache_before_the_shipped_detector(tmp_path, monkeypatch):
    monkeypatch.setenv("JMPOSE_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert choose_detector("auto", on_gpu=False).path.stem == "person-nano"
    for name in ("yolo11n.pt", "yolo26x.pt", "yolo26s.pt"):
        touch(tmp_path / name)
    assert choose_detector("auto", on_gpu=False).path.name == "yolo26s.pt"
    assert choose_detector("auto", on_gpu=True).path.name == "yolo26x.pt"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nope", "neither a shipped name nor a file"),
        ("person-nano", "neither"),
        ("x.txt", "not a weights file"),
    ],
)
def test_an_unknown_model_names_what_is_allowed(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "x.txt")
    with pytest.raises(JmposeError, match=message) as caught:
        choose_model(name)
    assert "nano, auto" in caught.value.hint
