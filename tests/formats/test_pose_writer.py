"""What holds for every pose file: checks, errors, and files that are whole or not there."""

import errno
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from jmpose.keypoints import COCO17, COCO17_HEAD
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import PartialFile
from jmpose_cli.formats.base import VideoMeta, flat_triples, rounded
from jmpose_cli.formats.writers import FORMATS, open_writer
from jmpose_cli.values import FramePoses


@pytest.fixture(params=FORMATS)
def name(request: pytest.FixtureRequest) -> str:
    if package := FORMATS[request.param].package:
        pytest.importorskip(package)
    return request.param


def write(name: str, folder: Path, meta: VideoMeta, frames: list[FramePoses]) -> Path:
    with open_writer(name, folder, meta, COCO17_HEAD, info={}, smoothed=False) as writer:
        for frame in frames:
            writer.write(frame)
    return writer.path


def test_only_the_finished_file_is_left(name, tmp_path, meta, make_poses):
    path = write(name, tmp_path, meta, [make_poses(0), make_poses(1, []), make_poses(2, [1, 2])])
    assert [p.name for p in tmp_path.iterdir()] == [FORMATS[name].file_name] == [path.name]


def test_same_input_gives_same_bytes(name, tmp_path, meta, make_poses):
    frames = [make_poses(i, [1, 2], scores=i / 7) for i in range(5)]
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        contents.append(write(name, folder, meta, frames).read_bytes())
    assert contents[0] == contents[1]


def test_video_without_people_gives_a_valid_file(name, tmp_path, meta, make_poses):
    assert write(name, tmp_path, meta, [make_poses(i, []) for i in range(3)]).stat().st_size > 0


def test_exception_inside_leaves_nothing_and_keeps_an_earlier_result(name, tmp_path, meta, make_poses):
    earlier = write(name, tmp_path, meta, [make_poses(0)]).read_bytes()
    with (
        pytest.raises(RuntimeError, match="decoder"),
        open_writer(name, tmp_path, meta, COCO17_HEAD, info={}, smoothed=False) as writer,
    ):
        writer.write(make_poses(0, [7, 8]))
        raise RuntimeError("decoder")
    assert [p.name for p in tmp_path.iterdir()] == [FORMATS[name].file_name]
    assert writer.path.read_bytes() == earlier


def test_full_disk_at_the_end_names_the_path_and_leaves_nothing(name, tmp_path, meta, make_poses, monkeypatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(JmposeError, match=FORMATS[name].file_name + ": No space left") as caught:
        write(name, tmp_path, meta, [make_poses(0)])
    assert "--out" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_full_disk_while_writing(name, small_disk, meta, make_poses):
    frame, random = make_poses(0, list(range(1, 40))), np.random.default_rng(0)
    with (
        pytest.raises(JmposeError, match=FORMATS[name].file_name + ": No space left"),
        open_writer(name, small_disk, meta, COCO17_HEAD, info={}, smoothed=False) as writer,
    ):
        for index in range(200):
            object.__setattr__(frame.people, "index", index)
            frame.xy_image[:] = random.random(frame.xy_image.shape)  # no two frames that compression could join
            writer.write(frame)
    assert list(small_disk.iterdir()) == []
    # The room is given back as well.
    (small_disk / "other").write_bytes(bytes(300_000))


@pytest.mark.parametrize(("folder", "reason"), [("absent", "No such file"), ("file", "Not a directory")])
def test_unusable_folder_fails_at_the_start(name, tmp_path, meta, folder, reason):
    (tmp_path / "file").write_text("")
    with pytest.raises(JmposeError, match=f"cannot write .*{FORMATS[name].file_name}: {reason}") as caught:
        open_writer(name, tmp_path / folder, meta, COCO17_HEAD, info={}, smoothed=False)
    assert "folder exists" in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(name, tmp_path, meta):
    tmp_path.chmod(0o500)
    with pytest.raises(JmposeError, match="Permission denied") as caught:
        open_writer(name, tmp_path, meta, COCO17_HEAD, info={}, smoothed=False)
    assert "may write" in caught.value.hint


@pytest.mark.parametrize(
    ("field", "said"),
    [("xy_image", "a joint is"), ("scores", "a joint score is"), ("person_scores", "a person score is")],
)
def test_nan_is_an_error_and_no_null_in_the_file(name, tmp_path, meta, make_poses, field, said):
    poses = make_poses(4)
    getattr(poses, field).flat[0] = np.nan
    with pytest.raises(JmposeError, match=f"clip, frame 4: {said} not a finite number") as caught:
        write(name, tmp_path, meta, [poses])
    assert "--precision fp32" in caught.value.hint


def test_frames_must_come_in_order(name, tmp_path, meta, make_poses):
    with pytest.raises(ValueError, match="frame 2 written after frame 2"):
        write(name, tmp_path, meta, [make_poses(2), make_poses(2)])


def test_joints_must_fit_the_set(name, tmp_path, meta, make_poses):
    with pytest.raises(ValueError, match="17 joints given, coco17_head has 19"):
        write(name, tmp_path, meta, [make_poses(0, keypoints=COCO17)])


def test_memory_does_not_grow_with_the_video(name, tmp_path, meta, make_poses):
    frame = make_poses(0, list(range(1, 9)))

    def peak(frames: int) -> int:
        tracemalloc.start()
        with open_writer(name, tmp_path, meta, COCO17_HEAD, info={}, smoothed=False) as writer:
            for index in range(frames):
                object.__setattr__(frame.people, "index", index)
                writer.write(frame)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1)
    assert peak(300) < peak(150) + 50_000


def test_a_missing_package_is_said_before_anything_is_written(tmp_path, meta, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(JmposeError, match="--format parquet: pyarrow is not installed") as caught:
        open_writer("parquet", tmp_path, meta, COCO17_HEAD, info={}, smoothed=False)
    assert caught.value.hint == "pip install 'jmpose[parquet]'" and not list(tmp_path.iterdir())


def test_rounded_writes_no_negative_zero_and_no_float32_tail():
    values = rounded(np.array([-0.001, 0.1, 12.345678], np.float32))
    assert [str(v) for v in values.tolist()] == ["0.0", "0.1", "12.35"]


def test_flat_triples_clear_absent_joints():
    xy = np.array([[[1.5, -2], [-3, 4]]], np.float32)
    assert flat_triples(xy, np.array([[2, 0]])) == [[1.5, -2.0, 2, 0.0, 0.0, 0]]


def test_partial_file_discard_after_commit_keeps_the_file(tmp_path):
    file = PartialFile(tmp_path / "x")
    file.write(b"all")
    file.commit()
    file.discard()
    assert (tmp_path / "x").read_bytes() == b"all"


def test_writing_files_needs_no_torch():
    code = "import sys, jmpose_cli.formats.writers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
