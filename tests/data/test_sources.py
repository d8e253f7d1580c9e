"""What the sources give: pictures, labels and boxes of one person, and what they leave out."""

import numpy as np
import pytest

from jmpose.keypoints import COCO17, COCO17_HEAD, POSETRACK18
from jmpose_cli.data.layouts import find_stills, find_videos
from jmpose_cli.data.samples import Choice
from jmpose_cli.data.sources import CropWindows, FrameWindows, StillWindows, posetrack_windows
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.read import read_poses
from tests.data.annotated import coco, grey_of, numbers_in, person, posetrack17, posetrack18

NEIGHBOURS = Choice((-1, 0, 1))
FAR = Choice((-2, 0, 2))
NOSE = POSETRACK18.joints.index("nose")


def opened(root, keypoints=POSETRACK18):
    (video,) = find_videos(root, "val")
    return posetrack_windows(video, keypoints)


@pytest.fixture
def video(tmp_path):
    """Six frames, 0 and 3 unlabelled. Track 1 is in all labelled frames, at x = 20 + number; track 2 in 1, 4 and 5."""
    people = [person(n, 1, xy=(20 + n, 10)) for n in (1, 2, 4, 5)]
    people += [person(n, 2, xy=(5, 10 + n), box=(0, 8, 20, 38)) for n in (1, 4, 5)]
    posetrack18(tmp_path, people, frames=6, unlabelled=(0, 3))
    return opened(tmp_path)


def window_of(source, frame, track, choice):
    """Window of a track in a frame, by the name that it carries."""
    windows = [source.read(index, choice) for index in range(len(source))]
    (window,) = [w for w in windows if w.name.endswith(f"frame {frame}, track {track}")]
    return window


