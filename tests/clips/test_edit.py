"""`jmpose edit`: options in their order, all or none, files that came back, and clips that somebody else works on."""

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from jmpose.files import file_sha256
from jmpose.keypoints import POSETRACK18
from jmpose_cli.clips.corrections import CORRECTIONS_FILE, Corrections, state_of
from jmpose_cli.clips.from_file import merged
from jmpose_cli.clips.operation import changed_frames
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.posetrack18 import PoseTrack18Writer
from jmpose_cli.formats.read import read_poses
from jmpose_cli.formats.truth import CORRECTED, MODEL, TRUTH_FILE, Truth, read_truth, write_truth
from jmpose_cli.main import app
from jmpose_cli.runs.claims import Claims
from jmpose_cli.runs.plan import work_key
from tests.clips.clip_assets import META, TRACKS, make_clip


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr("jmpose.files.os.fsync", lambda _: None)
    return make_clip(tmp_path / "out" / "clip")


def run(*words: object) -> str:
    result = CliRunner().invoke(app, ["edit", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stderr


def frames_of(truth: Truth, track: int) -> list[int]:
    return truth.index[truth.frame[truth.track_ids == track]].tolist()


def test_options_of_boxes_people_who_are_hidden_and_what_is_right(folder):
    run(
        folder,
        "--merge",
        "3,7",
        "--interpolate",
        "3",
        "--accept",
        "3@8",
        "--occluded",
        "1@4:6",
        "--not-occluded",
        "1@5",
    )
    said = run(folder, "--box", "1@2=-1,2.5,30,40", "--dismiss", "jump:1@2:5", "--dismiss", "3")
    truth = read_truth(folder)
    assert truth.sources[(truth.track_ids == 3) & (truth.frame == 6)].min() == CORRECTED
    assert np.flatnonzero(truth.occluded).size == 1
    assert truth.boxes_xyxy_px[(truth.track_ids == 1) & (truth.frame == 0)].tolist() == [[-1, 2.5, 30, 40]]
    assert said.count("told no more") == 2 and "jump of 1@2:5 is right" in run(folder)
    said = run(folder, "--swap-sides", "1@4:6=left_knee", "--interpolate", "1@6:10=nose,left_eye", "--dry-run")
    assert "(2 frames, 2 poses)" in said and "(4 frames, 4 poses)" in said
    with pytest.raises(JmposeError, match="take back what was propagated of 1: nothing was"):
        run(folder, "--take-back", "1")
    said = run(folder, "--swap-sides", "1@~5=left_knee")
    assert "1@~5=left_knee (2 frames, 2 poses)" in said and "swap sides of 1 around frame 5 (left_knee)" in run(folder)


def test_corrections_are_done_in_the_order_in_which_they_stand(folder):
    said = run(folder, "--rename", "3=5", "--merge", "5,7", "--rename", "8=3", "--delete", "3@4:6", "--review", ":4")
    truth = read_truth(folder)
    assert frames_of(truth, 5) == [*TRACKS[3], *TRACKS[7]] and frames_of(truth, 3) == list(range(6, 12))
    assert truth.reviewed.tolist() == [True] * 2 + [False] * 10
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert lines[:4] == [
        "rename 3=5 (6 frames, 6 poses)",
        "merge 5,7 (5 frames, 5 poses)",
        "rename 8=3 (8 frames, 8 poses)",
        "delete 3@4:6 (2 frames, 2 poses)",
    ]
    assert lines[4] == "review :4 (2 frames)" and lines[5].endswith("with 1 correction")
    with pytest.raises(JmposeError, match="there is no track 5"):
        run(folder, "--undo", "--quiet") or run(folder, "--merge", "5,7", "--rename", "3=5")
    with Corrections(folder) as corrections:
        assert corrections.done == () and len(corrections.undone) == 1


def test_undo_and_redo_with_and_without_a_number(folder):
    model = (folder / TRUTH_FILE).read_bytes()
    for track in (1, 3, 7):
        run(folder, "--delete", track)
    assert "delete 7" in run(folder, "--undo") and set(read_truth(folder).track_ids.tolist()) == {7, 8}
    assert "delete 1" in run("--undo", 2, folder) and (folder / TRUTH_FILE).read_bytes() == model
    run(folder, "--redo", "2")
    said = run(folder)
    assert re.search(r"1  delete 1\n +2  delete 3\n +undone  delete 7", said)
    with pytest.raises(JmposeError, match="one command"):
        run(folder, "--undo", "--delete", 8)


def test_a_dry_run_writes_nothing(folder):
    before = (folder / TRUTH_FILE).read_bytes()
    said = run(folder, "--merge", "3,7", "--split", "1@6=2", "--swap-sides", "8", "--dry-run")
    assert "swap-sides  8 (8 frames, 8 poses)" in said and "written" not in said
    assert [path.name for path in folder.iterdir()] == [TRUTH_FILE] and (folder / TRUTH_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--merge", "3"], "--merge '3' is not understood"),
        (["--merge", "3,x"], "not understood"),
        (["--split", "3@:5"], "--split '3@:5' is not understood"),
        (["--delete", "3@4-6"], "FRAMES are A:B"),
        (["--swap", "1,3@99999999999"], "not understood"),
        (["--rename", "3=9999999999"], "--rename '3=9999999999': new: "),
        (["--review", "40:50"], "frames 40:50 are not all there"),
        (["--swap-sides", "4"], "the clip has 1, 3, 7"),
        (["--merge", "1,3"], "two people of track 1 in frames 2, 3, 4, 5, 6, 7 "),
        (["--from", "nothing.json"], "nothing.json"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_changes(folder, words, said):
    with pytest.raises(JmposeError) as caught:
        run(folder, "--delete", "8", *words)
    assert re.search(said, f"{caught.value.message} {caught.value.hint}")
    assert [path.name for path in folder.iterdir()] == [TRUTH_FILE]


def test_a_clip_that_a_run_works_on_is_left_alone(folder):
    out = folder.parent
    with Claims(out / ".jmpose" / "claims") as claims:
        assert claims.take(work_key("clip")) is None
        with pytest.raises(JmposeError, match=r"another jmpose works on it \(process"):
            run(folder, "--delete", 8)
    run(folder, "--delete", 8)
    mark = out / ".jmpose" / "work" / work_key("clip") / "replacing"
    mark.parent.mkdir(parents=True)
    mark.touch()
    with pytest.raises(JmposeError, match="while it replaced the files"):
        run(folder, "--delete", 7)


def test_edits_of_another_program_are_accepted_by_the_command(folder):
    run(folder, "--delete", 8)
    data = json.loads((folder / TRUTH_FILE).read_bytes())
    data["annotations"][0]["keypoints"][:2] = [5, 5]
    (folder / TRUTH_FILE).write_text(json.dumps(data))
    with pytest.raises(JmposeError, match="another program"):
        run(folder, "--delete", 7)
    assert "accept-edits  (1 frame, 1 pose)" in run(folder, "--accept-edits", "--delete", 7)
    truth = read_truth(folder)
    assert truth.xy[0, 0].tolist() == [5, 5] and truth.sources[0, 0] == CORRECTED and 7 not in truth.track_ids
    assert "nothing to accept" in run(folder, "--accept-edits") and state_of(folder) == "current"


def changed_elsewhere(folder: Path, path: Path) -> Truth:
    """Write what an annotator might make of a clip: a joint moved, one removed, somebody deleted, somebody added."""
    truth = read_truth(folder)
    xy, visibility, scores = truth.xy.copy(), truth.visibility.copy(), truth.scores.copy()
    xy[0, 3] += (4, -3)
    visibility[0, 4], scores[0, 4], xy[0, 4] = 0, 0, 0
    xy[2] += 0.004  # rounding
    (gone,) = np.flatnonzero((truth.track_ids == 8) & (truth.frame == 5))
    xy[gone] += 20
    other = replace(truth, xy=xy, visibility=visibility, scores=scores)
    (added,) = np.flatnonzero((truth.track_ids == 1) & (truth.frame == 5))
    ids = other.track_ids.copy()
    ids[gone] = 20
    other = replace(other, track_ids=ids)
    assert added != gone
    write_truth(other, path)
    return truth


def test_what_came_back_is_merged_by_frame_and_id(folder, tmp_path):
    before = changed_elsewhere(folder, tmp_path / "back.json")
    assert "2 frames, 2 poses" in run(folder, "--from", tmp_path / "back.json")
    truth = read_truth(folder)
    assert (truth.xy[0, 3] == before.xy[0, 3] + (4, -3)).all() and truth.visibility[0, 4] == 0
    assert truth.sources[0].tolist() == [MODEL] * 3 + [CORRECTED] * 2 + [MODEL] * 14
    assert truth.scores[0, 3] == 1 and (truth.covariances[0, 3] == 0).all()
    assert 7 not in frames_of(truth, 8) and frames_of(truth, 20) == [7]
    (new,) = np.flatnonzero(truth.track_ids == 20)
    assert (truth.sources[new] == CORRECTED).all() and (truth.scores[new] == 1).all()
    others = [row for row in range(len(before)) if before.frame[row] not in (0, 5)]
    assert (truth.xy[truth.frame % 5 != 0] == before.xy[before.frame % 5 != 0]).all() and others
    assert "nothing changes" in run(folder, "--from", tmp_path / "back.json")
    with Corrections(folder) as corrections:
        assert len(corrections.done) == 1


def test_people_who_got_other_ids_there_get_them_here(folder, tmp_path):
    before = read_truth(folder)
    ids = before.track_ids.copy()
    later = before.index[before.frame] >= 6
    ids[(before.track_ids == 1) & later], ids[(before.track_ids == 8) & later] = 8, 1  # swapped
    ids[before.track_ids == 7] = 3  # merged
    write_truth(replace(before, track_ids=ids, identity=ids), tmp_path / "back.json")
    run(folder, "--from", tmp_path / "back.json")
    truth = read_truth(folder)
    assert (truth.track_ids == ids).all() and (truth.identity == ids).all() and (truth.sources == MODEL).all()
    assert (truth.xy == before.xy).all() and (truth.covariances == before.covariances).all()


def test_a_walk_to_cvat_and_back(folder, tmp_path):
    sent = tmp_path / "task.xml"
    assert CliRunner().invoke(app, ["convert", str(folder), str(sent), "--to", "cvat", "-q"]).exit_code == 0
    before = read_truth(folder)
    assert "nothing changes" in run(folder, "--from", sent)
    tree = ElementTree.parse(sent)
    first, third = (next(one for one in tree.iter("track") if one.get("id") == number) for number in "13")
    nose = next(one for one in first.iter("points") if one.get("label") == "nose")
    nose.set("points", "12.5,30.25")
    ear = next(one for one in first.iter("points") if one.get("label") == "left_ear")
    ear.set("occluded", str(1 - int(ear.get("occluded"))))
    tree.getroot().remove(third)
    tree.write(sent)
    run(folder, "--from", sent)
    truth = read_truth(folder)
    assert truth.xy[0, 0].tolist() == [12.5, 30.25] and 3 not in truth.track_ids
    assert np.flatnonzero(truth.sources[0]).tolist() == [0, truth.keypoints.joints.index("left_ear")]
    assert truth.visibility[0, 3] == 3 - before.visibility[0, 3] and (truth.sources[1:] == MODEL).all()


def test_joints_that_the_other_file_does_not_know_stay(folder, tmp_path):
    truth = read_truth(folder)
    with PoseTrack18Writer(tmp_path / "back.json", META, truth.keypoints) as writer:
        for poses in truth.poses():
            xy = poses.xy_image.copy()
            if poses.people.index == 4:
                xy[0, truth.keypoints.joints.index("nose")] += 7
            writer.write(replace(poses, xy_image=xy))
    new, notes = merged(truth, read_poses(tmp_path / "back.json"))
    assert changed_frames(truth, new) == {2: 1} and not notes
    row = truth.of_frame(2).start
    eye = truth.keypoints.joints.index("left_eye")
    assert "left_eye" not in POSETRACK18.joints and new.sources[row, eye] == MODEL
    assert new.sources[row].tolist().count(CORRECTED) == 1 and (new.visibility == truth.visibility).all()


def test_boxes_and_ids_of_a_file_without_joints(folder, tmp_path):
    truth = read_truth(folder)
    lines = [
        f"{truth.index[truth.frame[row]] + 1},{truth.track_ids[row]},{x1 + 5},{y1},{x2 - x1},{y2 - y1},1,-1,-1,-1"
        for row, (x1, y1, x2, y2) in enumerate(truth.boxes_xyxy_px.tolist())
    ]
    (tmp_path / "back.txt").write_text("\n".join(lines[1:]) + "\n")
    new, _ = merged(truth, read_poses(tmp_path / "back.txt"))
    assert len(new) == len(truth) - 1
    assert np.allclose(new.boxes_xyxy_px[:, 0], truth.boxes_xyxy_px[1:, 0] + 5, atol=0.02)
    assert (new.sources == MODEL).all()


def spoiled(tmp_path: Path, folder: Path, change) -> Path:
    data = json.loads((folder / TRUTH_FILE).read_bytes())
    change(data)
    path = tmp_path / "spoiled.json"
    path.write_text(json.dumps(data))
    return path


def strangers(data) -> None:
    for one in data["annotations"]:
        one["track_id"] += 50
        one["keypoints"][0] += 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: [one.update(width=641) for one in data["images"]], "another video .* pictures of 641 x 360"),
        (lambda data: data["images"][3].update(frame_index=90), "another video .* it has frames 90"),
        (lambda data: data["info"]["video"].update(name="other"), "another video .* it says 'other'"),
        (lambda data: data["annotations"][4].pop("track_id"), "without a track id in frames 4"),
        (
            lambda data: [one.update(track_id=1) for one in data["annotations"]],
            "frame 2 has 2 people .* 11 has",
        ),
        (strangers, "nobody in it"),
    ],
)
def test_files_that_do_not_fit_are_refused(folder, tmp_path, change, said):
    path = spoiled(tmp_path, folder, change)
    with pytest.raises(JmposeError, match=said):
        run(folder, "--from", path)
    assert not (folder / CORRECTIONS_FILE).exists()


def test_joints_that_do_not_map_are_refused(folder, tmp_path):
    records = read_poses(folder / TRUTH_FILE)
    strange = replace(records, joints=tuple(f"{joint}_of_a_mouse" for joint in records.joints))
    with pytest.raises(JmposeError, match="none of its joints is one of the clip's: nose_of_a_mouse"):
        merged(read_truth(folder), strange)
    elsewhere = replace(records, kind="dlc", info={"video": {"name": "file"}})  # others name videos as they like
    assert changed_frames(read_truth(folder), merged(read_truth(folder), elsewhere)[0]) == {}
    some = replace(records, joints=(*records.joints[:18], "tail"))
    _, notes = merged(read_truth(folder), some)
    assert notes == ["joints that the clip does not have are left out: tail"]


def test_images_are_matched_by_name(folder):
    truth = read_truth(folder)
    names = tuple(f"img{number}.png" for number in range(100, 114))
    truth = replace(truth, video=replace(truth.video, image_names=names))
    records = read_poses(folder / TRUTH_FILE)
    images = [replace(one, file_name=f"data/{names[one.frame_index]}", frame_index=None) for one in records.images]
    new, _ = merged(truth, replace(records, images=tuple(images)))
    assert changed_frames(truth, new) == {}
    images[2] = replace(images[2], file_name="x.png")
    with pytest.raises(JmposeError, match=r"another video .* it has 'x\.png'"):
        merged(truth, replace(records, images=tuple(images)))


def with_record(folder: Path) -> None:
    """Write `run.json` as a run without an overlay does."""
    truth = folder / TRUTH_FILE
    record = {
        "input": str(folder / "clip.mp4"),
        "config": {"output": {"formats": ["coco", "csv"], "overlay": False}},
        "files": {TRUTH_FILE: [truth.stat().st_size, file_sha256(truth)]},
    }
    (folder / "run.json").write_text(json.dumps(record))


def test_what_derives_from_the_truth_follows(folder):
    with_record(folder)
    run(folder, "--delete", 8)
    table = (folder / "keypoints.csv").read_text()
    assert len(table.splitlines()) == 1 + len(read_truth(folder))
    run(folder, "--delete", 7)
    assert len((folder / "keypoints.csv").read_text().splitlines()) == 1 + len(read_truth(folder))
    run(folder, "--undo")
    assert (folder / "keypoints.csv").read_text() == table
    (folder / "keypoints.csv").unlink()  # as when the last command was killed
    run(folder)
    assert (folder / "keypoints.csv").read_text() == table


def test_a_truth_that_was_changed_before_the_first_correction_is_noticed_too(folder):
    with_record(folder)
    data = json.loads((folder / TRUTH_FILE).read_bytes())
    del data["annotations"][0]
    (folder / TRUTH_FILE).write_text(json.dumps(data))
    assert state_of(folder) == "changed"
    with pytest.raises(JmposeError, match="another program has changed it"):
        run(folder, "--delete", 8)
    assert "counts as what the model gave" in run(folder, "--accept-edits")
    assert state_of(folder) == "current" and (folder / "keypoints.csv").is_file()
    run(folder, "--delete", 8)
    assert len(read_truth(folder)) == 30 - len(TRACKS[8])
