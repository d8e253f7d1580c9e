"""Pose models of other projects: read for what they are, placed right, and lifted by the shipped temporal part."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.known_weights import TEMPORAL_PART
from jmpose_cli.pose.engines import load_estimator
from jmpose_cli.pose.estimator import EstimatorSettings
from jmpose_cli.pose.pose_graph import open_pose_graph
from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker
from jmpose_cli.values import TrackedFrame
from tests.foreign.small_graphs import heatmap_graph, simcc_graph

BOX = np.float32([[60, 30, 180, 230]])


def poses(path: Path, frame: np.ndarray, boxes: np.ndarray = BOX, **settings):
    estimator, about = load_estimator(path, EstimatorSettings(**settings), engine="auto")
    count = len(boxes)
    ids, seen = np.arange(1, count + 1), np.ones(count, bool)
    maker = WindowMaker(Spacing(estimator.preprocess.window_offsets, 1.0))
    people = TrackedFrame(0, 0.0, boxes, np.ones(count, np.float32), ids, seen)
    (found,) = estimator.estimate([*maker.push(SeenFrame(frame, people)), *maker.finish()])
    return found, about


def picture(at: tuple[float, float]) -> np.ndarray:
    """A red spot on grey, RGB."""
    rows, columns = np.mgrid[:260, :240]
    spot = np.exp(-((columns - at[0]) ** 2 + (rows - at[1]) ** 2) / (2 * 6**2))[..., None]
    return (100 + spot * np.array([150, -90, -90])).round().astype(np.uint8)


@pytest.mark.parametrize("flip_test", [False, True])
def test_a_joint_is_where_the_heatmap_says(tmp_path, flip_test):
    path = heatmap_graph(tmp_path / "hrnet.onnx")
    found, about = poses(path, picture((131.25, 90.5)), flip_test=flip_test)
    assert "heatmaps on origins by onnx; taken: 17 joints coco17, input 256x192 RGB" in about
    assert "hrnet.yaml" in about
    away = np.linalg.norm(found.xy_image[0] - [131.25, 90.5], axis=1)
    assert away.max() < 0.3 and found.scores.min() > 0.1  # the crop's pixels are 0.98 of the frame's


def test_colours_and_places_can_be_set(tmp_path):
    path = heatmap_graph(tmp_path / "net.onnx")
    blue = picture((120.0, 128.0))[..., ::-1].copy()  # its spot is blue
    assert poses(path, blue)[0].scores.max() < 0.05
    (tmp_path / "model.yaml").write_text(
        "colours: BGR\nmean: [123.675, 116.28, 103.53]\nstd: [58.395, 57.12, 57.375]\nheatmap_alignment: edges\n"
    )
    found, about = poses(path, blue)
    assert found.scores.min() > 0.1 and "BGR" in about and "model.yaml" in about
    # Heatmap pixels 1.5 crop pixels further to the right and below.
    assert found.xy_image[0] == pytest.approx(np.array([[120 + 1.5, 128 + 1.5]] * 17) + 0.0, abs=0.5)


def oracle(session, frame: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What rtmlib (0.0.16, RTMPose) computes of a picture in the colours of the network: its formulas."""
    width, height, padding = 192, 256, 1.25
    centre, scale = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * padding
    aspect = width / height
    wide = scale[0] > scale[1] * aspect
    scale = np.array([scale[0], scale[0] / aspect] if wide else [scale[1] * aspect, scale[1]])
    step = width / scale[0]
    warp = np.array([[step, 0, width / 2 - step * centre[0]], [0, step, height / 2 - step * centre[1]]])
    crop = cv2.warpAffine(frame, warp, (width, height), flags=cv2.INTER_LINEAR)
    crop = (crop - np.array([123.675, 116.28, 103.53])) / np.array([58.395, 57.12, 57.375])
    x, y = session.run(None, {"input": crop.transpose(2, 0, 1)[None].astype(np.float32)})
    places = np.stack([x[0].argmax(1), y[0].argmax(1)], 1) / 2
    return places / [width, height] * scale + centre - scale / 2, (x[0].max(1) + y[0].max(1)) / 2


def test_simcc_is_read_and_placed_as_rtmlib_does(tmp_path):
    import onnxruntime

    path = simcc_graph(tmp_path / "rtmpose.onnx")
    made = np.random.default_rng(3)
    frame = cv2.resize(made.integers(0, 256, (26, 24, 3), np.uint8), (240, 260), interpolation=cv2.INTER_CUBIC)
    wanted, _ = oracle(onnxruntime.InferenceSession(str(path)), frame, BOX[0].astype(float))
    # rtmlib lays the middle of the box on pixel W / 2 of the crop, we on (W - 1) / 2: half a pixel of the crop.
    pixel = (BOX[0, 3] - BOX[0, 1]) * 1.25 / 256
    found, about = poses(path, frame, BOX - pixel / 2)
    assert "SimCC, split ratio 2 by onnx" in about
    sure = found.scores[0] > 0.9  # elsewhere two places are about as high
    assert sure.sum() > 8
    assert np.linalg.norm(found.xy_image[0] - wanted, axis=1)[sure].max() < 0.3 * pixel