class TestFrameWindows:
    def test_labelled_neighbours_carry_their_own_labels(self, video):
        window = window_of(video, 4, 1, NEIGHBOURS)
        assert numbers_in(window.pictures) == [3, 4, 5]
        assert window.exists.tolist() == [True, True, True]
        assert window.labels.weight.tolist() == [[0.0] * 17, [1.0] * 17, [1.0] * 17]
        assert (window.labels.present == window.labels.weight).all()
        assert window.labels.xy[1, 5].tolist() == [29, 15]  # x = 20 + 4 + joint number
        assert window.labels.xy[2, 5].tolist() == [30, 15]
        assert window.box_xyxy_px.tolist() == [15, 5, 45, 41]
        assert window.box_xyxy_px.dtype == np.float32
        assert not window.is_still
        assert "000001_clip" in window.name

    def test_unlabelled_frames_exist_without_labels(self, video):
        window = window_of(video, 2, 1, NEIGHBOURS)
        assert numbers_in(window.pictures) == [1, 2, 3]
        assert window.exists.all()
        assert (window.labels.weight[0] == 1).all()
        assert not window.labels.weight[2].any()
        assert not window.labels.present[2].any()

    def test_somebody_who_left_the_track_does_not_exist(self, video):
        window = window_of(video, 1, 2, NEIGHBOURS)
        assert numbers_in(window.pictures) == [0, 1, 1]
        assert window.exists.tolist() == [True, True, False]
        # The stand-in is the key frame, and its labels come with it.
        assert (window.labels.xy[2] == window.labels.xy[1]).all()
        assert (window.labels.weight[2] == 1).all()

    def test_the_nearest_existing_frame_stands_in_as_in_inference(self, video):
        # Frame 2 is without track 2, so that 3, on the way to the key frame, stands in; beyond the end 5 does.
        window = window_of(video, 4, 2, FAR)
        assert numbers_in(window.pictures) == [3, 4, 5]
        assert window.exists.tolist() == [False, True, False]
        assert window.labels.weight.any(1).tolist() == [False, True, True]
        assert window.labels.xy[2, NOSE].tolist() == [5, 15]

    def test_start_and_end_of_the_video(self, tmp_path):
        posetrack18(tmp_path, [person(n, 1) for n in range(3)], frames=3)
        source = opened(tmp_path)
        first, last = window_of(source, 0, 1, FAR), window_of(source, 2, 1, FAR)
        assert numbers_in(first.pictures) == [0, 0, 2]
        assert first.exists.tolist() == [False, True, True]
        assert numbers_in(last.pictures) == [0, 2, 2]
        assert last.exists.tolist() == [True, True, False]

    def test_a_window_of_one_frame(self, video):
        window = window_of(video, 4, 1, Choice((0,)))
        assert numbers_in(window.pictures) == [4]
        assert window.labels.xy.shape == (1, 17, 2)

    def test_people_who_cannot_be_learnt_from_still_exist_in_their_frames(self, tmp_path):
        people = [person(0, 1, absent=POSETRACK18.joints), person(1, 1), person(2, 1, box=None)]
        posetrack18(tmp_path, people, frames=3)
        source = opened(tmp_path)
        assert len(source) == 1
        window = source.read(0, NEIGHBOURS)
        assert numbers_in(window.pictures) == [0, 1, 2]
        assert window.exists.all()
        assert window.labels.weight.any(1).tolist() == [False, True, False]

    def test_people_without_tracks_keep_their_own_labels(self, tmp_path):
        people = [person(n, n, xy=(x, 10), joints=COCO17.joints, track_id=None) for n, x in ((0, 10), (1, 15))]
        people += [person(1, 3, xy=(40, 20), joints=COCO17.joints, track_id=None)]
        file = coco(tmp_path / "people.json", people, images=3)  # nobody is in the last
        pictures = {n: tmp_path / f"{n:012d}.png" for n in range(3)}
        source = FrameWindows("clip", read_poses(file), pictures=pictures, frame_of=range(3), keypoints=COCO17)
        windows = [source.read(index, NEIGHBOURS) for index in range(3)]
        assert [w.labels.xy[1, 0].tolist() for w in windows] == [[10, 10], [15, 10], [40, 20]]
        # Nobody knows who is who in the next frame.
        assert [w.exists.tolist() for w in windows] == [[False, True, True], [True, True, False], [True, True, False]]
        assert [w.labels.weight.any(1).tolist() for w in windows] == [
            [True, True, False],
            [False, True, True],
            [False, True, True],
        ]

    def test_what_scoring_asks_for(self, video):
        rows = [video.key_of(index) for index in range(len(video))]
        assert rows == [(int(image), row) for row, image in enumerate(video.records.image_row)]
        xy, known, box = video.joints_of(1)
        assert xy[0].tolist() == [22, 10]
        assert known.all()
        assert box.tolist() == [15, 5, 45, 41]
        assert len(list(video.pictures())) == 6
        assert video.files()[0].endswith("000001_clip.json")


