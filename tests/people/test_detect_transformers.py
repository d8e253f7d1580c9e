import hashlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jmpose_cli.annotate.networks import load_detector
from jmpose_cli.config import InferConfig
from jmpose_cli.device import Device
from jmpose_cli.errors import JmposeError
from jmpose_cli.known_weights import Choice, choose_detector
from jmpose_cli.people.detect_transformers import FAMILIES, Preprocessing, TransformersDetector
from tests.conftest import ROOT

NAMES = {0: "cat", 1: "Person", 2: "dog"}
PERSON = 1
SIDE = 96  # of the inputs, pixels
LOW = 0.01  # random networks are sure of nothing


def network(kind: str, **change: Any) -> Any:
    """A network of 0.2 million random weights, whose boxes are spread over the picture."""
    torch = pytest.importorskip("torch")
    import transformers

    channels = [8, 8, 8, 8]
    resnet = transformers.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=channels, depths=[1, 1, 1, 1], layer_type="basic", out_indices=[2, 3, 4]
    )
    hgnet = transformers.HGNetV2Config(
        stem_channels=[3, 8, 8],
        stage_in_channels=channels,
        stage_mid_channels=channels,
        stage_out_channels=channels,
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[1, 1, 1, 1],
        hidden_sizes=channels,
        embedding_size=8,
        out_indices=[2, 3, 4],
    )
    config_class, model_class, backbone = {
        "rt_detr": (transformers.RTDetrConfig, transformers.RTDetrForObjectDetection, resnet),
        "rt_detr_v2": (transformers.RTDetrV2Config, transformers.RTDetrV2ForObjectDetection, resnet),
        "d_fine": (transformers.DFineConfig, transformers.DFineForObjectDetection, hgnet),
    }[kind]
    settings: dict[str, Any] = {
        "backbone_config": backbone,
        "encoder_in_channels": [8, 8, 8],
        "encoder_hidden_dim": 32,
        "encoder_ffn_dim": 32,
        "encoder_attention_heads": 2,
        "d_model": 32,
        "decoder_in_channels": [32, 32, 32],
        "decoder_ffn_dim": 32,
        "decoder_attention_heads": 2,
        "decoder_layers": 2,
        "num_queries": 80,
        "num_denoising": 0,
        "id2label": NAMES,
        "label2id": {name: number for number, name in NAMES.items()},
    }
    torch.manual_seed(0)
    model = model_class(config_class(**(settings | change))).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # As they begin, such networks answer any picture with the same boxes and scores.
            if "norm" in name and name.endswith("weight"):
                weight.uniform_(0.5, 1.5)
            elif "class_embed" in name and name.endswith("bias"):
                weight.copy_(torch.tensor([0.0, 2.0, 0.0]))
            elif "embed" in name or "score_head" in name or "bbox_head" in name:
                weight.copy_(torch.randn_like(weight) * 0.3)
    return model