def test_simcc_vectors_give_the_heatmap_to_be_expected(tmp_path):
    _, pose = open_pose_graph(simcc_graph(tmp_path / "rtmpose.onnx"))
    x, y = np.full((1, 17, 384), -9.0), np.full((1, 17, 512), -9.0)
    x[..., 100], y[..., 200], y[..., 260] = 1.0, 1.0, 1.0  # one place in x, two that are alike in y
    (maps,) = [pose.heatmaps([x, y])[0]]
    # Crop pixels 50 and 100 or 130: heatmap pixels are 4, their first one's centre is at 1.5.
    rows, columns = np.mgrid[:64, :48]
    bells = [np.exp(-((columns - 12.125) ** 2 + (rows - (at - 1.5) / 4) ** 2) / 8) for at in (100, 130)]
    assert np.abs(maps - np.mean(bells, 0)).max() < 1e-6


@pytest.mark.parametrize(
    ("name", "joints", "keypoint_set", "beta"),
    [("dwpose", 133, "wholebody23", 10), ("rtmw-l", 133, "wholebody23", 1), ("halpe26", 26, "halpe26", 10)],
)
def test_joints_and_logits_of_families(tmp_path, name, joints, keypoint_set, beta):
    _, pose = open_pose_graph(simcc_graph(tmp_path / f"{name}.onnx", joints=joints))
    assert pose.preprocess.keypoint_set == keypoint_set and pose.simcc_beta == beta
    assert len(pose.channels) == len(pose.preprocess.keypoints) and pose.facts()["split_ratio"] == 2


def test_the_shipped_temporal_part_stands_on_it(tmp_path):
    path = heatmap_graph(tmp_path / "net.onnx")
    for part, used in ((TEMPORAL_PART, TEMPORAL_PART), (None, None)):
        estimator, _ = load_estimator(path, EstimatorSettings(), engine="auto", temporal=part)
        assert estimator.temporal == used and estimator.engine == "onnx" and estimator.name == "net"
    other = heatmap_graph(tmp_path / "large.onnx", size=(384, 288))
    assert load_estimator(other, EstimatorSettings(), engine="auto", temporal=TEMPORAL_PART)[0].temporal is None


def test_people_do_not_depend_on_company_or_threads(tmp_path):
    path = simcc_graph(tmp_path / "net.onnx")
    frame = np.random.default_rng(0).integers(0, 256, (260, 240, 3), np.uint8)
    boxes = np.concatenate([BOX + shift for shift in range(6)]).astype(np.float32)
    together, _ = poses(path, frame, boxes, threads=3)
    for row, box in enumerate(boxes):
        assert np.array_equal(poses(path, frame, box[None])[0].xy_image[0], together.xy_image[row])


@pytest.mark.parametrize(
    ("settings", "engine", "said"),
    [
        ({}, "torch", "is run by ONNX Runtime only"),
        ({"precision": "bf16"}, "auto", "precision bf16: .* in fp32"),
        ({"compiled": True}, "auto", "--compile: .* as it is"),
    ],
)
def test_what_graphs_cannot_do_is_an_error(tmp_path, settings, engine, said):
    with pytest.raises(JmposeError, match=said):
        load_estimator(heatmap_graph(tmp_path / "net.onnx"), EstimatorSettings(**settings), engine=engine)


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("colour: BGR", "unknown setting colour; the nearest is colours", "known: input_hw"),
        ("colours: GBR", "colours is 'GBR'", "one of RGB, BGR"),
        ("mean: [1, 2]", r"mean is \[1, 2\]", "a list of 3"),
        ("std: [0, 1, 1]", "std is", "0.0001 to 10000"),
        ("[", "not readable as YAML", "correct it"),
        ("input_hw: [128, 96]", "its input is 256x192, not 128x96", "fixed in the file"),
        ("keypoint_set: posetrack15\nchannels: [0, 1]", "2 are taken for the 15 joints", "0 to 16"),
        ("outputs: [nothing]", "has no output nothing", "it has heatmaps"),
    ],
)
def test_settings_that_are_wrong_are_an_error(tmp_path, text, said, hint):
    path = heatmap_graph(tmp_path / "net.onnx")
    (tmp_path / "net.yaml").write_text(text)
    with pytest.raises(JmposeError, match=said) as caught:
        open_pose_graph(path)
    assert hint in caught.value.hint
