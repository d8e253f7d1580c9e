"""Files that are damaged, hostile or of another kind: one clear error each."""

from pathlib import Path

import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.people.box_graph import open_box_graph
from jmpose_cli.pose.pose_graph import open_pose_graph
from tests.foreign.small_graphs import constant_graph, heatmap_graph, node, onnx, simcc_graph, write


def cut(path: Path) -> None:
    data = heatmap_graph(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def a_page(path: Path) -> None:
    path.write_text("<html>404</html>")


def changed(path: Path, change) -> None:
    model = onnx.load(heatmap_graph(path))
    change(model)
    path.write_bytes(model.SerializeToString())


def external(location: str, **more: str):
    def change(model) -> None:
        kernel = model.graph.initializer[0]
        kernel.ClearField("raw_data")
        kernel.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": location, **more}.items():
            kernel.external_data.add(key=key, value=value)

    return lambda path: changed(path, change)


def huge(path: Path) -> None:
    changed(path, lambda model: model.graph.initializer[0].dims.__setitem__(0, 1 << 40))


def longer_than_it_is(path: Path) -> None:
    changed(path, lambda model: model.graph.initializer[0].dims.__setitem__(0, 18))


def huge_picture(path: Path) -> None:
    heatmap_graph(path, size=(1 << 20, 1 << 20))


def custom(path: Path) -> None:
    nodes = [node("TRTBatchedNMS", ["input"], ["heatmaps"], domain="mmdeploy")]
    write(path, nodes, {}, {"heatmaps": ["batch", 17, 64, 48]})


def too_new(path: Path) -> None:
    heatmap_graph(path, opset=999)


def unknown_operator(path: Path) -> None:
    write(path, [node("Nonsense", ["input"], ["heatmaps"])], {}, {"heatmaps": ["batch", 17, 64, 48]})


def four_at_a_time(path: Path) -> None:
    heatmap_graph(path, batch=4)


def free_sides(path: Path) -> None:
    heatmap_graph(path, size=("height", "width"))


def coordinates(path: Path) -> None:
    constant_graph(path, {"keypoints": np.zeros((1, 17, 3), np.float32)}, size=(256, 192))


def of_hands(path: Path) -> None:
    simcc_graph(path, joints=21)


def of_animals(path: Path) -> None:
    heatmap_graph(path)
    path.rename(path.with_name("vitpose-b-ap10k.onnx"))


def no_numbers(path: Path) -> None:
    constant_graph(path, {"heatmaps": np.full((1, 17, 64, 48), np.nan, np.float32)}, size=(256, 192))


def two_pictures(path: Path) -> None:
    heatmap_graph(path, others={"mask": ["batch", 3, 256, 192]})


@pytest.mark.parametrize(
    ("make", "said", "hint"),
    [
        (cut, "is no whole ONNX file", "copy or download"),
        (empty, "is no whole ONNX file", "copy or download"),
        (a_page, "is no whole ONNX file", "copy or download"),
        (external("../secrets"), "wants weights from '../secrets', which leads out of its folder", "own folder only"),
        (external("/etc/passwd"), "wants weights from '/etc/passwd', which is an absolute path: refused", "own folder"),
        (external("weights.bin"), "wants weights from 'weights.bin', which is not beside it", "copy the files"),
        (external("net.onnx", offset="9999999999"), "lies beyond the end of net.onnx", "same place"),
        (external("net.onnx", offset="-1"), "'-1' is no place in a file", "copy or download"),
        (huge, "its tensor kernel declares .* values, at most", "download the file again"),
        (longer_than_it_is, "its tensor kernel declares 15,606 values and holds others", "copy or download"),
        (huge_picture, "its input is 1048576x1048576", "sides of 1 to 2048"),
        (custom, "needs the operator TRTBatchedNMS of mmdeploy", "without operators of other projects"),
        (too_new, "its opset 999 is newer than ONNX Runtime", "opset 17"),
        (unknown_operator, "ONNX Runtime cannot load it", "export it again"),
        (four_at_a_time, "takes 4 pictures at a time", "1 at a time"),
        (free_sides, "leaves height and width of its input input", "make_dynamic_shape_fixed --input_name input"),
        (coordinates, r"is no pose model that can be used: .* it gives keypoints \[1, 17, 3\]", "SimCC vectors"),
        (of_hands, "has 21 joints", "keypoint_set"),
        (of_animals, "it knows animals, not people", "keypoint_set"),
        (no_numbers, "gives results that are no numbers", "export it again"),
        (two_pictures, "not one picture", "one picture"),
    ],
)
def test_each_is_one_clear_error(tmp_path, make, said, hint):
    path = tmp_path / "net.onnx"
    make(path)
    (path,) = tmp_path.glob("*.onnx")
    with pytest.raises(JmposeError, match=said) as caught:
        open_pose_graph(path)
    assert hint in caught.value.hint and str(path) in caught.value.message
    assert len(caught.value.message.splitlines()) == 1 and len(caught.value.message) < 400 + len(str(path))


def test_weights_may_lie_in_another_file_of_its_folder(tmp_path):
    path = heatmap_graph(tmp_path / "plain.onnx")
    model = onnx.load(path)
    onnx.save_model(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=64)
    outside = tmp_path / "outside"
    assert open_pose_graph(tmp_path / "net.onnx")[1].kind == "heatmaps"
    (tmp_path / "net.data").rename(outside)
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "net.onnx").rename(folder / "net.onnx")
    (folder / "net.data").symlink_to(outside)
    with pytest.raises(JmposeError, match="leads out of its folder by a link: refused"):
        open_pose_graph(folder / "net.onnx")


def test_every_cut_is_noticed_or_harmless(tmp_path):
    data = heatmap_graph(tmp_path / "whole.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    made = np.random.default_rng(0)
    for at in made.integers(0, len(data), 60).tolist():
        path.write_bytes(data[:at])
        with pytest.raises(JmposeError):
            open_pose_graph(path)
    for at in made.integers(0, 700, 60).tolist():  # the frame of the file, before its weights
        changed_bytes = bytearray(data)
        changed_bytes[at] ^= 1 << made.integers(8)
        path.write_bytes(changed_bytes)
        try:
            open_pose_graph(path)
        except JmposeError as error:
            assert str(path) in error.message


def test_free_sides_can_be_set(tmp_path):
    path = heatmap_graph(tmp_path / "net.onnx", size=("height", "width"))
    (tmp_path / "net.yaml").write_text("input_hw: [256, 192]")
    _, pose = open_pose_graph(path)
    assert pose.preprocess.heatmap_size == (64, 48)


def test_a_pose_model_is_no_detector(tmp_path):
    with pytest.raises(JmposeError, match="is no detector that can be used"):
        open_box_graph(heatmap_graph(tmp_path / "net.onnx"))
