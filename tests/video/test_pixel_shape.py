"""Pixels that are not square: what files say of them, and drawings that have their right shape when shown."""

import struct
from fractions import Fraction

import cv2
import numpy as np
import pytest

from jmpose.keypoints import COCO17
from jmpose_cli.values import FramePoses, TrackedFrame
from jmpose_cli.video.drawing import DrawStyle, draw_people
from jmpose_cli.video.heads import head_ellipses
from jmpose_cli.video.source import open_video
from tests.video_assets import make_video, read_number


def opened(path, **options):
    with open_video(path, **options) as source:
        frames = [frame for batch in source for frame in batch.frames]
    assert [read_number(frame) for frame in frames] == [0, 1, 2]
    return source


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
@pytest.mark.parametrize("rotation", [0, 90])
def test_the_shape_is_that_of_the_picture_as_shown_and_is_said(tmp_path, decoder, rotation):
    make_video(tmp_path / "v.mp4", frames=3, pixel_aspect=Fraction(4, 3), rotation=rotation)
    source = opened(tmp_path / "v.mp4", decoder=decoder)
    shown = {0: ((4, 3), "128x64"), 90: ((3, 4), "72x64")}[rotation]
    assert (source.info.width, source.info.height) == (96, 64)  # coordinates count these
    assert source.info.pixel_aspect == shown[0]
    assert source.info.pixel_width == pytest.approx(shown[0][0] / shown[0][1])
    assert any(f"96x64 is shown as {shown[1]}" in note for note in source.notes)


@pytest.mark.parametrize(
    ("claimed", "aspect", "noted"),
    [
        ((1000, 1), (1, 1), "shape of 1000:1: taken for a mistake"),
        ((224, 225), (1, 1), None),  # rounded by a coder
        ((1, 1000), (1, 1), "shape of 1:1000: taken for a mistake"),
        ((4001, 1000), (1, 1), "taken for a mistake"),
        ((4, 1), (4, 1), "not square but 4:1"),
        ((32, 11), (32, 11), "not square but 32:11"),
        ((64, 64), (1, 1), None),
        ((10_000, 9_999), (1, 1), None),
        ((0, 1), (4, 3), "not square but 4:3"),  # the container does not know, the pictures do
        ((1, 0), (4, 3), "not square but 4:3"),
    ],
)
def test_what_cannot_be_meant_is_not_believed(tmp_path, claimed, aspect, noted):
    path = tmp_path / "v.mp4"
    make_video(path, frames=3, pixel_aspect=Fraction(4, 3))
    data = path.read_bytes()
    assert data.count(b"pasp" + struct.pack(">II", 4, 3)) == 1
    path.write_bytes(data.replace(b"pasp" + struct.pack(">II", 4, 3), b"pasp" + struct.pack(">II", *claimed)))
    source = opened(path)
    assert source.info.pixel_aspect == aspect
    assert source.notes == [] if noted is None else any(noted in note for note in source.notes)


def person(*, pixel_width: float) -> FramePoses:
    """Somebody who stands in the middle of 480x360 square pixels, on a picture with other pixels; id 12."""
    joints = np.random.default_rng(1).uniform((190, 80), (290, 330), (1, 17, 2))
    joints[0, :5] = [(240, 90), (246, 84), (234, 84), (252, 88), (228, 88)]
    joints[0, 5:7] = [(270, 130), (210, 130)]
    box, half = np.array([[180.0, 60.0, 300.0, 340.0]]), np.array([0.5, 0])

    def stored(points):
        return ((points + half) / (pixel_width, 1) - half).astype(np.float32)

    return FramePoses(
        TrackedFrame(
            0,
            0.0,
            stored(box.reshape(1, 2, 2)).reshape(1, 4),
            np.ones(1, np.float32),
            np.array([12]),
            np.ones(1, bool),
        ),
        stored(joints),
        np.ones((1, 17), np.float32),
        np.ones(1, np.float32),
    )


@pytest.mark.parametrize("pixel_width", [2.0, 4 / 3, 0.5])
@pytest.mark.parametrize("style", [DrawStyle(), DrawStyle(blur_faces=True)], ids=["plain", "hidden faces"])
def test_a_drawing_has_its_right_shape_when_it_is_shown(pixel_width, style):
    # Enlarged noise: something to hide, and the same at every width.
    picture = cv2.resize(np.random.default_rng(0).integers(0, 255, (9, 12, 3), dtype=np.uint8), (480, 360))
    stored = cv2.resize(picture, (round(480 / pixel_width), 360), interpolation=cv2.INTER_AREA)
    poses = person(pixel_width=pixel_width)

    def seen(drawn):
        """A drawing as shown, without what resizing does to edges."""
        return cv2.GaussianBlur(cv2.resize(drawn, (480, 360)), (7, 7), 0).astype(int)

    wanted = seen(draw_people(picture, person(pixel_width=1.0), COCO17, style))
    apart, apart_if_ignored = (
        np.abs(seen(draw_people(stored, poses, COCO17, style, **known)) - wanted).mean()
        for known in ({"pixel_width": pixel_width}, {})
    )
    assert apart < 0.8 and apart_if_ignored > 1.3 * apart


@pytest.mark.parametrize("at_px", [(-150, -20), (0, 0), (330, 250), (-3000, 4000)])
def test_ids_at_the_edge_stay_inside(at_px):
    poses = person(pixel_width=2.0)
    moved = np.array(at_px, np.float32)
    people = TrackedFrame(
        0,
        0.0,
        poses.people.boxes_xyxy_px + np.tile(moved, 2),
        poses.people.scores,
        np.array([123456]),
        poses.people.observed,
    )
    there = FramePoses(people, poses.xy_image + moved, poses.scores, poses.person_scores)
    assert draw_people(np.zeros((360, 240, 3), np.uint8), there, COCO17, DrawStyle(), pixel_width=2.0).any()


def test_heads_are_found_in_the_shape_in_which_they_are_shown():
    square = head_ellipses(person(pixel_width=1.0), COCO17, 0.2)
    wide = head_ellipses(person(pixel_width=2.0), COCO17, 0.2, pixel_width=2.0)
    assert wide.half_axes_px == pytest.approx(square.half_axes_px, abs=1e-3)
    assert wide.angle_deg == pytest.approx(square.angle_deg, abs=1e-3)
    # The middle of the first pixel is 0 on both.
    assert wide.centre_xy_px == pytest.approx(square.centre_xy_px - [0.5, 0], abs=1e-3)
