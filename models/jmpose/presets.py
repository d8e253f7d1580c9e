"""The configurations that have a name."""

from dataclasses import replace

from jmpose.config import MOVENET_CHANNELS, BackboneSpec, ModelConfig, Preprocess, ViTSpec


def vitpose_config(
    name: str,
    vit: ViTSpec,
    *,
    input_size: tuple[int, int] = (256, 192),
    mean: tuple[float, ...] = Preprocess.mean,
    std: tuple[float, ...] = Preprocess.std,
) -> ModelConfig:
    """JM-Pose on a ViTPose: ViTPose's own preprocessing, and a temporal part that is cheap beside it.

    ViTPose enlarges boxes by 1.25 and puts the centres of their corner pixels on those of the crop's (UDP); crops here
    have their edges on the box's, and show 0.4 to 0.5 % less of the picture. Joints come back by the crop's own
    affine, and heatmaps are read as UDP writes them.

    Args:
        name: Name of the configuration.
        vit: Sizes of the transformer.
        input_size: (H, W) that its position embeddings are made for.
        mean: RGB mean on a 0..1 scale.
        std: RGB standard deviation on a 0..1 scale.
    """
    height, width = input_size
    return ModelConfig(
        name=name,
        backbone=BackboneSpec("vitpose", "", vit.channels, vit=vit),
        preprocess=Preprocess(
            height,
            width,
            "coco17",
            heatmap_sigma=2.0 * height / 256,
            window_offsets=(-2, -1, 0, 1, 2),
            heatmap_alignment="corners",
            mean=mean,
            std=std,
        ),
        channels=32,
        head_channels=48,
        dilation=2,
        head_context="heatmaps",
    )


CONFIGS = {
    "nano": ModelConfig(
        name="nano",
        backbone=BackboneSpec("movenet", "", MOVENET_CHANNELS, width=1.0),  # of MoveNet Lightning
        preprocess=Preprocess(
            224,
            160,
            "coco17_head",
            heatmap_sigma=1.5,
            window_offsets=(-2, -1, 0, 1, 2),
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        ),
        channels=16,
        offset_groups=2,
        dilation=2,
        mutual_blocks=1,
        head_channels=32,
        head_context="heatmaps",
        identity_blocks=True,
        io_estimator=None,
    ),
    "hrnet-w32": ModelConfig(
        name="hrnet-w32",
        backbone=BackboneSpec("hrnet", "hrnet_w32", 32),
        preprocess=Preprocess(256, 192, "coco17", heatmap_sigma=2.0, window_offsets=(-2, -1, 0, 1, 2)),
        channels=32,
        head_channels=32,
        motion_blocks=2,
        offset_groups=8,
        dilation=3,
        head_blocks=2,
    ),
    "hrnet-w48": ModelConfig(
        name="hrnet-w48",
        backbone=BackboneSpec("hrnet", "hrnet_w48", 48),
        preprocess=Preprocess(384, 288, "coco17", heatmap_sigma=3.0, window_offsets=(-2, -1, 0, 1, 2)),
        channels=48,
        head_channels=48,
        motion_blocks=2,
        offset_groups=12,
        dilation=3,
        head_blocks=2,
    ),
    # Sizes of ViTPose's authors; each is also that of one expert of the ViTPose++ of the same letter.
    "vitpose-s": vitpose_config("vitpose-s", ViTSpec(width=384, layers=12, heads=12)),
    "vitpose-b": vitpose_config("vitpose-b", ViTSpec(width=768, layers=12, heads=12)),
    "vitpose-l": vitpose_config("vitpose-l", ViTSpec(width=1024, layers=24, heads=16)),
    "vitpose-h": vitpose_config("vitpose-h", ViTSpec(width=1280, layers=32, heads=16)),
}

CONFIGS["small"] = replace(
    CONFIGS["nano"],
    name="small",
    backbone=BackboneSpec("movenet", "", MOVENET_CHANNELS, width=1.75),  # of MoveNet Thunder
    preprocess=replace(CONFIGS["nano"].preprocess, input_height=288, input_width=192, heatmap_sigma=2.0),
)
