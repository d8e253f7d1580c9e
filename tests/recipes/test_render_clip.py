import json
from pathlib import Path

import numpy as np
import pytest

import render_clip
from jmpose.keypoints import POSETRACK18
from jmpose_cli.formats.read import read_poses
from jmpose_cli.video.source import open_video
from renderer import JOINTS, RenderedFrame
from renderer.film import render
from renderer.street import street_scene

MOST_BYTES = 2_000_000


@pytest.fixture(scope="module")
def clip() -> Path:
    return Path(__file__).parents[2] / "examples/street.mp4"


@pytest.fixture(scope="module")
def truth(clip: Path) -> dict:
    return json.loads(clip.with_suffix(".posetrack18.json").read_text())


def made_frame(*, shown: float = 1.0) -> RenderedFrame:
    """One person, joint number k at (10 + k, 20 + 2k); the left knee is hidden, the right ankle outside."""
    k = np.arange(19, dtype=np.float32)
    joints = np.stack([10 + k, 20 + 2 * k], axis=1)[None]
    joints[0, JOINTS.index("right_ankle")] = (30, 100)
    visible = np.ones((1, 19), np.bool_)
    visible[0, [JOINTS.index("left_knee"), JOINTS.index("right_ankle")]] = False
    return RenderedFrame(
        frame_rgb=np.zeros((90, 160, 3), np.uint8),
        time_s=0.0,
        joints_xy=joints,
        visible=visible,
        boxes_xyxy=np.array([[5, 10, 40, 89]], np.float32),
        head_boxes_xyxy=np.array([[8, 18, 20, 32]], np.float32),
        track_ids=np.array([4]),
        shown=np.array([shown], np.float32),
    )


def document(*frames: RenderedFrame) -> dict:
    truth = render_clip.GroundTruth("000007_mpii_test", width=160, height=90)
    for frame in frames:
        truth.add(frame)
    return truth.document()


def test_ground_truth_of_one_person() -> None:
    made = document(made_frame())
    (person,) = made["annotations"]
    points = dict(zip(POSETRACK18.joints, np.reshape(person["keypoints"], (17, 3)).tolist(), strict=True))
    assert points["nose"] == [10, 20, 1]
    assert points["head_top"] == [28, 56, 1]
    assert points["left_knee"] == [23, 46, 0]
    assert points["right_ankle"] == points["left_ear"] == points["right_ear"] == [0, 0, 0]
    assert (person["track_id"], person["category_id"], person["scores"]) == (4, 1, [])
    # The joints extend from (10, 20), the nose, to (28, 56), head_top: 18 x 36 about (19, 38).
    assert person["bbox"] == pytest.approx([19 - 11.7, 38 - 23.4, 23.4, 46.8])
    assert person["bbox_head"] == [8, 18, 12, 14]
    assert person["image_id"] == 10000070000
    assert person["id"] == 1000007000000


def test_images_are_numbered_as_posetrack_does() -> None:
    images = document(made_frame(), made_frame())["images"]
    assert [image["id"] for image in images] == [10000070000, 10000070001]
    assert images[1]["file_name"] == "images/000007_mpii_test/000001.jpg"
    assert images[1]["vid_id"] == "000007"
    assert {image["nframes"] for image in images} == {2}


def test_people_of_whom_nearly_nothing_shows_are_left_out() -> None:
    made = document(made_frame(shown=0.01))
    assert made["annotations"] == []
    assert len(made["images"]) == 1


def test_the_script_writes_video_and_truth(tmp_path, capsys) -> None:
    out = tmp_path / "small.mp4"
    arguments = ["--out", str(out), "--frames", "2", "--width", "160", "--height", "90", "--seed", "3"]
    assert render_clip.main(arguments) == 0
    printed = capsys.readouterr().out.split()
    assert printed == [str(out), str(tmp_path / "small.posetrack18.json")]
    with open_video(out, decoder="pyav") as video:
        frames = np.concatenate([batch.frames for batch in video])
    assert frames.shape == (2, 90, 160, 3)
    assert len(read_poses(tmp_path / "small.posetrack18.json").images) == 2


