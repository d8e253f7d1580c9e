"""ViTPose and ViTPose++ as backbones.

The transformer is that of Hugging Face transformers. Papers: Xu et al., "ViTPose",
NeurIPS 2022; "ViTPose++", TPAMI 2023.

Letters: N pictures, D channels of a token, C feature channels, K joints, (H, W) input, (h, w) = (H/4, W/4).
"""

from typing import Any

import torch
from torch import Tensor, nn

from jmpose.backbones import Backbone
from jmpose.config import CLASSIC_DECODER_CHANNELS, STRIDE, ViTSpec

PATCH = 16


class VitPoseBackbone(Backbone):
    """A plain vision transformer with ViTPose's decoder.

    The features are what the decoder's last layer, the heatmap head, reads: after two deconvolutions in the classic
    decoder, the upsampled tokens after ReLU in the simple one.

    A ViTPose++ differs in the last rows of one matrix a layer, of which there is one set for each data set it was
    trained on. With one of them chosen it is a plain ViTPose, and is held as that.

    Args:
        vit: Sizes of transformer and decoder.
        input_size: (H, W), multiples of 16; the transformer takes no other.
        joints: K.
    """

    def __init__(self, vit: ViTSpec, *, input_size: tuple[int, int], joints: int) -> None:
        super().__init__(channels=vit.channels, joints=joints, kernel=1 if vit.decoder == "classic" else 3)
        # transformers would fill it three times with random numbers.
        with torch.device("meta"):
            self.body = _transformer(vit, input_size)
        self.body.to_empty(device=torch.get_default_device())
        _initialise(self.body)
        self.decoder = _classic_decoder(vit.width) if vit.decoder == "classic" else _simple_decoder()

    def stage_features(self, images: Tensor) -> list[Tensor]:
        """Return one level: features `[N, C, h, w]`, what the decoder's last layer reads."""
        tokens = self.body.embeddings(images)  # [N, HW/256, D]
        # Layer by layer: the body's own `forward` would keep the tokens after each of them.
        for layer in self.body.encoder.layer:
            tokens = layer(tokens)
        tokens = self.body.layernorm(tokens)
        height, width = images.shape[-2:]
        maps = tokens.transpose(1, 2).unflatten(2, (height // PATCH, width // PATCH))  # [N, D, H/16, W/16]
        return [self.decoder(maps)]


def _transformer(vit: ViTSpec, input_size: tuple[int, int]) -> Any:
    from transformers import VitPoseBackbone as Transformer

    return Transformer(transformer_config(vit, input_size))


def transformer_config(vit: ViTSpec, input_size: tuple[int, int], **experts: int) -> Any:
    """Describe the transformer in the words of Hugging Face transformers."""
    from transformers import VitPoseBackboneConfig

    return VitPoseBackboneConfig(
        image_size=list(input_size),
        patch_size=[PATCH, PATCH],
        hidden_size=vit.width,
        num_hidden_layers=vit.layers,
        num_attention_heads=vit.heads,
        mlp_ratio=vit.mlp_ratio,
        qkv_bias=vit.qkv_bias,
        layer_norm_eps=vit.norm_eps,
        out_indices=[vit.layers],
        **experts,
    )


def _initialise(body: Any) -> None:
    """Start matrices and position embeddings as ViTPose does: normal, standard deviation 0.02."""
    for module in body.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            module.reset_parameters()
    nn.init.normal_(body.embeddings.position_embeddings, std=0.02)


def _classic_decoder(width: int) -> nn.Sequential:
    channels = CLASSIC_DECODER_CHANNELS
    return nn.Sequential(
        nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )


def _simple_decoder() -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), nn.Upsample(scale_factor=PATCH // STRIDE, mode="bilinear", align_corners=False))
