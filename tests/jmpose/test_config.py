import json
import math
import subprocess
import sys
from typing import Any

import pytest

import jmpose
from jmpose.config import Calibration, ModelConfig, Preprocess
from jmpose.errors import ConfigError
from jmpose.presets import CONFIGS
from tests.jmpose.tiny_model import TINY, tiny_config

CALIBRATED = tiny_config(name="calibrated", calibration=Calibration(0.9, -1.0, 1.1, -1, people=300))


@pytest.mark.parametrize(
    "config", [*CONFIGS.values(), tiny_config(io_estimator=None), CALIBRATED], ids=lambda c: c.name
)
def test_json_round_trip(config: ModelConfig) -> None:
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_named_configs_are_what_their_names_say() -> None:
    nano, hrnet = CONFIGS["nano"].preprocess, CONFIGS["hrnet-w48"].preprocess
    assert (nano.input_height, nano.input_width, nano.frames, nano.heatmap_size) == (224, 160, 5, (56, 40))
    assert (hrnet.input_height, hrnet.input_width, hrnet.frames, hrnet.heatmap_size) == (384, 288, 5, (96, 72))
    assert (nano.key_index, hrnet.key_index) == (2, 2)
    assert len(nano.keypoints) == 19 and len(hrnet.keypoints) == 17
    assert nano.window_offsets == (-2, -1, 0, 1, 2) and nano.reference_fps == 30


def changed(path: str, value: Any) -> dict[str, Any]:
    """TINY as plain values with one of them replaced; `path` is dotted."""
    values = json.loads(json.dumps(TINY.to_dict()))
    *parents, last = path.split(".")
    place = values
    for parent in parents:
        place = place[parent]
    place[last] = value
    return values


VIT = {"width": 8, "layers": 1, "heads": 2}
SURE = {"covariance_scale": 1, "intercept": -1, "score_weight": 1.0, "sigma_weight": -1, "people": 9}
BAD = [
    ("calibration", {**SURE, "covariance_scale": 0}, "calibration covariance_scale is 0"),
    ("calibration", {**SURE, "covariance_scale": math.nan}, "calibration covariance_scale is nan"),
    ("calibration", {**SURE, "intercept": 1e4}, "calibration intercept is 10000"),
    ("calibration", {**SURE, "score_weight": -0.1}, "calibration score_weight is -0.1"),
    ("calibration", {**SURE, "sigma_weight": 0.1}, "calibration sigma_weight is 0.1"),
    ("calibration", {**SURE, "people": 0}, "calibration people is 0"),
    ("calibration", {**SURE, "people": 1.5}, "calibration.people is 1.5"),
    ("calibration", {**SURE, "temperature": 1}, "unknown setting calibration.temperature"),
    ("calibration", {"people": 9}, "missing setting calibration.covariance_scale"),
    ("calibration", [1, 2], r"calibration is \[1, 2\]"),
    ("mutual_block", 2, "unknown setting mutual_block; the nearest is mutual_blocks"),
    ("preprocess.input_hight", 64, r"unknown setting preprocess.input_hight; the nearest is preprocess.input_height"),
    ("channels", "8", "channels is '8'"),
    ("channels", True, "channels is True"),
    ("channels", 0, "channels is 0"),
    ("head_blocks", 0, "head_blocks is 0"),
    ("head_blocks", 10**6, "head_blocks is 1000000"),
    ("motion_blocks", 10**30, "motion_blocks is 1000"),
    ("channels", 2**20, "channels is 1048576"),
    ("head_channels", 10**9, "head_channels is 1000000000"),
    ("pixel_channels", 10**9, "pixel_channels is 1000000000"),
    ("dilation", 10**6, "dilation is 1000000"),
    ("io_weight", math.inf, "io_weight is inf"),
    ("io_weight", 10**400, "io_weight is 1000"),
    ("backbone.channels", 10**9, "backbone channels is 1000000000"),
    ("preprocess.input_height", 16 * 10**6, "input_height is 16000000"),
    ("preprocess.window_offsets", list(range(-500, 501)), r"window_offsets is \[-500"),
    ("preprocess.window_offsets", [-(10**12), 0, 1], "window_offsets is"),
    ("preprocess.reference_fps", math.inf, "reference_fps is inf"),
    ("preprocess.mean", [math.nan, 0, 0], "mean is nan"),
    ("channels", [[[[[[[[8]]]]]]]], "channels is "),
    ("x" * 10**6, 8, "unknown setting x{60};"),
    ("motion_blocks", -1, "motion_blocks is -1"),
    ("heads", 3, "heads is 3 with 8 channels"),
    ("heads", 8, "heads is 8 with 8 channels"),
    ("offset_groups", 0, "offset_groups is 0 with 8 channels"),
    ("mutual_blocks", 5, "mutual_blocks is 5"),
    ("mutual_blocks", 0, "io_estimator is 'bounds' without mutual blocks"),
    ("motion_stages", 2, "motion_stages is 2"),
    ("motion_stages", 4, "motion_stages is 4 with a pyramid backbone"),
    ("head_context", "all", "head_context is 'all'"),
    ("head_context", "heatmaps+features", r"head_context is 'heatmaps\+features'"),
    ("io_estimator", "mi", "io_estimator is 'mi'"),
    ("io_estimator", "kl", "io_estimator is 'kl'"),
    ("joint_offsets", False, "joint_offsets is False, which this version no longer has"),
    ("identity_start", False, "identity_start is False, which this version no longer has"),
    ("identity_start", 1, "identity_start is 1, which this version no longer has"),
    ("io_weight", -1, "io_weight is -1"),
    ("backbone", "hrnet", "backbone is 'hrnet'"),
    ("backbone.kind", "vit", "backbone.kind is 'vit'"),
    ("backbone.channels", 0, "backbone channels is 0"),
    ("preprocess.input_height", 100, "input_height is 100"),
    ("preprocess.keypoint_set", "coco", "keypoint_set is 'coco'"),
    ("preprocess.window_offsets", [0, 1], r"window_offsets is \[0, 1\]"),
    ("preprocess.window_offsets", [-1, 1], r"window_offsets is \[-1, 1\]"),
    ("preprocess.window_offsets", [1, 0, -1], r"window_offsets is \[1, 0, -1\]"),
    ("preprocess.window_offsets", 3, "preprocess.window_offsets is 3"),
    ("preprocess.window_offsets", [-1, 0, 1.5], r"preprocess.window_offsets\[2\] is 1.5"),
    ("preprocess.heatmap_sigma", 0, "heatmap_sigma is 0"),
    ("preprocess.box_padding", 0.5, "box_padding is 0.5"),
    ("preprocess.mean", [0.5], "mean has 1 values"),
    ("preprocess.std", [0.2, 0.2, 0.0], r"std is \[0.2, 0.2, 0.0\]"),
    ("preprocess.heatmap_alignment", "middle", "heatmap_alignment is 'middle'"),
    ("backbone.kind", "vitpose", "a vitpose backbone without vit"),
    ("backbone.vit", VIT, "vit with a pyramid backbone"),
    (
        "backbone",
        {"kind": "vitpose", "timm_name": "", "channels": 9, "vit": VIT},
        "channels is 9 with a classic decoder",
    ),
    ("backbone", {"kind": "vitpose", "timm_name": "x", "channels": 256, "vit": VIT}, "timm_name is 'x' with a vitpose"),
    ("backbone.vit", {"width": 8, "layers": 1, "heads": 3}, "vit heads is 3"),
    ("backbone.vit", {"width": 8, "layers": 0, "heads": 2}, "vit layers is 0"),
    ("backbone.vit", VIT | {"norm_eps": 0.0}, "vit norm_eps is 0.0"),
    ("backbone.vit", VIT | {"decoder": "deep"}, "backbone.vit.decoder is 'deep'"),
    ("backbone.vit", VIT | {"layer": 1}, "unknown setting backbone.vit.layer; the nearest is backbone.vit.layers"),
]