class TestWhoIsLeftOut:
    def test_counts_are_noted(self, tmp_path):
        body = POSETRACK18.joints
        people = [
            person(0, 1),
            person(0, 2, box=None),
            person(0, 3, box=(5, 5, 0, 20)),
            person(0, 4, box=(5, 5, 20, 0)),
            person(0, 5, absent=body[2:]),  # two joints
            person(0, 6, xy=(-4, 10)),  # joints 0 to 3 are left of the picture
            person(0, 7, xy=(20, 33)),  # the last two joints, y = 48 and 49, are below it
        ]
        posetrack18(tmp_path, people, frames=1)
        source = opened(tmp_path)
        assert source.notes == (
            "000001_clip: left out: 6 joints outside the picture, 1 people with fewer than 3 known joints, "
            "1 people without a box, 2 people with a box without area",
        )
        assert [source.key_of(index)[1] for index in range(len(source))] == [0, 5, 6]
        assert source.joints_of(1)[1].tolist() == [False] * 4 + [True] * 13
        assert source.joints_of(2)[1].tolist() == [True] * 15 + [False] * 2

    def test_three_joints_are_enough(self, tmp_path):
        posetrack18(tmp_path, [person(0, 1, absent=POSETRACK18.joints[3:])], frames=1)
        source = opened(tmp_path)
        assert len(source) == 1
        assert source.notes == ()

    def test_joints_outside_do_not_count_among_the_three(self, tmp_path):
        posetrack18(tmp_path, [person(0, 1, xy=(-1, 10), absent=POSETRACK18.joints[3:])], frames=1)
        assert len(opened(tmp_path)) == 0

    def test_the_border_of_the_picture_is_half_a_pixel_out(self, tmp_path):
        posetrack18(tmp_path, [person(0, 1, xy=(63.4 - 16, 10)), person(0, 2, xy=(63.6 - 16, -0.4))], frames=1)
        source = opened(tmp_path)
        assert source.joints_of(0)[1].all()
        assert source.joints_of(1)[1].tolist() == [True] * 16 + [False]

    def test_pictures_of_unknown_size_have_no_far_border(self, tmp_path):
        posetrack18(tmp_path, [person(0, 1, xy=(5000, 10))], frames=1, sized=False)
        assert opened(tmp_path).joints_of(0)[1].all()

    def test_crowds(self, tmp_path):
        people = [person(0, 1, joints=COCO17.joints), person(0, 2, joints=COCO17.joints, iscrowd=1)]
        source = StillWindows(find_stills(coco(tmp_path / "a.json", people, images=1)), keypoints=COCO17, moving=False)
        assert len(source) == 1
        assert source.notes == ("a: left out: 1 crowds",)

    def test_nobody_at_all(self, tmp_path):
        posetrack18(tmp_path, [], frames=2)
        source = opened(tmp_path)
        assert len(source) == 0
        assert source.notes == ()


class TestJointSets:
    def test_joints_are_mapped_by_name_and_the_others_get_no_loss(self, tmp_path):
        posetrack18(tmp_path, [person(0, 1)], frames=1)
        window = opened(tmp_path, COCO17_HEAD).read(0, Choice((0,)))
        for place, joint in enumerate(COCO17_HEAD.joints):
            if joint in POSETRACK18.joints:
                number = POSETRACK18.joints.index(joint)
                assert window.labels.xy[0, place].tolist() == [20 + number, 10 + number]
                assert window.labels.weight[0, place] == 1
            else:
                assert joint in ("left_eye", "right_eye")
                assert window.labels.weight[0, place] == window.labels.present[0, place] == 0

    def test_absent_joints_get_no_loss(self, tmp_path):
        posetrack18(tmp_path, [person(0, 1, absent=("left_ear", "right_ear"))], frames=1)
        weight = opened(tmp_path).read(0, Choice((0,))).labels.weight[0]
        assert [POSETRACK18.joints[k] for k in np.flatnonzero(weight == 0)] == ["left_ear", "right_ear"]

    def test_nothing_in_common(self, tmp_path):
        people = [person(0, 1, joints=("paw", "tail", "snout"))]
        data = find_stills(coco(tmp_path / "cats.json", people, images=1, joints=("paw", "tail", "snout")))
        with pytest.raises(JmposeError, match=r"cats: none of its joints \(paw, tail, snout\) is known") as caught:
            StillWindows(data, keypoints=COCO17, moving=False)
        assert "left_wrist" in caught.value.hint


class TestPoseTrack17:
    def test_boxes_are_made_from_joints(self, tmp_path):
        names = [f"images/bonn/clip/{n:08d}.png" for n in range(1, 4)]
        joints = {0: (10.0, 40.0), 5: (30.0, 40.0), 12: (20.0, 12.0), 14: (20.0, 10.0)}
        posetrack17(tmp_path / "annotations/val/clip.json", names, {1: [(7, joints), (8, {0: (3.0, 3.0)})]})
        for number, name in enumerate(names):
            picture = tmp_path / name
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_bytes(png(number))
        source = opened(tmp_path)
        assert len(source) == 1
        assert source.notes == ("clip: left out: 1 people with fewer than 3 known joints",)
        window = source.read(0, NEIGHBOURS)
        # 10 to 30 by 10 to 40, a tenth more on each side.
        assert window.box_xyxy_px.tolist() == [8, 7, 32, 43]
        assert numbers_in(window.pictures) == [0, 1, 2]
        assert window.exists.all()
        assert window.labels.weight.sum(1).tolist() == [0, 4, 0]
        assert window.labels.xy[1, POSETRACK18.joints.index("right_ankle")].tolist() == [10, 40]
        assert window.labels.xy[1, POSETRACK18.joints.index("head_top")].tolist() == [20, 10]


