"""TAR-ViTPose's weights by its names, and its single-frame heatmaps from them, layer by layer in plain torch.

Written from the descriptions of mmpretrain's VisionTransformer, MMPose's HeatmapHead and TAR-ViTPose's network.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

JOINTS = 17
_DECONVOLVED = 256


def random_tar_vitpose(width: int, layers: int, *, patches: int, seed: int = 0) -> dict[str, Tensor]:
    """The `model_state_dict` of a whole TAR-ViTPose with one temporal layer, in the order of its modules."""
    generator = torch.Generator().manual_seed(seed)

    def matrix(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) / (math.prod(shape[1:]) if len(shape) > 1 else 9) ** 0.5

    def linear(name: str, rows: int, columns: int) -> dict[str, Tensor]:
        return {f"{name}.weight": matrix(rows, columns), f"{name}.bias": matrix(rows)}

    def norm(name: str, channels: int = width) -> dict[str, Tensor]:
        return {f"{name}.weight": 1 + matrix(channels), f"{name}.bias": matrix(channels)}

    backbone = {
        "pos_embed": matrix(1, patches, width) * 20,
        "patch_embed.projection.weight": matrix(width, 3, 16, 16),
        "patch_embed.projection.bias": matrix(width),
    }
    for number in range(layers):
        at = f"layers.{number}."
        backbone |= {
            **norm(f"{at}ln1"),
            **linear(f"{at}attn.qkv", 3 * width, width),
            **linear(f"{at}attn.proj", width, width),
            **norm(f"{at}ln2"),
            **linear(f"{at}ffn.layers.0.0", 4 * width, width),
            **linear(f"{at}ffn.layers.1", width, 4 * width),
        }
    backbone |= norm("ln1")
    deconvolutions = {}
    for number, channels in ((0, width), (3, _DECONVOLVED)):
        deconvolutions |= {
            f"{number}.weight": matrix(channels, _DECONVOLVED, 4, 4) * 4,
            **norm(str(number + 1), _DECONVOLVED),
            f"{number + 1}.running_mean": matrix(_DECONVOLVED),
            f"{number + 1}.running_var": torch.rand(_DECONVOLVED, generator=generator) + 0.5,
            f"{number + 1}.num_batches_tracked": torch.tensor(7),
        }
    last = {"weight": matrix(JOINTS, _DECONVOLVED, 1, 1), "bias": matrix(JOINTS)}

    def attention(name: str) -> dict[str, Tensor]:
        return {
            f"{name}.mha.in_proj_weight": matrix(3 * width, width),
            f"{name}.mha.in_proj_bias": matrix(3 * width),
            **linear(f"{name}.mha.out_proj", width, width),
            **norm(f"{name}.norm"),
        }

    def under(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return {prefix + name: value for name, value in weights.items()}

    return {
        **under("model.backbone.", backbone),
        **under("model.head.deconv_layers.", deconvolutions),
        **under("model.head.final_layer.", last),
        **under("backbone.", backbone),
        **under("heatmap_head.0.", deconvolutions),
        **under("heatmap_head.1.", last),
        "query_feat.weight": matrix(JOINTS, width),
        "query_pe.weight": matrix(JOINTS, width),
        **attention("masked_attention_layers.0"),
        **attention("self_attention_layers.0"),
        **linear("ffn_layers.0.fc1", 2 * width, width),
        **linear("ffn_layers.0.fc2", width, 2 * width),
        **norm("ffn_layers.0.norm"),
        **attention("cross_attention"),
    }


def single_frame_heatmaps(weights: dict[str, Tensor], images: Tensor, *, heads: int, grid: tuple[int, int]) -> Tensor:
    """Compute the heatmaps that it masks attention with: `heatmap_head(backbone(images))`.

    Args:
        weights: As `random_tar_vitpose` names them.
        images: Normalised pictures `[N, 3, H, W]`.
        heads: Attention heads.
        grid: Rows and columns of patches that the position embeddings are of.
    """
    w = {name.removeprefix("backbone."): value for name, value in weights.items() if name.startswith("backbone.")}
    width = len(w["patch_embed.projection.weight"])

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (width,), w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-6)

    maps = F.conv2d(images, w["patch_embed.projection.weight"], w["patch_embed.projection.bias"], stride=16, padding=2)
    count, _, rows, columns = maps.shape
    places = w["pos_embed"].transpose(1, 2).reshape(1, width, *grid)
    if grid != (rows, columns):
        places = F.interpolate(places, size=(rows, columns), mode="bicubic", align_corners=False)
    x = (maps + places).flatten(2).transpose(1, 2)  # [N, hw, D]
    number = 0
    while f"layers.{number}.ln1.weight" in w:
        at = f"layers.{number}."
        qkv = linear(norm(x, f"{at}ln1"), f"{at}attn.qkv")
        q, k, v = qkv.reshape(count, rows * columns, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-1, -2)) * (width // heads) ** -0.5
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(count, rows * columns, width)
        x = x + linear(mixed, f"{at}attn.proj")
        x = x + linear(F.gelu(linear(norm(x, f"{at}ln2"), f"{at}ffn.layers.0.0")), f"{at}ffn.layers.1")
        number += 1
    maps = norm(x, "ln1").transpose(1, 2).reshape(count, width, rows, columns)
    for at in (0, 3):
        maps = F.conv_transpose2d(maps, weights[f"heatmap_head.0.{at}.weight"], stride=2, padding=1)
        parts = [weights[f"heatmap_head.0.{at + 1}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
        maps = F.relu(F.batch_norm(maps, *parts, training=False))
    return F.conv2d(maps, weights["heatmap_head.1.weight"], weights["heatmap_head.1.bias"])
