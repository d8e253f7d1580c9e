"""JM-Pose: networks for human pose estimation in videos (Wu et al., ACM MM 2024).

Public names are loaded on first use: keypoint sets and configurations do without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jmpose.backbones import Backbone as Backbone
    from jmpose.backbones import HRNetBackbone as HRNetBackbone
    from jmpose.backbones import PyramidBackbone as PyramidBackbone
    from jmpose.build import assemble as assemble
    from jmpose.build import build_model as build_model
    from jmpose.build import temporal_part as temporal_part
    from jmpose.build import with_temporal_part as with_temporal_part
    from jmpose.config import STRIDE as STRIDE
    from jmpose.config import BackboneSpec as BackboneSpec
    from jmpose.config import Calibration as Calibration
    from jmpose.config import HeatmapAlignment as HeatmapAlignment
    from jmpose.config import ModelConfig as ModelConfig
    from jmpose.config import Preprocess as Preprocess
    from jmpose.config import ViTSpec as ViTSpec
    from jmpose.decoding import decode_dark as decode_dark
    from jmpose.decoding import flip_average as flip_average
    from jmpose.decoding import heatmap_covariances as heatmap_covariances
    from jmpose.decoding import predict_with_initial as predict_with_initial
    from jmpose.errors import ConfigError as ConfigError
    from jmpose.errors import HintedError as HintedError
    from jmpose.errors import WeightsError as WeightsError
    from jmpose.files import WholeFile as WholeFile
    from jmpose.files import file_sha256 as file_sha256
    from jmpose.foreign import ConversionReport as ConversionReport
    from jmpose.foreign import read_foreign as read_foreign
    from jmpose.keypoints import KEYPOINT_SETS as KEYPOINT_SETS
    from jmpose.keypoints import KeypointSet as KeypointSet
    from jmpose.losses import JMPoseLoss as JMPoseLoss
    from jmpose.losses import LossTerms as LossTerms
    from jmpose.losses import heatmap_loss as heatmap_loss
    from jmpose.network import FrameFeatures as FrameFeatures
    from jmpose.network import JMPose as JMPose
    from jmpose.network import JMPoseOutput as JMPoseOutput
    from jmpose.presets import CONFIGS as CONFIGS
    from jmpose.pretrained import load_vitpose as load_vitpose
    from jmpose.sampling import crop_affine as crop_affine
    from jmpose.sampling import normalise as normalise
    from jmpose.sampling import sample_crops as sample_crops
    from jmpose.targets import covariances_to_image as covariances_to_image
    from jmpose.targets import crop_to_heatmap as crop_to_heatmap
    from jmpose.targets import crop_to_image as crop_to_image
    from jmpose.targets import gaussian_targets as gaussian_targets
    from jmpose.targets import heatmap_to_crop as heatmap_to_crop
    from jmpose.vitpose import VitPoseBackbone as VitPoseBackbone
    from jmpose.weights import load_model as load_model
    from jmpose.weights import save_calibration as save_calibration
    from jmpose.weights import save_model as save_model
    from jmpose.weights import weights_sha256 as weights_sha256

_EXPORTS = {
    "backbones": ("Backbone", "HRNetBackbone", "PyramidBackbone"),
    "build": ("assemble", "build_model", "temporal_part", "with_temporal_part"),
    "config": ("STRIDE", "BackboneSpec", "Calibration", "HeatmapAlignment", "ModelConfig", "Preprocess", "ViTSpec"),
    "decoding": ("decode_dark", "flip_average", "heatmap_covariances", "predict_with_initial"),
    "errors": ("ConfigError", "HintedError", "WeightsError"),
    "files": ("WholeFile", "file_sha256"),
    "foreign": ("ConversionReport", "read_foreign"),
    "keypoints": ("KEYPOINT_SETS", "KeypointSet"),
    "losses": ("JMPoseLoss", "LossTerms", "heatmap_loss"),
    "network": ("FrameFeatures", "JMPose", "JMPoseOutput"),
    "presets": ("CONFIGS",),
    "pretrained": ("load_vitpose",),
    "sampling": ("crop_affine", "normalise", "sample_crops"),
    "targets": ("covariances_to_image", "crop_to_heatmap", "crop_to_image", "gaussian_targets", "heatmap_to_crop"),
    "vitpose": ("VitPoseBackbone",),
    "weights": ("load_model", "save_calibration", "save_model", "weights_sha256"),
}
_HOME = {name: module for module, names in _EXPORTS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'jmpose' has no attribute {name!r}")
    value = getattr(import_module(f"jmpose.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
