"""Small random ViTPoses, saved as transformers saves them."""

from pathlib import Path
from typing import Any

import torch

SIZE = (64, 32)
WIDTH = 32


def save_vitpose(folder: Path, *, decoder: str = "classic", experts: int = 1, shards: bool = False, **top: Any) -> Any:
    """Write a checkpoint with everything moved off its start; give the network in eval mode."""
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    body = VitPoseBackboneConfig(
        image_size=list(SIZE),
        hidden_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        mlp_ratio=2,
        num_experts=experts,
        part_features=8,
        out_indices=[3],
    )
    settings = {"num_labels": 17, "use_simple_decoder": decoder == "simple"} | top
    network = VitPoseForPoseEstimation(VitPoseConfig(backbone_config=body, **settings)).eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif value.is_floating_point():
                fan_in = value[0].numel() if value.ndim > 1 else 10
                value.add_(torch.randn(value.shape) / fan_in**0.5)
    network.save_pretrained(folder, **({"max_shard_size": "100KB"} if shards else {}))
    return network