def save(model: Any, folder: Path, **preprocessing: Any) -> Path:
    from transformers import RTDetrImageProcessor

    model.save_pretrained(folder)
    RTDetrImageProcessor(**({"size": {"height": SIDE, "width": SIDE}} | preprocessing)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def saved(request, tmp_path_factory) -> Path:
    """A folder of each family."""
    return save(network(request.param), tmp_path_factory.mktemp("saved") / request.param)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """A folder of one family, to be copied and spoilt."""
    return save(network("rt_detr"), tmp_path_factory.mktemp("plain") / "tiny")


def frames(count: int, *, height: int = 90, width: int = 160) -> np.ndarray:
    """Coarse noise: pictures that differ in what the networks see."""
    coarse = np.random.default_rng(0).integers(0, 255, (count, 9, 16, 3), dtype=np.uint8)
    return coarse.repeat(-(-height // 9), 1).repeat(-(-width // 16), 2)[:, :height, :width]


def by_transformers(folder: Path, picture: np.ndarray, *, min_score: float) -> tuple[np.ndarray, np.ndarray]:
    """Boxes `[N, 4]` and scores of people as processor, model and post_process_object_detection give them."""
    import torch
    from transformers import AutoModelForObjectDetection, RTDetrImageProcessor

    processor = RTDetrImageProcessor.from_pretrained(folder)
    model = AutoModelForObjectDetection.from_pretrained(folder)
    height, width = picture.shape[:2]
    with torch.no_grad():
        outputs = model(**processor(images=[picture], return_tensors="pt"))
    (found,) = processor.post_process_object_detection(outputs, threshold=min_score, target_sizes=[(height, width)])
    people = found["labels"] == PERSON
    boxes = found["boxes"][people].numpy().clip(0, np.array([width, height, width, height], np.float32))
    whole = (boxes[:, 2:] - boxes[:, :2]).min(1) >= 1
    return boxes[whole], found["scores"][people].numpy()[whole]


def test_boxes_are_those_of_transformers(saved):
    (picture,) = frames(1, height=201, width=333)
    (found,) = TransformersDetector(saved, device="cpu", min_score=LOW).detect(picture[None])
    boxes, scores = by_transformers(saved, picture, min_score=LOW)
    assert 5 <= len(found) == len(boxes) < 80
    np.testing.assert_allclose(found.boxes_xyxy_px, boxes, atol=0.01)
    np.testing.assert_allclose(found.scores, scores, atol=1e-5)


def test_boxes_lie_in_the_frame_best_first(saved):
    (found,) = TransformersDetector(saved, device="cpu", min_score=LOW).detect(frames(1))
    boxes = found.boxes_xyxy_px
    assert boxes.min() >= 0 and (boxes[:, 2] <= 160).all() and (boxes[:, 3] <= 90).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 1).all() and (np.diff(found.scores) <= 0).all()
    middle = float(found.scores[1])
    (fewer,) = TransformersDetector(saved, device="cpu", min_score=middle).detect(frames(1))
    assert (fewer.scores == found.scores[found.scores >= middle]).all() and 1 < len(fewer) < len(found)


@pytest.mark.parametrize("batch", [False, True], ids=["one a call", "in batches"])
def test_boxes_of_a_frame_do_not_depend_on_its_company(saved, batch):
    pictures = frames(9)
    detector = TransformersDetector(saved, device="cpu", min_score=LOW, threads=3)
    if batch:
        detector._calls = None  # what a GPU does, on the CPU
    together = detector.detect(pictures)
    assert len({found.scores.tobytes() for found in together}) == 9
    alone = [detector.detect(picture[None])[0] for picture in pictures]
    for one, other in zip(together, alone, strict=True):
        # In a batch, sums may be split elsewhere for another row of the same picture: not so on a GPU.
        np.testing.assert_allclose(one.boxes_xyxy_px, other.boxes_xyxy_px, rtol=0, atol=0.01 if batch else 0)
        np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=1e-5 if batch else 0)


def test_threads_change_nothing(plain):
    one, three = (TransformersDetector(plain, device="cpu", min_score=LOW, threads=n).detect(frames(4)) for n in (1, 3))
    for left, right in zip(one, three, strict=True):
        assert (left.boxes_xyxy_px == right.boxes_xyxy_px).all() and (left.scores == right.scores).all()


@pytest.mark.gpu
def test_a_gpu_finds_the_same_whatever_the_company(saved):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    pictures = frames(9)
    detector = TransformersDetector(saved, device="cuda:0", min_score=LOW)
    cpu = TransformersDetector(saved, device="cpu", min_score=LOW).detect(pictures)
    for picture, found, like in zip(pictures, detector.detect(pictures), cpu, strict=True):
        (alone,) = detector.detect(picture[None])
        assert (alone.boxes_xyxy_px == found.boxes_xyxy_px).all() and (alone.scores == found.scores).all()
        assert abs(len(found) - len(like)) <= 2 and abs(found.scores[0] - like.scores[0]) < 0.05


def test_no_frames_and_a_high_threshold(plain):
    detector = TransformersDetector(plain, device="cpu", min_score=0.9999)
    assert detector.detect(frames(0)) == [] and len(detector.detect(frames(1))[0]) == 0


def test_name_and_sha256_are_those_of_the_folder_and_its_weights(plain):
    detector = TransformersDetector(plain, device="cpu", min_score=LOW)
    assert detector.name == "tiny"
    assert detector.sha256 == hashlib.sha256((plain / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("size", [(90, 160), (96, 96), (241, 135), (33, 47)])
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"resample": 3},
        {"do_normalize": True},
        {"do_normalize": True, "do_rescale": False},
        {"rescale_factor": 1 / 127.5},
        {"size": {"height": 64, "width": 160}},
    ],
    ids=str,
)
def test_inputs_are_those_of_the_image_processor(tmp_path, size, asked):
    transformers = pytest.importorskip("transformers")
    processor = transformers.RTDetrImageProcessor(**({"size": {"height": SIDE, "width": SIDE}} | asked))
    processor.save_pretrained(tmp_path)
    pictures = np.random.default_rng(0).integers(0, 255, (2, *size, 3), dtype=np.uint8)
    wanted = processor(images=list(pictures), return_tensors="pt")["pixel_values"].numpy()
    got = Preprocessing.read(tmp_path / "preprocessor_config.json")(pictures).numpy()
    assert got.dtype == np.float32
    # Where torch has no fast uint8 path, torchvision rounds from float: one level of 255 apart at most.
    step = Preprocessing.read(tmp_path / "preprocessor_config.json").factor / (0.22 if "do_normalize" in asked else 1)
    np.testing.assert_allclose(got, wanted, atol=1.01 * step)
    assert np.abs(got - wanted).mean() < 0.05 * step


