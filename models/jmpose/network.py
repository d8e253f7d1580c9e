"""JM-Pose (Wu et al., ACM MM 2024, arXiv 2408.02285): heatmaps of a key frame from a window of frames.

Letters: B windows, T frames, N pictures, K joints, C channels, (H, W) input, (h, w) = (H/4, W/4).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jmpose.backbones import Backbone
from jmpose.config import ModelConfig
from jmpose.head import DetectionHead
from jmpose.motion import MotionEncoder


@dataclass(frozen=True)
class FrameFeatures:
    """What the network says about single pictures, or about windows of them.

    Attributes:
        maps: What the temporal part wants to know beside heatmaps, those of `MotionEncoder.look`. Of pictures each
            `[N, *, h, w]`, of windows `[B, places, *, h, w]`, where `JMPose.places` says which frames those are.
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
        return bool(self.head.scale.any())

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
        return FrameFeatures(tuple(self.motion_encoder.look(stages)), heatmaps)

    @property
    def places(self) -> tuple[tuple[int, ...], ...]:
        """For each map of `FrameFeatures`, the frames of a window that the temporal part wants it of."""
        return self.motion_encoder.places

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
        motion = self.motion_encoder.flow(windows.maps, exists)  # [B, C, h, w]
        joint = self.joint_learner(context, motion)  # [B, C, h, w]
        motions, joints = [], []
        for block in self.mutual_blocks:
            motion, joint = block(motion, joint)
            motions.append(motion)
            joints.append(joint)
        inputs = [motion, joint]
        if self.config.head_context != "none":
            inputs.append(context)
        heatmaps = self.head(inputs, initial[:, key])  # [B, K, h, w]
        # A window of one real frame has nothing to add to the single-frame estimate.
        supported = exists.sum(1) > 1
        heatmaps = torch.where(supported[:, None, None, None], heatmaps, initial[:, key])
        return JMPoseOutput(heatmaps, initial, tuple(motions), tuple(joints), key)
