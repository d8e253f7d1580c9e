"""Annotated videos: frames are taken out of the videos once, and errors name what is missing."""

import json
import os

import numpy as np
import pytest

from jmpose.keypoints import COCO17_HEAD
from jmpose_cli.data import extract
from jmpose_cli.data.extract import annotated_videos, extract_frames
from jmpose_cli.data.samples import Choice
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.base import VideoMeta
from jmpose_cli.formats.coco import CocoWriter
from jmpose_cli.values import FramePoses, TrackedFrame
from jmpose_cli.video.content import facts_of
from jmpose_cli.video.image_folder import read_image
from tests.video_assets import make_video, read_number

FRAMES, SIZE_WH = 10, (96, 64)


def poses(frame, tracks):
    """People of one frame; joint k of track t at (10 t + k, frame)."""
    n, joints = len(tracks), len(COCO17_HEAD)
    people = TrackedFrame(
        index=frame,
        time_s=frame / 25,
        boxes_xyxy_px=np.array([[10 * t, 0, 10 * t + 30, 60] for t in tracks], np.float32).reshape(n, 4),
        scores=np.ones(n, np.float32),
        track_ids=np.array(tracks, np.int64),
        observed=np.ones(n, bool),
    )
    xy = np.array([[(10 * t + k, frame) for k in range(joints)] for t in tracks], np.float32).reshape(n, joints, 2)
    return FramePoses(people, xy, np.ones((n, joints), np.float32), np.ones(n, np.float32), None)