def test_without_a_preprocessor_config_inputs_are_the_families_own(tmp_path):
    transformers = pytest.importorskip("transformers")
    pictures = np.random.default_rng(0).integers(0, 255, (1, 48, 64, 3), dtype=np.uint8)
    wanted = transformers.RTDetrImageProcessor()(images=list(pictures), return_tensors="pt")["pixel_values"].numpy()
    got = Preprocessing.read(tmp_path / "preprocessor_config.json")(pictures).numpy()
    assert got.shape == (1, 3, 640, 640)
    np.testing.assert_allclose(got, wanted, atol=1.01 / 255)


def test_the_input_size_can_be_chosen(plain):
    taken = TransformersDetector(plain, device="cpu", min_score=LOW).preprocessing
    chosen = TransformersDetector(plain, device="cpu", min_score=LOW, input_size=64)
    assert (taken.height, taken.width) == (SIDE, SIDE)
    assert chosen.preprocessing(frames(1)).shape == (1, 3, 64, 64) and len(chosen.detect(frames(1))[0]) > 0


@pytest.mark.parametrize(
    ("size", "message", "hint"),
    [
        (100, "100x100 pixels, but its sides must be multiples of 32", "96 or 128"),
        (32, "32x32 pixels has 21 places for boxes, but 80 are asked for", "64 or more"),
    ],
)
def test_input_sizes_that_do_not_fit(plain, size, message, hint):
    with pytest.raises(JmposeError, match=message) as caught:
        TransformersDetector(plain, device="cpu", min_score=LOW, input_size=size)
    assert hint in caught.value.hint


def test_fixed_anchors_do_not_bind_the_input_size(plain, tmp_path):
    folder = with_config(plain, tmp_path, anchor_image_size=[SIDE, SIDE])
    for size in (SIDE, 64):
        found, wanted = (
            TransformersDetector(path, device="cpu", min_score=LOW, input_size=size).detect(frames(1))[0]
            for path in (folder, plain)
        )
        assert len(found) > 0 and (found.scores == wanted.scores).all()


def test_half_precision_weights_run_in_fp32_and_counters_may_lie_beside_them(saved, tmp_path):
    torch = pytest.importorskip("torch")

    def halved(state):
        norms = [name.removesuffix("running_mean") for name in state if name.endswith("running_mean")]
        halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
        return halves | {f"{norm}num_batches_tracked": torch.tensor(1) for norm in norms}

    detector = TransformersDetector(with_weights(saved, tmp_path, halved), device="cpu", min_score=LOW)
    assert {weight.dtype for weight in detector._model.parameters()} == {torch.float32}
    assert len(detector.detect(frames(1))[0]) > 0


def test_nothing_is_asked_of_the_network_and_nothing_is_printed(saved, tmp_path, monkeypatch, capfd):
    folder = with_config(saved, tmp_path, _attn_implementation="somebody/kernels", attn_implementation="somebody/k")
    capfd.readouterr()

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert len(TransformersDetector(folder, device="cpu", min_score=LOW).detect(frames(1))) == 1
    assert capfd.readouterr() == ("", "")


def test_importing_the_module_is_cheap():
    code = "import sys, jmpose_cli.people.detect_transformers; print({'torch', 'transformers'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def copied(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target / "copy"))


def with_config(folder: Path, target: Path, *, file: str = "config.json", **change: object) -> Path:
    copy = copied(folder, target)
    (copy / file).write_text(json.dumps(json.loads((copy / file).read_text()) | change))
    return copy


def with_weights(folder: Path, target: Path, change: Callable[[dict], dict]) -> Path:
    from safetensors.torch import load_file, save_file

    copy = copied(folder, target)
    save_file(change(load_file(copy / "model.safetensors")), copy / "model.safetensors")
    return copy