def png(number):
    import cv2

    return cv2.imencode(".png", np.full((48, 64, 3), grey_of(number), np.uint8))[1].tobytes()


class TestStillWindows:
    @pytest.fixture
    def data(self, tmp_path):
        people = [person(n, n + 1, xy=(20, 10 + n), joints=COCO17.joints) for n in range(3)]
        people[1]["keypoints"][2] = 0  # COCO: not labelled
        return find_stills(coco(tmp_path / "people.json", people, images=3))

    def test_one_picture_many_times(self, data):
        window = StillWindows(data, keypoints=COCO17, moving=True).read(2, NEIGHBOURS)
        assert numbers_in(window.pictures) == [2, 2, 2]
        assert window.exists.all()
        assert window.is_still
        assert (window.labels.xy == window.labels.xy[0]).all()
        assert window.labels.xy[0, 3].tolist() == [23, 15]
        assert window.labels.weight.all()
        assert "000000000002.png, annotation 302" in window.name

    def test_without_motion_only_the_key_frame_exists(self, data):
        window = StillWindows(data, keypoints=COCO17, moving=False).read(0, FAR)
        assert window.exists.tolist() == [False, True, False]
        assert not window.is_still

    def test_unlabelled_joints(self, data):
        source = StillWindows(data, keypoints=COCO17, moving=True)
        assert source.joints_of(1)[1].tolist() == [False] + [True] * 16
        assert source.read(1, NEIGHBOURS).labels.weight[:, 0].tolist() == [0, 0, 0]
        assert source.key_of(1) == (1, 1)

    def test_pictures_are_those_with_people(self, tmp_path):
        people = [person(1, 1, joints=COCO17.joints)]
        data = find_stills(coco(tmp_path / "people.json", people, images=3))
        source = StillWindows(data, keypoints=COCO17, moving=False)
        assert [path.name for path in source.pictures()] == ["000000000001.png"]


def patches(folder, people=3, **changes):
    """Folder of stills 40 wide and 60 high; joint k of person n at (10 + n, k)."""
    folder.mkdir()
    pictures = np.stack([np.full((60, 40, 3), grey_of(n), np.uint8) for n in range(people)])
    xy = np.stack([[(10 + n, k) for k in range(17)] for n in range(people)]).astype(np.float32)
    labels = {"xy": xy, "weight": np.ones((people, 17), np.float32), "present": np.ones((people, 17), np.float32)}
    labels |= changes
    np.save(folder / "patches.npy", pictures)
    np.savez(folder / "labels.npz", **labels)
    return folder


def scenes(folder, frames=3, **more):
    """Two files of windows, 2 people and 1 person; picture t of person n is number 3 n + t."""
    folder.mkdir()
    first = 0
    for number, people in enumerate((2, 1)):
        levels = grey_of(3 * (first + np.arange(people))[:, None] + np.arange(frames))
        pictures = np.broadcast_to(levels[:, :, None, None, None], (people, frames, 60, 40, 3)).astype(np.uint8)
        joints = np.full((people, 17, 2), first, np.float32)
        visible = np.ones((people, 17), bool)
        visible[:, 0] = False
        np.savez(folder / f"scene-{number:03d}.npz", pictures=pictures, joints=joints, visible=visible, **more)
        first += people
    return folder