def test_an_unwritable_place_is_an_error_and_not_a_traceback(tmp_path, capsys) -> None:
    arguments = ["--out", str(tmp_path / "none" / "x.mp4"), "--frames", "1", "--width", "64", "--height", "36"]
    assert render_clip.main(arguments) == 1
    assert "error: " in capsys.readouterr().err


def test_the_shipped_clip_is_small_and_as_long_as_its_truth(clip, truth) -> None:
    assert clip.stat().st_size < MOST_BYTES
    with open_video(clip) as video:
        info = video.info
        count = sum(len(batch) for batch in video)
    assert count == len(truth["images"]) == truth["images"][0]["nframes"]
    assert {(image["width"], image["height"]) for image in truth["images"]} == {(info.width, info.height)}


def test_the_shipped_truth_follows_the_format(clip, truth) -> None:
    records = read_poses(clip.with_suffix(".posetrack18.json"))
    assert len(records.images) == len(truth["images"])
    (category,) = truth["categories"]
    assert tuple(category["keypoints"]) == POSETRACK18.joints
    ids = [image["id"] for image in truth["images"]]
    assert all(image["is_labeled"] and image["ignore_regions_x"] == [] for image in truth["images"])
    for person in truth["annotations"]:
        points = np.reshape(person["keypoints"], (17, 3))
        assert person["image_id"] in ids
        assert not points[3:5].any()
        assert set(np.unique(points[:, 2])) <= {0.0, 1.0}
        assert (points[:, :2] >= 0).all()
        assert (points[:, :2] <= (959, 539)).all()
        x, y, w, h = person["bbox"]
        used = points[points.any(axis=1), :2]
        assert (w, h) == pytest.approx(np.ptp(used, axis=0) * 1.3, abs=0.02)
        assert (x + w / 2, y + h / 2) == pytest.approx((used.min(axis=0) + used.max(axis=0)) / 2, abs=0.02)


def test_the_shipped_clip_has_people_who_cross_and_hide_each_other(truth) -> None:
    tracks = {person["track_id"] for person in truth["annotations"]}
    assert len(tracks) >= 5
    hidden = [p for p in truth["annotations"] if (np.reshape(p["keypoints"], (17, 3))[5:] @ (1, 0, 0)).all()]
    assert any(np.reshape(p["keypoints"], (17, 3))[5:, 2].sum() <= 4 for p in hidden)
    # Somebody overtakes somebody else from left to right of them.
    swaps = 0
    path = {(p["image_id"], p["track_id"]): p["bbox"][0] + p["bbox"][2] / 2 for p in truth["annotations"]}
    for a in tracks:
        for b in tracks:
            sides = [path[i, a] < path[i, b] for i, t in path if t == a and (i, b) in path]
            swaps += len(set(sides)) == 2
    assert swaps >= 6


def test_the_shipped_clip_is_what_the_script_renders(clip, truth) -> None:
    frame = next(render(street_scene(7, samples=3), frames=1, fps=25.0, seed=7))
    again = render_clip.GroundTruth("street", width=960, height=540)
    again.add(frame)
    shipped = [p for p in truth["annotations"] if p["image_id"] == truth["images"][0]["id"]]
    for person, other in zip(again.document()["annotations"], shipped, strict=True):
        assert person["track_id"] == other["track_id"]
        assert np.reshape(person["keypoints"], (17, 3))[:, :2] == pytest.approx(
            np.reshape(other["keypoints"], (17, 3))[:, :2], abs=0.02
        )
    with open_video(clip) as video:
        decoded = next(iter(video)).frames[0]
    difference = decoded.astype(float) - frame.frame_rgb
    assert np.sqrt((difference**2).mean()) < 8
