"""JM-Pose (Wu et al., ACM MM 2024, arXiv 2408.02285): heatmaps of a key frame from a window of frames.

Letters: B windows, T frames, N pictures, K joints, C channels, (H, W) input, (h, w) = (H/4, W/4).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from jmpose.backbones import AbsentBackbone, Backbone, HRNetBackbone, PyramidBackbone
from jmpose.config import BackboneSpec, ModelConfig
from jmpose.errors import ConfigError
from jmpose.head import DetectionHead
from jmpose.joint_learner import JointLearner, PlainJointFeature
from jmpose.motion import FeatureDifference, KeyFrameFeature, MotionEncoder, PixelFeatures
from jmpose.mutual import MutualBlock


@dataclass(frozen=True)
class FrameFeatures:
    """What the network says about single pictures, or about windows of them.

    Attributes:
        maps: What the temporal part wants to know beside heatmaps: those of `MotionEncoder.look`, and the features
            themselves if the head takes them. Of pictures each `[N, *, h, w]`, of windows `[B, places, *, h, w]`, where
            `JMPose.places` says which frames those are.
        heatmaps: Initial heatmaps, of pictures `[N, K, h, w]`, of windows `[B, T, K, h, w]`.
    """

    maps: tuple[Tensor, ...]
    heatmaps: Tensor


@dataclass(frozen=True)
class JMPoseOutput:
    """What a window gives.

    Attributes:
        heatmaps: `[B, K, h, w]` of the key frame.
        initial: `[B, T, K, h, w]` single-frame heatmaps of all frames.
        motion: Flow after each mutual block, each `[B, C, h, w]`.
        joint: Joint feature after each mutual block, each `[B, C, h, w]`.
        key: Position of the key frame in the window.
    """

    heatmaps: Tensor
    initial: Tensor
    motion: tuple[Tensor, ...]
    joint: tuple[Tensor, ...]
    key: int

    @property
    def initial_key(self) -> Tensor:
        """`[B, K, h, w]` single-frame heatmaps of the key frame."""
        return self.initial[:, self.key]


class JMPose(nn.Module):
    """The network, composed of its parts; it keeps no state between calls.

    Args:
        backbone: Per-frame network.
        motion_encoder: Makes the motion flow.
        joint_learner: Maps (heatmaps `[B, T*K, h, w]`, flow) to the joint feature.
        mutual_blocks: Each maps (flow, joint feature) to their next versions.
        head: Maps the last streams and the initial heatmaps to heatmaps.
        config: What the parts were built from.
        motion_features: Network on pixels whose features the motion encoder takes; None takes the backbone's.
    """

    def __init__(
        self,
        backbone: Backbone,
        motion_encoder: MotionEncoder,
        joint_learner: nn.Module,
        mutual_blocks: Sequence[nn.Module],
        head: DetectionHead,
        config: ModelConfig,
        motion_features: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.motion_features = motion_features
        self.motion_encoder = motion_encoder
        self.joint_learner = joint_learner
        self.mutual_blocks = nn.ModuleList(mutual_blocks)
        self.head = head
        self.config = config
        self.backbone_frozen = False

    @property
    def is_trained_in_time(self) -> bool:
        """Whether the temporal part has left its identity start: without, results are those of single frames."""
        return self.head.scale is None or bool(self.head.scale.any())

    def freeze_backbone(self) -> None:
        """Fix the per-frame part: no gradients, and its BatchNorm stays in eval mode under `train()`."""
        self.backbone_frozen = True
        self.backbone.requires_grad_(False)
        self.backbone.eval()

    def train(self, mode: bool = True) -> "JMPose":
        """Switch the mode of all parts but a frozen backbone."""
        super().train(mode)
        if self.backbone_frozen:
            self.backbone.eval()
        return self

    def encode(self, images: Tensor) -> FrameFeatures:
        """Run the backbone on normalised pictures `[N, 3, H, W]`."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.backbone_frozen):
            stages = self.backbone.stage_features(images)
            heatmaps = self.backbone.heatmap_head(stages[-1])
        if self.motion_features is not None:
            stages = [self.motion_features(images)]
        stages = stages[-self.config.motion_stages :]
        maps = self.motion_encoder.look(stages)
        return FrameFeatures((*maps, stages[-1]) if self._head_takes_features else tuple(maps), heatmaps)

    @property
    def places(self) -> tuple[tuple[int, ...], ...]:
        """For each map of `FrameFeatures`, the frames of a window that the temporal part wants it of."""
        key = self.config.preprocess.key_index
        return self.motion_encoder.places + (((key,),) if self._head_takes_features else ())

    @property
    def _head_takes_features(self) -> bool:
        return self.config.head_context == "heatmaps+features"

    def arrange(self, pictures: FrameFeatures, rows: Tensor) -> FrameFeatures:
        """Put pictures that show the same image region into windows.

        Args:
            pictures: Of N pictures, from `encode`.
            rows: `[B, T]` int64, the picture of each frame.
        """
        maps = (each[rows[:, list(at)]] for each, at in zip(pictures.maps, self.places, strict=True))
        return FrameFeatures(tuple(maps), pictures.heatmaps[rows])

    def forward(self, windows: Tensor, exists: Tensor | None = None) -> JMPoseOutput:
        """Estimate the key frames' heatmaps.

        Args:
            windows: `[B, T, 3, H, W]` normalised crops, RGB, in time order, the same image region in all frames.
                A frame that does not exist is a repeat of the nearest one that does.
            exists: `[B, T]` bool, False for such repeats; None when all frames exist.
        """
        return self.fuse(self.encode_windows(windows), exists)

    def encode_windows(self, windows: Tensor) -> FrameFeatures:
        """Run the backbone on all frames of windows `[B, T, 3, H, W]`, as `forward` takes them, for `fuse`."""
        b, t = windows.shape[:2]
        rows = torch.arange(b * t, device=windows.device).view(b, t)
        return self.arrange(self.encode(windows.flatten(0, 1)), rows)

    def fuse(self, windows: FrameFeatures, exists: Tensor | None = None) -> JMPoseOutput:
        """Run the temporal part on features computed before.

        Args:
            windows: As `arrange` gives them.
            exists: As in `forward`.
        """
        initial, key = windows.heatmaps, self.config.preprocess.key_index
        b, t = initial.shape[:2]
        if t != self.config.preprocess.frames:
            raise ValueError(f"{self.config.name} takes {self.config.preprocess.frames} frames, got {t}")
        if exists is None:
            exists = torch.ones(b, t, dtype=torch.bool, device=initial.device)
        context = initial.flatten(1, 2)  # [B, T*K, h, w]
        motion = self.motion_encoder.flow(windows.maps[: len(self.motion_encoder.places)], exists)  # [B, C, h, w]
        joint = self.joint_learner(context, motion)  # [B, C, h, w]
        motions, joints = [], []
        for block in self.mutual_blocks:
            motion, joint = block(motion, joint)
            motions.append(motion)
            joints.append(joint)
        inputs = [motion, joint]
        if self.config.head_context != "none":
            inputs.append(context)
        if self._head_takes_features:
            inputs.append(windows.maps[-1][:, 0])
        heatmaps = self.head(inputs, initial[:, key])  # [B, K, h, w]
        # A window of one real frame has nothing to add to the single-frame estimate.
        supported = exists.sum(1) > 1
        heatmaps = torch.where(supported[:, None, None, None], heatmaps, initial[:, key])
        return JMPoseOutput(heatmaps, initial, tuple(motions), tuple(joints), key)