@pytest.mark.parametrize(("path", "value", "message"), BAD)
def test_bad_value_is_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_dict(changed(path, value))


def test_switches_of_earlier_versions_are_accepted_as_everything_is_now_built() -> None:
    """Files of version 0.1 carry them."""
    former = TINY.to_dict() | {"joint_offsets": True, "identity_start": True}
    assert ModelConfig.from_dict(former) == TINY
    assert not {"joint_offsets", "identity_start"} & TINY.to_dict().keys()
    with pytest.raises(ConfigError) as caught:
        ModelConfig.from_dict(former | {"joint_offsets": False})
    assert caught.value.hint == "joint_offsets = true, or leave it out"


def test_an_hrnet_takes_whole_factors_only() -> None:
    values = CONFIGS["hrnet-w32"].to_dict()
    values["preprocess"] |= {"input_height": 192, "input_width": 144}
    with pytest.raises(ConfigError, match="kind hrnet with an input of 192x144"):
        ModelConfig.from_dict(values)


def test_four_stages_without_motion_are_refused() -> None:
    values = CONFIGS["hrnet-w48"].to_dict() | {"motion": False, "motion_stages": 4}
    with pytest.raises(ConfigError, match="motion_stages is 4 without motion"):
        ModelConfig.from_dict(values)


def test_missing_setting_is_named() -> None:
    values = TINY.to_dict()
    del values["channels"]
    with pytest.raises(ConfigError, match="missing setting channels"):
        ModelConfig.from_dict(values)


def test_a_list_is_no_configuration() -> None:
    with pytest.raises(ConfigError, match="ModelConfig is "):
        ModelConfig.from_dict([1])  # type: ignore[arg-type]


def test_whole_number_passes_for_a_float() -> None:
    sigma = Preprocess(64, 32, "coco17", heatmap_sigma=2.0, window_offsets=(-1, 0, 1)).heatmap_sigma
    assert ModelConfig.from_dict(changed("preprocess.heatmap_sigma", 2)).preprocess.heatmap_sigma == sigma


def test_package_exports_exist_and_configs_need_no_torch() -> None:
    for name in jmpose._HOME:
        assert getattr(jmpose, name).__name__ if callable(getattr(jmpose, name)) else True
    assert set(jmpose._HOME) <= set(dir(jmpose))
    code = "import sys, jmpose; jmpose.CONFIGS, jmpose.KEYPOINT_SETS; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = jmpose.nothing
