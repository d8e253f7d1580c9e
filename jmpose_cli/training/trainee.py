"""What is optimised: a batch in, loss terms out."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from jmpose.config import HeatmapError
from jmpose.keypoints import KeypointSet
from jmpose.losses import JMPoseLoss, LossTerms, distillation_loss, heatmap_loss, side_loss
from jmpose.network import JMPose, JMPoseOutput
from jmpose.sampling import normalise
from jmpose.targets import gaussian_targets
from jmpose_cli.device import convolution_order
from jmpose_cli.training.devices import mean_over_devices


def network_input(crops: Tensor, model: JMPose) -> Tensor:
    """Turn crops `[B, T, H, W, 3]` uint8 into windows `[B, T, 3, H, W]`, normalised, in `convolution_order`."""
    flat = crops.flatten(0, 1).permute(0, 3, 1, 2).float()
    inputs = normalise(flat, model.config.preprocess).contiguous(memory_format=convolution_order(crops.device))
    return inputs.view(*crops.shape[:2], *inputs.shape[1:])


class Trainee(nn.Module):
    """Model and loss in one module, so that devices exchange the gradients of both at once.

    Args:
        model: What is trained.
        temporal: False trains the backbone alone, on windows of one frame.
        initial_loss: Whether the initial heatmaps have a loss too; meant for a backbone that is trained.
        distil: Weight of the loss to a teacher's heatmaps, of a backbone alone.
        error: What the loss of a backbone alone sums over pixels, see `heatmap_loss`.
        sides: Weight of `side_loss`: of the heatmaps of a backbone alone, or of the final ones, and where the initial
            ones have a loss, of those of all frames of the window.
    """

    def __init__(
        self,
        model: JMPose,
        *,
        temporal: bool,
        initial_loss: bool,
        distil: float = 0.0,
        error: HeatmapError = "squared",
        sides: float = 0.0,
    ) -> None:
        super().__init__()
        self._distil, self._error, self._sides = distil, error, sides
        self._temporal, self._initial_loss = temporal, initial_loss
        # Parameters that get no gradient must not be in a module that devices synchronise.
        self.trained: nn.Module = model if temporal else model.backbone
        self.loss: nn.Module = (
            JMPoseLoss(model.config, mean_over_devices=mean_over_devices) if temporal else nn.Module()
        )
        self._preprocess = model.config.preprocess
        object.__setattr__(self, "_model", model)  # not a submodule: `trained` is

    @property
    def model(self) -> JMPose:
        """The whole model, with what is not trained."""
        model: JMPose = self.__dict__["_model"]
        return model

    def set_io_share(self, share: float) -> None:
        """Set the share of the weight of information orthogonality that is in use."""
        if isinstance(self.loss, JMPoseLoss):
            self.loss.io_share.fill_(share)

    def forward(
        self,
        crops: Tensor,
        exists: Tensor,
        xy: Tensor,
        weight: Tensor,
        present: Tensor,
        swap: Tensor,
        taught: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the loss terms of a batch; see `Batch` for the arguments.

        Returns:
            Scalars: `total`, what to minimise, and its parts; `initial_key` is the loss of the key frames' initial
            heatmaps, for comparison with `heatmap`.
        """
        height, width = crops.shape[2] // 4, crops.shape[3] // 4
        sigma = self._preprocess.sigma_at(height)
        alignment = self._preprocess.heatmap_alignment
        targets = gaussian_targets(  # [B, T, K, h, w]
            xy, present, heatmap_size=(height, width), sigma=sigma, alignment=alignment
        )
        if not self._temporal:
            heatmaps = self.model.backbone(network_input(crops, self.model)[:, 0])[1]
            loss = heatmap_loss(
                heatmaps,
                targets[:, 0],
                weight[:, 0],
                sigma=sigma,
                error=self._error,
                mean_over_devices=mean_over_devices,
            )
            of_backbone = {"total": loss, "initial_key": loss.detach()}
            if self._distil and taught is not None:
                learnt = distillation_loss(
                    heatmaps, taught, sigma=sigma, error=self._error, mean_over_devices=mean_over_devices
                )
                of_backbone |= {"total": loss + self._distil * learnt, "taught": learnt.detach()}
            return self._with_sides(of_backbone, [(heatmaps, targets[:, 0], weight[:, 0])])
        key = self._preprocess.key_index
        output = self._output(network_input(crops, self.model), exists, swap)
        terms: LossTerms = self.loss(
            output,
            targets[:, key],
            weight[:, key],
            initial_targets=targets if self._initial_loss else None,
            initial_weights=weight if self._initial_loss else None,
        )
        with torch.no_grad():
            before = heatmap_loss(
                output.initial_key, targets[:, key], weight[:, key], sigma=sigma, mean_over_devices=mean_over_devices
            )
        judged = [(output.heatmaps, targets[:, key], weight[:, key])]
        if self._initial_loss:
            judged.append((output.initial, targets, weight))
        return self._with_sides({**vars(terms), "initial_key": before}, judged)

    def _with_sides(
        self, terms: dict[str, Tensor], judged: Sequence[tuple[Tensor, Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        """Add the loss of sides of heatmaps, by their targets and weights, to the terms."""
        if not self._sides:
            return terms
        flip = self._preprocess.keypoints.flip_index
        sides = torch.stack([side_loss(*each, flip, mean_over_devices=mean_over_devices) for each in judged]).sum()
        return terms | {"total": terms["total"] + self._sides * sides, "sides": sides.detach()}

    def _output(self, windows: Tensor, exists: Tensor, swap: Tensor) -> JMPoseOutput:
        """Run the model; its temporal part sees the initial heatmaps with some sides mixed."""
        seen = self.model.encode_windows(windows)
        mixed = mix_sides(seen.heatmaps, swap, self._preprocess.keypoints)
        return replace(self.model.fuse(replace(seen, heatmaps=mixed), exists), initial=seen.heatmaps)


def mix_sides(heatmaps: Tensor, share: Tensor, keypoints: KeypointSet) -> Tensor:
    """Mix heatmaps `[B, T, K, h, w]` of left and right joints by shares `[B, T, 2]`: of arms, of legs."""
    limbs = (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"))
    belongs = share.new_tensor([[joint.endswith(limb) for joint in keypoints.joints] for limb in limbs])  # [2, K]
    weight = (share @ belongs)[..., None, None].to(heatmaps.dtype)
    return torch.lerp(heatmaps, heatmaps[:, :, list(keypoints.flip_index)], weight)
