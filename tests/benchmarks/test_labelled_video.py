from pathlib import Path

import numpy as np
import pytest

from jmpose.files import file_sha256
from jmpose.keypoints import COCO17
from jmpose_cli.clips.corrections import Corrections
from jmpose_cli.clips.operations import Delete, Review, SetJoints, SetVisibility
from labelled_video import LABELS, Answers, Figures, Labels, read_labels, take
from real_video import TEST, TRAINING, table
from tests.clips.clip_assets import make_clip
from tests.video_assets import make_video

VIDEOS = Path(__file__).resolve().parents[3] / "shared/data/videos"


@pytest.mark.parametrize("folder", [LABELS, LABELS / "blind"])
def test_the_labels_are_valid(folder: Path) -> None:
    for labels in read_labels(folder):
        video = labels.data["info"]["video"]
        assert labels.video in (*TEST, *TRAINING)
        assert labels.data["categories"][0]["keypoints"] == list(COCO17.joints)
        numbers = [image["frame_index"] for image in labels.data["images"]]
        assert numbers == sorted(set(numbers)) == [number for number, _ in labels.frames]
        assert 0 <= numbers[0] <= numbers[-1] < video["frames"]
        assert len({(one["image_id"], one["track_id"]) for one in labels.people}) == len(labels.people)
        seen = np.array([one["keypoints"][2::3] for one in labels.people])
        assert set(seen.ravel().tolist()) <= {0, 1, 2}
        assert (seen > 0).sum(1).tolist() == [one["num_keypoints"] for one in labels.people]
        assert (labels.xy[~labels.known] == 0).all()
        xy, people = labels.xy[labels.known], np.nonzero(labels.known)[0]
        assert (xy >= 0).all()
        assert (xy <= [video["width"] - 1, video["height"] - 1]).all()
        if folder == LABELS:
            corner, size = np.split(np.array([one["bbox"] for one in labels.people]), 2, axis=1)
            assert (xy >= corner[people] - 0.1).all()
            assert (xy <= (corner + size)[people] + 0.1).all()
    assert folder != LABELS or sum(len(labels.frames) for labels in read_labels()) == 120


def test_labels_that_were_made_again_without_a_model_agree() -> None:
    first, again = ({one.video: one for one in read_labels(folder)} for folder in (LABELS, LABELS / "blind"))
    off = []
    for video, labels in again.items():
        who = {(one["image_id"], one["track_id"]): place for place, one in enumerate(first[video].people)}
        rows = [who[one["image_id"], one["track_id"]] for one in labels.people]
        distance = np.linalg.norm(first[video].xy[rows] - labels.xy, axis=2) / labels.size_px[:, None]
        off += distance[first[video].known[rows] & labels.known].tolist()
    assert len(off) > 150
    assert np.mean(off) < 0.04


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="needs ../shared/data")
def test_the_videos_are_those_that_were_labelled() -> None:
    for labels in read_labels():
        assert file_sha256(VIDEOS / f"{labels.video}.mp4") == labels.data["info"]["video"]["sha256"]


def as_answers(labels: Labels, *, swapped: bool = False) -> Answers:
    xy = labels.xy[:, list(COCO17.flip_index)] if swapped else labels.xy
    return Answers(xy, np.ones(xy.shape[:2]), np.ones(len(xy)))


def test_the_labels_themselves_are_right_in_everything() -> None:
    labels = read_labels()
    figures = Figures(labels, [as_answers(one) for one in labels])
    assert (figures.oks_ap, figures.pck(placed=False), figures.pck(placed=True)) == pytest.approx((100, 100, 100))
    assert figures.exchanged == 0


def test_exchanged_sides_and_joints_that_are_off_are_counted() -> None:
    (labels,) = (one for one in read_labels() if one.video == "mmtracking_street")
    assert Figures([labels], [as_answers(labels, swapped=True)]).exchanged > 90
    right = as_answers(labels)
    off = Answers(right.xy + 0.2 * labels.size_px[:, None, None], right.scores, right.person_scores)
    figures = Figures([labels], [off])
    assert figures.pck(placed=False) == figures.oks_ap == 0
    assert "0.0" in table(["pck"], [[figures.pck(placed=True)]])[-2]


def test_reviewed_frames_of_a_corrected_clip_become_labels(tmp_path: Path) -> None:
    clip, video = make_clip(tmp_path / "street"), tmp_path / "street.mp4"
    make_video(video, frames=14)
    with Corrections(clip) as corrections:
        moved = SetJoints(track=1, frame=5, joints={"nose": (300, 200.06, 2), "left_wrist": (700, 50, 2)})
        hidden = SetVisibility(track=1, frames=(5, 6), joints=("left_knee",), visibility=1)
        gone = SetVisibility(track=1, frames=(5, 6), joints=("right_ankle",), visibility=0)
        corrections.do([moved, hidden, gone, Delete(track=8, frames=(5, 6)), Review(frames=(5, 6))])
        corrections.write()
    labels = Labels(take([clip], video))
    assert labels.data["info"]["video"] == {
        **{"name": "street", "sha256": file_sha256(video), "width": 640, "height": 360, "fps": 25.0, "frames": 14}
    }
    assert [(number, [one["track_id"] for one in people]) for number, people in labels.frames] == [(5, [1, 3])]
    joints = {name: place for place, name in enumerate(COCO17.joints)}
    assert labels.xy[0, joints["nose"]].tolist() == [300, 200.1]
    assert labels.data["annotations"][0]["keypoints"][3 * joints["left_knee"] + 2] == 1
    assert not labels.known[0, [joints["right_ankle"], joints["left_wrist"]]].any()  # the wrist is outside
    assert labels.known.sum(1).tolist() == [15, 17]
    assert np.flatnonzero(labels.placed.any(0)).tolist() == [joints["nose"]]
    left, top, width, height = labels.people[0]["bbox"]
    assert left <= 300 <= left + width
    assert top <= 200.1 <= top + height
