"""BatchNorm folded into the convolutions before it: the same results with less work."""

import itertools

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold_batch_norms(model: nn.Module) -> int:
    """Fold every BatchNorm below `model` into the convolution that its parent has just before it; for inference only.

    Rests on modules being in the order in which they are called, as they are in torchvision's, timm's and our networks.

    Args:
        model: A network in eval mode; changed in place. The names in its state change.

    Returns:
        How many were folded.

    Raises:
        ValueError: The network is in training mode.
    """
    if model.training:
        raise ValueError("BatchNorm can be folded in eval mode only, this network is in training mode")
    folded = 0
    for parent in model.modules():
        for (_, convolution), (name, norm) in itertools.pairwise(list(parent.named_children())):
            if not (isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
                continue
            if norm.running_mean is None or norm.running_var is None or norm.num_features != convolution.out_channels:
                continue
            convolution.weight, convolution.bias = fuse_conv_bn_weights(
                convolution.weight,
                convolution.bias,
                norm.running_mean,
                norm.running_var,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            # timm's has the activation inside.
            setattr(parent, name, norm.act if hasattr(norm, "act") else nn.Identity())
            folded += 1
    return folded