def with_bytes(folder: Path, target: Path, file: str, change: Callable[[bytes], bytes]) -> Path:
    copy = copied(folder, target)
    (copy / file).write_bytes(change((copy / file).read_bytes()))
    return copy


def without(folder: Path, target: Path, file: str) -> Path:
    copy = copied(folder, target)
    (copy / file).unlink()
    return copy


def pickled(folder: Path, target: Path) -> Path:
    import torch

    copy = without(folder, target, "model.safetensors")
    torch.save({}, copy / "pytorch_model.bin")
    return copy


WEIGHT = "model.enc_output.0.weight"
PREPROCESSOR = "preprocessor_config.json"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f, t: t / "nowhere", "nowhere: a folder without config.json is no detector"),
        (lambda f, t: without(f, t, "config.json"), "copy: a folder without config.json is no detector"),
        (lambda f, t: without(f, t, "model.safetensors"), "copy/model.safetensors: there is no such file"),
        (pickled, "copy/model.safetensors: there is no such file"),
        (
            lambda f, t: with_config(f, t, model_type="yolos"),
            'model_type "yolos", allowed are rt_detr, rt_detr_v2, d_f',
        ),
        (lambda f, t: with_config(f, t, model_type=["rt_detr"]), "model_type .*, allowed are rt_detr"),
        (lambda f, t: with_config(f, t, model_type=None), "model_type null, allowed are rt_detr"),
        (lambda f, t: with_config(f, t, backbone="resnet50", backbone_config=None), 'backbone "resnet50" is a name'),
        (lambda f, t: with_config(f, t, id2label={"0": "cat", "1": "dog"}), "without the class 'person' .* cat, dog"),
        (lambda f, t: with_config(f, t, id2label=None), "without the class 'person' .id2label has no names"),
        (lambda f, t: with_config(f, t, id2label={"0": "cat", "7": "person"}), "without the class 'person'"),
        (
            lambda f, t: with_config(f, t, d_model=64),
            "weights of another shape for the RT-DETR in config.json, such as",
        ),
        (lambda f, t: with_config(f, t, decoder_layers=3), "weights missing for the RT-DETR in config.json, such as"),
        (lambda f, t: with_config(f, t, decoder_layers=1), "weights too many for the RT-DETR in config.json, such as"),
        (lambda f, t: with_config(f, t, d_model="x"), "config.json: describes no RT-DETR that can be built .*d_model"),
        (lambda f, t: with_config(f, t, backbone_config={"model_type": "nope"}), "describes no RT-DETR .*nope"),
        (
            lambda f, t: with_config(f, t, backbone_config={"model_type": "timm_backbone", "backbone": "resnet18"}),
            "describes no RT-DETR .*timm_backbone",
        ),
        (lambda f, t: with_config(f, t, backbone_config=["hgnet_v2"]), "describes no RT-DETR"),
        (lambda f, t: with_config(f, t, decoder_layers=10**6), "config.json: decoder_layers is 1000000, at most 128"),
        (lambda f, t: with_config(f, t, encoder_ffn_dim=10**12), "encoder_ffn_dim is 1000000000000, at most"),
        (lambda f, t: with_config(f, t, d_model=8192), "describes no RT-DETR .*weights, the file"),
        (lambda f, t: with_config(f, t, feat_strides=[0, 8]), "feat_strides must be whole numbers above 0"),
        (lambda f, t: with_config(f, t, feat_strides="8"), "feat_strides must be whole numbers above 0"),
        (lambda f, t: with_config(f, t, num_queries=-1), "num_queries must be a whole number above 0"),
        (lambda f, t: with_config(f, t, decoder_in_channels=[8] * 10**5), "has 100000 entries"),
        (lambda f, t: with_bytes(f, t, "config.json", lambda b: b"[" * 10**5), "config.json: not readable as JSON"),
        (lambda f, t: with_config(f, t, file=PREPROCESSOR, size={"height": 1e300, "width": 64}), "no readable prepr"),
        (lambda f, t: with_config(f, t, file=PREPROCESSOR, size={"height": 10**6, "width": 64}), "size 64x1000000, at"),
        (lambda f, t: with_config(f, t, file=PREPROCESSOR, rescale_factor=float("nan")), "no readable preprocessing"),
        (lambda f, t: with_bytes(f, t, "config.json", lambda b: b[:50]), "config.json: not readable as JSON"),
        (lambda f, t: with_bytes(f, t, "config.json", lambda b: b"[]"), "config.json: not a JSON object"),
        (lambda f, t: with_bytes(f, t, "model.safetensors", lambda b: b[:5000]), "damaged or cut short"),
        (lambda f, t: with_bytes(f, t, "model.safetensors", lambda b: b[:-1]), "damaged or cut short"),
        (lambda f, t: with_bytes(f, t, "model.safetensors", lambda b: b""), "damaged or cut short"),
        (lambda f, t: with_bytes(f, t, "model.safetensors", lambda b: b"weights, not"), "damaged or cut short"),
        (
            lambda f, t: with_weights(f, t, lambda state: {n: w for n, w in state.items() if n != WEIGHT}),
            f"1 weight missing for the RT-DETR in config.json, such as {WEIGHT}",
        ),
        (
            lambda f, t: with_weights(f, t, lambda state: state | {"head.weight": state[WEIGHT].clone()}),
            "1 weight too many for the RT-DETR in config.json, such as head.weight",
        ),
        (
            lambda f, t: with_weights(f, t, lambda state: state | {WEIGHT: state[WEIGHT][:3].clone()}),
            f"1 weight of another shape for the RT-DETR in config.json, such as {WEIGHT}",
        ),
        (lambda f, t: with_bytes(f, t, PREPROCESSOR, lambda b: b"{"), "preprocessor_config.json: not readable as JSON"),
        (lambda f, t: with_config(f, t, file=PREPROCESSOR, size={"shortest_edge": 800}), "800.* is not supported"),
        (lambda f, t: with_config(f, t, file=PREPROCESSOR, do_resize=False), "do_resize false is not supported"),
        (lambda f, t: with_config(f, t, file=PREPROCESSOR, resample=1), "resample 1 is not supported"),
        (
            lambda f, t: with_config(f, t, file=PREPROCESSOR, do_pad=True, pad_size={"height": 9}),
            "padding to .* is not",
        ),
        (lambda f, t: with_config(f, t, file=PREPROCESSOR, size={"height": 50, "width": 64}), "input of 64x50 pixels"),
        (
            lambda f, t: with_config(f, t, file=PREPROCESSOR, size={"height": "tall", "width": 64}),
            "no readable preprocessing",
        ),
    ],
)
def test_bad_folders(plain, tmp_path, spoil, message):
    with pytest.raises(JmposeError, match=message) as caught:
        TransformersDetector(spoil(plain, tmp_path), device="cpu", min_score=0.5)
    assert caught.value.hint and "\n" not in str(caught.value)