def build_model(config: ModelConfig) -> JMPose:
    """Build the network of `config` with random weights.

    Raises:
        ConfigError: the backbone does not exist or has other channels than `config` says.
    """
    return assemble(_build_backbone(config), config)


def assemble(backbone: Backbone, config: ModelConfig) -> JMPose:
    """Put the temporal part of `config` on a given backbone."""
    window, c = config.preprocess, config.channels
    joints = len(window.keypoints)
    context = window.frames * joints
    on_pixels = config.motion_source == "pixels"
    features = config.pixel_channels if on_pixels else backbone.channels
    extra = {"none": 0, "heatmaps": context, "heatmaps+features": context + features}
    head = DetectionHead(
        2 * c + extra[config.head_context],
        config.head_channels,
        joints=joints,
        blocks=config.head_blocks,
        identity_start=config.identity_start,
    )
    learner = (
        JointLearner(
            context,
            c,
            groups=config.offset_groups,
            dilation=config.dilation,
            learn_offsets=config.joint_offsets,
        )
        if config.joint_learner
        else PlainJointFeature(c)
    )
    mutual = [MutualBlock(c, heads=config.heads) for _ in range(config.mutual_blocks)]
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
    return _composed(backbone, model, replace(model.config, backbone=absent))


def with_temporal_part(model: JMPose, donor: JMPose) -> JMPose:
    """Put the trained temporal part of one model on the backbone of another.

    Args:
        model: Gives the backbone, the crops and the name.
        donor: Gives the rest and the times of the window. Its `motion_source` is `pixels`: all that it has seen of
            its backbone are heatmaps.

    Returns:
        A model that shares its parts with both, in eval mode.

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
        donor.config, name=model.config.name, backbone=model.config.backbone, preprocess=replace(ours, **times)
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


def _build_backbone(config: ModelConfig) -> Backbone:
    spec, joints = config.backbone, len(config.preprocess.keypoints)
    if spec.kind == "absent":
        return AbsentBackbone(channels=spec.channels, joints=joints)
    if spec.vit is not None:
        from jmpose.vitpose import VitPoseBackbone  # which needs `assemble`, for whole models from pretrained weights

        size = (config.preprocess.input_height, config.preprocess.input_width)
        return VitPoseBackbone(spec.vit, input_size=size, joints=joints)
    try:
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