def annotate(folder, tracks_of, *, source="clip.mp4", pixel_aspect=(1, 1)):
    """Write `keypoints.coco.json` as `jmpose infer` does; `tracks_of` maps frame numbers to tracks."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = VideoMeta(
        name=folder.name, width=SIZE_WH[0], height=SIZE_WH[1], fps=25.0, source=source, pixel_aspect=pixel_aspect
    )
    with CocoWriter(folder / extract.ANNOTATIONS, meta, COCO17_HEAD, info={"model": "nano"}) as writer:
        for frame, tracks in tracks_of.items():
            writer.write(poses(frame, tracks))


@pytest.fixture
def work(tmp_path):
    """Folder with `videos/clip.mp4`."""
    (tmp_path / "videos").mkdir()
    make_video(tmp_path / "videos/clip.mp4", frames=FRAMES, size=SIZE_WH)
    return tmp_path


@pytest.fixture
def decoded(monkeypatch):
    """The videos that were opened."""
    opened, real = [], extract.open_video

    def spy(path):
        opened.append(path.name)
        return real(path)

    monkeypatch.setattr(extract, "open_video", spy)
    return opened


def read(work, *, reach=1, reference_fps=30.0, unreviewed=1.0):
    return annotated_videos(
        work / "out",
        work / "videos",
        work / "cache",
        keypoints=COCO17_HEAD,
        reach=reach,
        reference_fps=reference_fps,
        unreviewed=unreviewed,
    )


def shown(pictures):
    """Frame numbers that pictures show."""
    return [read_number(picture) for picture in pictures]


def test_windows_of_a_corrected_video(work, decoded):
    annotate(work / "out/clip", {4: [1, 2], 5: [1], 6: [1, 2]})
    (source,) = read(work)
    assert (source.name, len(source)) == ("clip", 5)
    windows = {window.name: window for window in (source.read(i, Choice((-1, 0, 1))) for i in range(5))}
    middle = windows["clip, frame 5, track 1"]
    assert shown(middle.pictures) == [4, 5, 6]
    assert middle.exists.all()
    assert middle.labels.xy[:, 3].tolist() == [[13, 4], [13, 5], [13, 6]]
    assert middle.box_xyxy_px.tolist() == [10, 0, 40, 60]
    assert middle.labels.weight.tolist() == [[1.0] * 19] * 3
    # Frame 3 is not in the file, so nothing says that track 2 is not in it; frame 5 is.
    gone = windows["clip, frame 4, track 2"]
    assert shown(gone.pictures) == [3, 4, 4]
    assert gone.exists.tolist() == [True, True, False]
    assert decoded == ["clip.mp4"]


def test_joints_weigh_what_somebody_vouches_for(work):
    annotate(work / "out/clip", {4: [1], 5: [1], 6: [1], 7: [1]})
    file = work / "out/clip/keypoints.coco.json"
    (source,) = read(work)
    assert "nothing is marked as reviewed" in source.notes[0] and source.joints_of(0)[1].all()
    data = json.loads(file.read_text())
    data["images"][1]["reviewed"] = True
    data["annotations"][2]["keypoint_sources"] = ["corrected"] + ["model"] * 18
    data["annotations"][3]["source"] = "propagated"
    file.write_text(json.dumps(data))
    (source,) = read(work, unreviewed=0.25)
    weights = [source.read(row, Choice((0,))).labels.weight[0].tolist() for row in range(4)]
    assert weights == [[0.25] * 19, [1] * 19, [1] + [0.25] * 18, [0.7] * 19]
    assert source.notes[0].startswith("clip: 1 of 4 frames reviewed, people corrected in others: 1")
    assert "2 people with fewer than 3 known joints" in " ".join(read(work, unreviewed=0)[0].notes)


def test_offsets_are_stretched_to_the_frame_rate(work):
    annotate(work / "out/clip", {5: [1]})  # the file says 25 frames a second
    (source,) = read(work, reference_fps=8.5)
    assert shown(source.read(0, Choice((-1, 0, 1))).pictures) == [2, 5, 8]
    assert [path.name for path in source.pictures()] == ["000002.jpg", "000005.jpg", "000008.jpg"]


def test_frames_are_taken_out_once(work, decoded):
    annotate(work / "out/clip", {4: [1], 8: [1]})
    (source,) = read(work)
    kept = {path: path.stat().st_mtime_ns for path in source.pictures()}
    assert sorted(path.name for path in kept) == [f"{n:06d}.jpg" for n in (3, 4, 5, 7, 8, 9)]
    (again,) = read(work)
    assert {path: path.stat().st_mtime_ns for path in again.pictures()} == kept
    assert decoded == ["clip.mp4"]
    (wider,) = read(work, reach=2)
    assert decoded == ["clip.mp4"] * 2
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # only what was missing is written
    assert len(list(wider.pictures())) == 8


def test_frames_at_both_ends_of_the_video(work, decoded):
    annotate(work / "out/clip", {0: [1], FRAMES - 1: [1]})
    (source,) = read(work, reach=2)
    first, last = (source.read(index, Choice((-2, 0, 2))) for index in range(2))
    assert shown(first.pictures) == [0, 0, 2]
    assert first.exists.tolist() == [False, True, True]
    assert shown(last.pictures) == [7, 9, 9]
    assert last.exists.tolist() == [True, True, False]
    read(work, reach=2)  # that the video ends is known by now
    assert decoded == ["clip.mp4"]


def test_a_changed_video_is_read_again(work, decoded):
    video = work / "videos/clip.mp4"
    before = extract_frames(video, [2], work / "cache")
    os.utime(video, ns=(1, 1))
    after = extract_frames(video, [2], work / "cache")
    assert len(decoded) == 2
    assert before[2].parent != after[2].parent


def test_a_video_that_is_not_what_it_was(work):
    video = work / "videos/clip.mp4"
    annotate(work / "out/clip", {2: [1]})
    (work / "out/clip/run.json").write_text(json.dumps({"input_facts": facts_of(video)}))
    assert read(work)
    with video.open("ab") as file:
        file.write(b"\0\0\0\x08free")
    with pytest.raises(JmposeError, match="its content has changed") as caught:
        read(work)
    assert "jmpose render" in caught.value.hint


def test_pictures_and_annotations_get_square_pixels(work):
    annotate(work / "out/clip", {4: [1]}, pixel_aspect=(2, 1))
    (source,) = read(work)
    window = source.read(0, Choice((-1, 0, 1)))
    assert {picture.shape for picture in window.pictures} == {(64, 192, 3)}
    assert shown(window.pictures) == [3, 4, 5]
    assert window.labels.xy[1, 3].tolist() == [2 * 13 + 0.5, 4]  # pixel 13 has become pixels 26 and 27
    assert window.box_xyxy_px.tolist() == [20.5, 0, 80.5, 60]
    assert source.records.images[0].width == 192


def test_colours_and_sizes_are_kept(work):
    path = extract_frames(work / "videos/clip.mp4", [3], work / "cache")[3]
    picture = read_image(path)
    assert picture.shape == (64, 96, 3)
    assert read_number(picture) == 3  # which checks the corners' colours
    assert not list(path.parent.glob("*.partial"))


def test_a_folder_of_one_video_and_a_folder_of_pictures(work):
    extract_frames(work / "videos/clip.mp4", range(4), work / "pictures")
    (folder,) = (work / "pictures").iterdir()
    folder.rename(work / "videos/frames")
    annotate(work / "out", {1: [1]}, source="frames")
    (source,) = read(work)
    assert source.name == "out"
    assert shown(source.read(0, Choice((-1, 0, 1))).pictures) == [0, 1, 2]


def test_several_videos_come_in_the_order_of_their_names(work):
    for name in ("b", "a"):
        annotate(work / "out" / name, {1: [1]})
    assert [source.name for source in read(work)] == ["a", "b"]


def test_nobody_annotated(work, decoded):
    annotate(work / "out/clip", {1: [], 2: []})
    (source,) = read(work)
    assert len(source) == 0
    assert decoded == []


class TestBadInput:
    @pytest.mark.parametrize("aspect", [[4], [4, 0], ["4", "3"], [4, 10**9], [4, 3.5]])
    def test_a_shape_of_pixels_that_is_none(self, work, aspect):
        annotate(work / "out/clip", {4: [1]}, pixel_aspect=aspect)
        with pytest.raises(JmposeError, match=r"info\.video\.pixel_aspect is"):
            read(work)

    def test_no_annotations(self, work):
        (work / "out").mkdir()
        with pytest.raises(JmposeError, match=r"out: no <video>/keypoints\.coco\.json"):
            read(work)

    def test_missing_video(self, work):
        annotate(work / "out/clip", {1: [1]}, source="other.mp4")
        with pytest.raises(JmposeError, match=r"keypoints\.coco\.json: .*videos/other\.mp4 is not there") as caught:
            read(work)
        assert "videos:" in caught.value.hint

    @pytest.mark.parametrize("info", [None, [], {"video": "clip.mp4"}, {"video": {"source": 3}}])
    def test_no_video_named(self, work, info):
        change(work, info=info)
        with pytest.raises(JmposeError, match=r"without info\.video\.source"):
            read(work)

    def test_no_frame_numbers(self, work):
        change(work, images=[{"id": 2, "file_name": "a.jpg"}])
        with pytest.raises(JmposeError, match="images without `frame_index`"):
            read(work)

    def test_people_behind_the_end_of_the_video(self, work):
        annotate(work / "out/clip", {9: [1], 10: [1], 400: [1]})
        with pytest.raises(JmposeError, match=r"people in frame 10, which .*clip\.mp4 does not have \(2 such frames\)"):
            read(work)

    def test_a_video_that_is_none(self, work):
        annotate(work / "out/clip", {1: [1]})
        (work / "videos/clip.mp4").write_text("not a video")
        with pytest.raises(JmposeError, match=r"clip\.mp4"):
            read(work)

    def test_a_cache_that_cannot_be_written(self, work):
        annotate(work / "out/clip", {1: [1]})
        (work / "cache").write_text("a file, not a folder")
        with pytest.raises(JmposeError, match=r"cannot write .*cache"):
            read(work)


def change(work, **fields):
    """Annotate frame 1 and change the file's top level; None removes a field."""
    annotate(work / "out/clip", {1: [1]})
    file = work / "out/clip" / extract.ANNOTATIONS
    content = json.loads(file.read_text()) | fields
    file.write_text(json.dumps({field: value for field, value in content.items() if value is not None}))


@pytest.mark.parametrize("source", ["../clip.mp4", "/etc/passwd", "x/../../clip.mp4"])
def test_a_video_outside_the_folder_is_not_opened(work, decoded, source):
    annotate(work / "out/clip", {4: [1]}, source=source)
    with pytest.raises(JmposeError, match=r"info\.video\.source .* (leads out|is an absolute path)") as caught:
        read(work)
    assert "must lie below" in caught.value.hint and not decoded