class TestCropWindows:
    def test_named_joints_go_to_their_places(self, tmp_path):
        names = np.array([*reversed(COCO17.joints[1:]), "head_top"])  # no nose
        folder = patches(tmp_path / "named", names=names)
        raw = CropWindows(folder, keypoints=COCO17, box_height=40, moving=False).read(1, Choice((0,)))
        assert raw.labels.xy[0, 1:, 1].tolist() == list(range(15, -1, -1)) and raw.labels.weight[0, 0] == 0

    def test_a_teacher_knows_the_first_joints(self, tmp_path):
        affine = np.array([[4.0, 0, 1], [0, 4, 2]])
        folder = patches(tmp_path / "crops", names=np.array(COCO17_HEAD.joints[2:]), taught_affine=affine)
        maps = np.full((3, 15, 8, 6), 51, np.uint8) * np.arange(3, dtype=np.uint8)[:, None, None, None]
        np.save(folder / "taught.npy", maps)
        options = {"keypoints": COCO17_HEAD, "box_height": 40, "moving": False}
        source = CropWindows(folder, **options, taught=True)
        taught = source.read(2, Choice((0,))).taught
        assert source.has_teacher and (taught.to_image == affine).all()
        assert np.isnan(taught.heatmaps[[0, 1, 17, 18]]).all() and (taught.heatmaps[2:17] == np.float32(0.4)).all()
        unasked = CropWindows(folder, **options)
        assert not unasked.has_teacher and unasked.read(2, Choice((0,))).taught is None
        np.save(folder / "taught.npy", maps[:2])
        with pytest.raises(JmposeError, match=r"not uint8 heatmaps of 3 pictures"):
            CropWindows(folder, **options, taught=True)

    def test_stills(self, tmp_path):
        source = CropWindows(patches(tmp_path / "crops"), keypoints=COCO17, box_height=40, moving=True)
        assert len(source) == 3
        window = source.read(2, NEIGHBOURS)
        assert numbers_in(window.pictures) == [2, 2, 2]
        assert window.is_still
        assert window.exists.all()
        assert window.labels.xy[:, 4].tolist() == [[12, 4]] * 3
        # 40 high and half as wide around (19.5, 29.5).
        assert window.box_xyxy_px.tolist() == [9.5, 9.5, 29.5, 49.5]
        assert source.files() == [str(tmp_path / "crops/labels.npz")]
        assert list(source.pictures()) == []

    def test_stills_without_motion(self, tmp_path):
        window = CropWindows(patches(tmp_path / "crops"), keypoints=COCO17, box_height=40, moving=False).read(0, FAR)
        assert window.exists.tolist() == [False, True, False]
        assert not window.is_still

    def test_people_with_few_joints_are_left_out(self, tmp_path):
        weight = np.ones((3, 17))
        weight[1, 2:] = 0
        source = CropWindows(patches(tmp_path / "c", weight=weight), keypoints=COCO17, box_height=40, moving=True)
        assert len(source) == 2
        assert numbers_in(source.read(1, Choice((0,))).pictures) == [2]
        assert source.notes == ("c: left out: 1 people with fewer than 3 known joints",)

    def test_windows(self, tmp_path):
        source = CropWindows(scenes(tmp_path / "crops"), keypoints=COCO17, box_height=40, moving=False)
        assert len(source) == 3
        window = source.read(2, NEIGHBOURS)
        assert numbers_in(window.pictures) == [6, 7, 8]
        assert window.exists.all()
        assert not window.is_still
        # Labels are known for the middle only; hidden joints count 0.3.
        assert window.labels.weight[:, 1].tolist() == [0, 1, 0]
        assert window.labels.weight[1, 0] == pytest.approx(0.3)
        assert (window.labels.present[1] == 1).all()
        assert (window.labels.xy[1] == 2).all()
        assert numbers_in(source.read(1, Choice((0,))).pictures) == [4]
        assert [path.rsplit("/", 1)[1] for path in source.files()] == ["scene-000.npz", "scene-001.npz"]

    def test_shorter_windows_are_spread_over_the_stored_ones(self, tmp_path):
        source = CropWindows(scenes(tmp_path / "crops", frames=5), keypoints=COCO17, box_height=40, moving=False)
        for offsets, shown in (((-2, -1, 0, 1, 2), [3, 4, 5, 6, 7]), ((-2, 0, 2), [3, 5, 7]), ((0,), [5])):
            window = source.read(1, Choice(offsets))
            assert numbers_in(window.pictures) == shown
            assert np.flatnonzero(window.labels.weight[:, 1]).tolist() == [offsets.index(0)]

    def test_a_folder_says_how_large_people_are(self, tmp_path):
        folder = patches(tmp_path / "crops", box_height=20.0)
        for given, half in ((None, 10), (40, 20)):
            source = CropWindows(folder, keypoints=COCO17, moving=False, box_height=given)
            assert source.read(0, Choice((0,))).box_xyxy_px.tolist()[1::2] == [29.5 - half, 29.5 + half]
        for number, wrong in enumerate((np.nan, 0.0, [20.0, 20.0], "tall")):
            with pytest.raises(JmposeError, match=r"box_height is .*, not a number of pixels"):
                CropWindows(patches(tmp_path / str(number), box_height=wrong), keypoints=COCO17, moving=False)
        with pytest.raises(JmposeError, match=r"labels\.npz cannot be read"):
            CropWindows(patches(tmp_path / "code", names=np.array([object()])), keypoints=COCO17, moving=False)

    def test_scenes_agree_how_large_people_are(self, tmp_path):
        folder = scenes(tmp_path / "crops", box_height=20.0)
        source = CropWindows(folder, keypoints=COCO17, moving=False)
        assert source.read(0, Choice((0,))).box_xyxy_px.tolist() == [14.5, 19.5, 24.5, 39.5]
        with np.load(folder / "scene-001.npz") as stored:
            np.savez(folder / "scene-001.npz", **{**stored, "box_height": 30.0})
        with pytest.raises(JmposeError, match="crops: files that disagree about how large people are"):
            CropWindows(folder, keypoints=COCO17, moving=False)

    def test_windows_of_another_length(self, tmp_path):
        source = CropWindows(scenes(tmp_path / "crops"), keypoints=COCO17, box_height=40, moving=False)
        with pytest.raises(JmposeError, match="windows of 3 pictures, the model takes 5"):
            source.read(0, Choice((-2, -1, 0, 1, 2)))

    def test_faulty_folders(self, tmp_path):
        def crops(folder, keypoints=COCO17):
            return CropWindows(folder, keypoints=keypoints, box_height=40, moving=False)

        with pytest.raises(JmposeError, match=r"absent: neither scene-\*\.npz nor labels\.npz"):
            crops(tmp_path / "absent")
        whole = patches(tmp_path / "whole")
        with pytest.raises(JmposeError, match=r"3 people with 17 joints; the model has 19 joints"):
            crops(whole, COCO17_HEAD)
        with pytest.raises(JmposeError, match=r"3 people with 17 joints; the file names 2 joints"):
            crops(patches(tmp_path / "named", names=np.array(["nose", "left_eye"])))
        with pytest.raises(JmposeError, match="whole: nothing about how large people are in the pictures"):
            CropWindows(whole, keypoints=COCO17, moving=False)
        (whole / "patches.npy").unlink()
        with pytest.raises(JmposeError, match=r"patches\.npy cannot be read: .*No such file"):
            crops(whole)
        with pytest.raises(JmposeError, match="3 pictures, 2 people"):
            crops(patches(tmp_path / "short", xy=np.zeros((2, 17, 2)), weight=np.ones((2, 17))))
        (whole / "labels.npz").write_bytes(b"PK\x03\x04 cut off")
        np.save(whole / "patches.npy", np.zeros((3, 60, 40, 3), np.uint8))
        with pytest.raises(JmposeError, match=r"labels\.npz cannot be read"):
            crops(whole)
        np.savez(whole / "labels.npz", xy=np.zeros((3, 17, 2)))
        with pytest.raises(JmposeError, match=r"labels\.npz cannot be read: .*weight"):
            crops(whole)
