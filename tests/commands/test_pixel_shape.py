"""Pixels that are not square: the networks see people as they are shown, coordinates are those of the file."""

import json
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.commands.test_infer import CLIP, infer, read

FRAMES = 2
ASPECT = Fraction(2)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, Path]:
    """Results of one clip as it is, with half as many columns of double width, and of that with a boxes file."""
    folder = tmp_path_factory.mktemp("aspect")
    with av.open(str(CLIP)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in islice(container.decode(video=0), FRAMES)]
    write(folder / "square.mp4", pictures, Fraction(1))
    height, width, _ = pictures[0].shape
    size = (round(width / ASPECT), height)
    write(folder / "wide.mp4", [cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in pictures], ASPECT)
    videos = (folder / "square.mp4", folder / "wide.mp4")
    assert infer(*videos, "--out", folder / "out", "--model", "small", "--quiet") == 0
    boxes = folder / "out" / "wide" / "keypoints.coco.json"
    options = ("--boxes", boxes, "--out", folder / "again", "--model", "small", "--quiet", "--no-overlay")
    assert infer(folder / "wide.mp4", *options) == 0
    found = {"square": folder / "out" / "square", "wide": folder / "out" / "wide", "boxes": folder / "again" / "wide"}
    assert all(path.is_dir() for path in found.values())
    return found


def write(path: Path, pictures: list[np.ndarray], aspect: Fraction) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "10", "preset": "veryfast"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))


def people_of(folder: Path, *, scale: float = 1.0) -> dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]:
    """Joints `[K, 3]` and box by image and track, x times `scale`."""
    found = {}
    for record in read(folder, "keypoints.coco.json")["annotations"]:
        joints = np.array(record["keypoints"], float).reshape(-1, 3) * (scale, 1, 1)
        box = np.array(record["bbox"]) * (scale, 1, scale, 1)
        found[record["image_id"], record["track_id"]] = joints, box
    return found


def share_alike(found, wanted) -> float:
    """Share of joints within 5 % of the body's height, of people matched by their boxes."""
    alike = []
    for (image, _), (joints, box) in wanted.items():
        others = [person for (at, _), person in found.items() if at == image]
        other, _ = min(others, key=lambda person: np.abs(person[1] - box).sum())
        seen = joints[:, 2] == 2
        alike.extend(np.linalg.norm(other[seen, :2] - joints[seen, :2], axis=1) < 0.05 * box[3])
    return float(np.mean(alike))


def test_joints_and_boxes_are_those_of_square_pixels_in_coordinates_of_the_file(results):
    square, wide = people_of(results["square"]), people_of(results["wide"], scale=float(ASPECT))
    assert len(wide) >= len(square) > 0  # one that is barely seen may be found in one of them only
    assert share_alike(wide, square) > 0.9


def test_own_boxes_are_in_pixels_of_the_file(results):
    assert share_alike(people_of(results["boxes"]), people_of(results["wide"])) > 0.99


def test_files_say_so(results):
    run, coco = read(results["wide"], "run.json"), read(results["wide"], "keypoints.coco.json")
    assert run["video"]["pixel_aspect"] == coco["info"]["video"]["pixel_aspect"] == [2, 1]
    assert any("not square but 2:1" in note and "coordinates are pixels of the" in note for note in run["notes"])
    assert "pixel_aspect" not in json.dumps(read(results["square"], "keypoints.coco.json")["info"])


def test_the_overlay_keeps_the_shape_of_pixels(results):
    with (
        av.open(str(results["wide"] / "overlay.mp4")) as wide,
        av.open(str(results["square"] / "overlay.mp4")) as square,
    ):
        (narrow,), (full,) = wide.streams.video, square.streams.video
        assert narrow.sample_aspect_ratio == ASPECT and narrow.width * 2 == full.width
        pairs = list(zip(wide.decode(narrow), square.decode(full), strict=True))
    for one, other in pairs:
        shown = one.to_ndarray(format="rgb24", width=full.width, height=full.height).astype(int)
        assert np.abs(shown - other.to_ndarray(format="rgb24")).mean() < 6  # skeletons and ids included