def test_what_a_description_names_beside_its_network_is_neither_fetched_nor_run(plain, tmp_path):
    named = {
        "auto_map": {"AutoModel": "evil.Model"},
        "trust_remote_code": True,
        "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True},
        "use_timm_backbone": True,
        "use_pretrained_backbone": True,
        "torch_dtype": "os",
    }
    copy = with_config(plain, tmp_path, **named)
    (copy / "evil.py").write_text(f"open({str(tmp_path / 'made')!r}, 'w')")
    ours, theirs = (TransformersDetector(folder, device="cpu", min_score=0.01) for folder in (plain, copy))
    for expected, found in zip(ours.detect(frames(1)), theirs.detect(frames(1)), strict=True):
        assert (expected.boxes_xyxy_px == found.boxes_xyxy_px).all()
    assert not (tmp_path / "made").exists()


def test_a_head_that_is_missing_is_not_taken_from_its_neighbour(saved, tmp_path):
    name = "model.decoder.class_embed.1.weight"
    spoilt = with_weights(saved, tmp_path, lambda state: {n: w for n, w in state.items() if n != name})
    with pytest.raises(JmposeError, match=r"weights? missing for the .*class_embed\.1\.weight"):
        TransformersDetector(spoilt, device="cpu", min_score=0.5)


def test_a_folder_is_what_detector_may_name(plain, monkeypatch):
    monkeypatch.chdir(plain.parent)
    assert choose_detector("tiny", on_gpu=False) == Choice(Path("tiny"))
    config = InferConfig.model_validate({"people": {"detector": "tiny", "keep_box_score": 0.3, "input_size": 64}})
    detector, header = load_detector(config, Device("cpu", "cpu"), threads=2)
    assert isinstance(detector, TransformersDetector) and header == "tiny (tiny); tracks start at a score of 0.25"
    (found,) = detector.detect(frames(1))
    assert detector.preprocessing.height == 64 and (found.scores >= 0.3).all()
    with pytest.raises(JmposeError, match="--detector nope: is neither a known name nor a file") as caught:
        choose_detector("nope", on_gpu=False)
    assert "folders have config.json and model.safetensors" in caught.value.hint
