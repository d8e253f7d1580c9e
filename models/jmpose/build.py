"""Networks from their configurations, and temporal parts taken off one backbone and put on another."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jmpose.backbones import AbsentBackbone, Backbone, HRNetBackbone, MoveNetBackbone, PyramidBackbone
from jmpose.config import BackboneSpec, ModelConfig
from jmpose.errors import ConfigError
from jmpose.head import DetectionHead
from jmpose.joint_learner import JointLearner, PlainJointFeature
from jmpose.motion import FeatureDifference, KeyFrameFeature, MotionEncoder, PixelFeatures
from jmpose.mutual import MutualBlock
from jmpose.network import JMPose
from jmpose.vitpose import VitPoseBackbone


def build_model(config: ModelConfig) -> JMPose:
    """Build the network of `config` with random weights.

    Raises:
        ConfigError: the backbone does not exist or has other channels than `config` says.
    """
    return assemble(build_backbone(config), config)


def assemble(backbone: Backbone, config: ModelConfig) -> JMPose:
    """Put the temporal part of `config` on a given backbone."""
    window, c = config.preprocess, config.channels
    joints = len(window.keypoints)
    context = window.frames * joints
    on_pixels = config.motion_source == "pixels"
    extra = {"none": 0, "heatmaps": context}
    head = DetectionHead(
        2 * c + extra[config.head_context],
        config.head_channels,
        joints=joints,
        blocks=config.head_blocks,
    )
    learner = (
        JointLearner(
            context,
            c,
            groups=config.offset_groups,
            dilation=config.dilation,
            identity_start=config.identity_blocks,
        )
        if config.joint_learner
        else PlainJointFeature(c)
    )
    mutual = [
        MutualBlock(c, heads=config.heads, identity_start=config.identity_blocks) for _ in range(config.mutual_blocks)
    ]
    motion = _build_motion_encoder(backbone, config)
    motion_features = PixelFeatures(config.pixel_channels) if on_pixels else None
    return JMPose(backbone, motion, learner, mutual, head, config, motion_features)


def temporal_part(model: JMPose) -> JMPose:
    """Take the temporal part of a model without its backbone, to be saved, and put on others.

    Raises:
        ConfigError: It needs features of its own backbone.
    """
    _require_pixels(model)
    absent = BackboneSpec("absent", "", model.config.backbone.channels)
    backbone = AbsentBackbone(channels=absent.channels, joints=model.backbone.joints)
    return _composed(backbone, model, replace(model.config, backbone=absent, calibration=None))


def with_temporal_part(model: JMPose, donor: JMPose) -> JMPose:
    """Put the trained temporal part of one model on the backbone of another.

    Args:
        model: Gives the backbone, the crops and the name.
        donor: Gives the rest and the times of the window. Its `motion_source` is `pixels`: all that it has seen of
            its backbone are heatmaps.

    Returns:
        A model that shares its parts with both, in eval mode, without calibration: its heatmaps are new.

    Raises:
        ConfigError: The donor needs features of its own backbone, or heatmaps of other joints, size or sigma.
    """
    theirs, ours = donor.config.preprocess, model.config.preprocess
    _require_pixels(donor)
    for name in ("keypoint_set", "heatmap_size", "heatmap_sigma"):
        if getattr(theirs, name) != getattr(ours, name):
            raise ConfigError(
                f"the temporal part of {donor.config.name} is made for {name} {getattr(theirs, name)!r}, "
                f"{model.config.name} has {getattr(ours, name)!r}"
            )
    times: Any = {name: getattr(theirs, name) for name in ("window_offsets", "reference_fps", "max_support_gap_s")}
    config = replace(
        donor.config,
        name=model.config.name,
        backbone=model.config.backbone,
        preprocess=replace(ours, **times),
        calibration=None,
    )
    return _composed(model.backbone, donor, config)


def _require_pixels(donor: JMPose) -> None:
    if donor.config.motion_source != "pixels":
        raise ConfigError(
            f"the temporal part of {donor.config.name} needs the features of its own backbone",
            "a model trained with motion_source = 'pixels'",
        )


def _composed(backbone: Backbone, donor: JMPose, config: ModelConfig) -> JMPose:
    """A backbone and the temporal part of `donor`, in eval mode."""
    return JMPose(
        backbone,
        donor.motion_encoder,
        donor.joint_learner,
        list(donor.mutual_blocks),
        donor.head,
        config,
        donor.motion_features,
    ).eval()


def _build_motion_encoder(backbone: Backbone, config: ModelConfig) -> MotionEncoder:
    key, blocks = config.preprocess.key_index, config.motion_blocks
    if not config.motion:
        return KeyFrameFeature(backbone.channels, config.channels, key=key, blocks=blocks)
    channels: Sequence[int] = (config.pixel_channels if config.motion_source == "pixels" else backbone.channels,)
    if config.motion_stages == 4:
        if not isinstance(backbone, HRNetBackbone):
            raise ConfigError(f"motion_stages is 4 with a {type(backbone).__name__}", "4 stages need an HRNet")
        channels = backbone.stage_channels
    return FeatureDifference(
        channels,
        config.channels,
        frames=config.preprocess.frames,
        key=key,
        blocks=blocks,
        groups=config.offset_groups,
    )


def build_backbone(config: ModelConfig) -> Backbone:
    """Build the per-frame network of `config` with random weights.

    Raises:
        ConfigError: It does not exist or has other channels than `config` says.
    """
    spec, joints = config.backbone, len(config.preprocess.keypoints)
    if spec.kind == "absent":
        return AbsentBackbone(channels=spec.channels, joints=joints)
    if spec.vit is not None:
        size = (config.preprocess.input_height, config.preprocess.input_width)
        return VitPoseBackbone(spec.vit, input_size=size, joints=joints)
    try:
        if spec.width is not None:
            return MoveNetBackbone(spec.width, joints=joints)
        if spec.kind == "pyramid":
            return PyramidBackbone(spec.timm_name, channels=spec.channels, joints=joints)
        backbone = HRNetBackbone(spec.timm_name, joints=joints)
    except Exception as error:  # a network of timm that is not meant for it stumbles anywhere
        raise ConfigError(f"backbone of {config.name}: {error}") from error
    if backbone.channels != spec.channels:
        raise ConfigError(
            f"backbone.channels is {spec.channels}, {spec.timm_name} has {backbone.channels}",
            f"backbone.channels = {backbone.channels}",
        )
    return backbone
