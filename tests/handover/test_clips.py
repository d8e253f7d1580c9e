"""Clips as `jmpose convert` takes them: folders, the video behind them, and training on what comes out."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from jmpose.keypoints import COCO17
from jmpose_cli.clips.corrections import Corrections
from jmpose_cli.clips.operations import Delete
from jmpose_cli.console import Reporter
from jmpose_cli.data.extract import annotated_videos
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.coco import CocoWriter
from jmpose_cli.formats.read import read_poses
from jmpose_cli.formats.truth import TRUTH_FILE, read_truth
from jmpose_cli.handover.convert import convert_files
from jmpose_cli.handover.convert_joints import THINGS
from jmpose_cli.handover.targets import TARGETS
from jmpose_cli.handover.write import write_poses
from jmpose_cli.main import app
from jmpose_cli.training.config import TrainConfig
from jmpose_cli.training.sources import open_data
from jmpose_cli.video.image_folder import read_image
from tests.video_assets import make_video, read_number

SIZE = (640, 360)


@pytest.fixture
def out(tmp_path, meta, make_poses):
    """Two clips of one video of six frames, one of them deeper; people in frames 1, 3 and 4."""
    (tmp_path / "videos").mkdir()
    make_video(tmp_path / "videos/clip.mp4", frames=6, size=SIZE)
    for name in ("clip", "more/clip"):
        folder = tmp_path / "out" / name
        folder.mkdir(parents=True)
        with CocoWriter(folder / TRUTH_FILE, meta, COCO17, info={"model": "nano"}) as writer:
            for index in range(6):
                writer.write(make_poses(index, [1, 2] if index in (1, 3, 4) else [], keypoints=COCO17))
    (tmp_path / "out/summary.json").write_text("{}")
    return tmp_path


def convert(source, target, to, **options):
    return convert_files(source, target, to=to, reporter=Reporter(quiet=True), **{"overwrite": False, **options})


def test_a_clip_and_a_folder_of_clips(out):
    assert convert(out / "out/clip", out / "one.xml", "cvat") == 0
    assert convert(out / "out", out / "all", "cvat") == 0
    found = sorted(path.relative_to(out / "all").as_posix() for path in (out / "all").rglob("*.xml"))
    assert found == ["clip.xml", "more/clip.xml"]
    assert (out / "all/clip.xml").read_bytes() == (out / "one.xml").read_bytes()
    with pytest.raises(JmposeError, match=r"clip\.xml exists"):
        convert(out / "out/clip", out / "all", "cvat")
    assert convert(out / "out/clip", out / "all/parts", "openpose") == 0
    with pytest.raises(JmposeError, match="parts exists"):
        convert(out / "out/clip", out / "all/parts", "openpose")


def test_a_truth_in_coco_is_the_truth(out, monkeypatch):
    read = []
    monkeypatch.setattr("jmpose_cli.formats.json_file.read_utf8", lambda path: read.append(path) or path.read_bytes())
    assert convert(out / "out/clip", out / "copy.json", "coco") == 0
    assert read == [out / "out/clip" / TRUTH_FILE]  # once
    assert (out / "copy.json").read_bytes() == (out / "out/clip" / TRUTH_FILE).read_bytes()


def test_frames_of_the_video_that_the_run_has_read(out):
    with pytest.raises(JmposeError, match="--video with 2 sources"):
        convert(out / "out", out / "all", "frames", video=out / "videos/clip.mp4")
    assert convert(out / "out/clip", out / "nowhere", "frames") == 1  # of an unknown video
    (out / "out/clip/run.json").write_text(json.dumps({"input": str(out / "videos/clip.mp4")}))
    assert convert(out / "out/clip", out / "frames", "frames") == 0
    about = {"input": str(out / "videos/clip.mp4"), "input_facts": {"sha256": "0"}}
    (out / "out/clip/run.json").write_text(json.dumps(about))
    assert convert(out / "out/clip", out / "changed", "frames") == 1  # not what the run has read
    names = [f"frame_{frame:06d}.jpg" for frame in (1, 3, 4)]
    assert sorted(path.name for path in (out / "frames/images").iterdir()) == names
    assert [read_number(read_image(out / "frames/images" / name)) for name in names] == [1, 3, 4]
    records, before = (
        read_poses(out / "frames/annotations.json", kind="coco"),
        read_poses(out / "out/clip" / TRUTH_FILE),
    )
    assert [image.file_name for image in records.images] == names and records.image_row.tolist() == [0, 0, 1, 1, 2, 2]
    assert records.xy.tolist() == before.xy.tolist() and records.info == before.info


def test_a_truth_that_lacks_corrections_or_was_changed_is_not_converted_in_silence(out):
    clip = out / "out/clip"
    command = [*("convert", str(clip), str(out / "copy.json"), "--to", "coco", "--overwrite")]
    with Corrections(clip) as corrections:
        corrections.do([Delete(track=2)], write=False)
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 1 and "corrections are on record that are not in" in found.output
    with Corrections(clip) as corrections:
        corrections.write()
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0 and "another program" not in found.output
    path = clip / TRUTH_FILE
    path.write_bytes(path.read_bytes() + b"\n")
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0 and "was changed by another program, and is taken as it is" in found.output


def test_training_says_so_too(out):
    clip = out / "out/clip"
    entry = {"kind": "videos", "path": "out/clip", "videos": "videos"}
    data = {"root": out, "cache": out / "cache", "train": [entry], "val": [entry]}
    config = TrainConfig.model_validate({"init": "nano", "data": data})
    preprocess = config.build_model_config().preprocess
    assert not any("another program" in note for note in open_data(config, preprocess).notes)
    with Corrections(clip) as corrections:
        corrections.do([Delete(track=2)], write=False)
    with pytest.raises(JmposeError, match="corrections are on record that are not in"):
        open_data(config, preprocess)
    path = clip / TRUTH_FILE
    path.write_bytes(path.read_bytes() + b"\n")
    assert any("was changed by another program" in note for note in open_data(config, preprocess).notes)


def test_frames_of_another_video(out):
    records = read_poses(out / "out/clip" / TRUTH_FILE)
    make_video(out / "small.mp4", frames=6, size=(96, 64))
    with pytest.raises(JmposeError, match="has frames of 96x64"):
        write_poses(records, out / "a", to="frames", footage=out / "small.mp4")
    make_video(out / "short.mp4", frames=3, size=SIZE)
    with pytest.raises(JmposeError, match=r"people in frame 3, which .*short\.mp4 does not have \(2 such frames\)"):
        write_poses(records, out / "b", to="frames", footage=out / "short.mp4")


def test_what_was_converted_trains_and_is_a_truth(out):
    assert convert(out / "out/clip", out / "again" / TRUTH_FILE, "coco") == 0
    windows = annotated_videos(
        out / "again", out / "videos", out / "cache", keypoints=COCO17, reach=1, reference_fps=25.0
    )
    assert sum(len(window) for window in windows) == 6
    truth = read_truth(out / "again" / TRUTH_FILE)
    assert truth.video.fps == 25 and truth.info == {"model": "nano"} and len(truth.index) == 6


def test_two_people_of_one_id_in_a_frame(out):
    records = read_poses(out / "out/clip" / TRUTH_FILE)
    doubled = replace(records, track_ids=records.track_ids * 0 + 5)
    for to, target in TARGETS.items():
        if "track ids" in target.holds:
            with pytest.raises(JmposeError, match=r"track_id is 5, as in") as caught:
                write_poses(doubled, out / "x", to=to)
            assert "clip/frame_000001.jpg, clip/frame_000003.jpg, clip/frame_000004.jpg" in caught.value.hint
    assert not (out / "x").exists()


def test_formats_name_what_they_hold_by_its_names():
    assert all(target.holds <= THINGS.keys() for target in TARGETS.values())
