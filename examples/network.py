"""The networks alone, without videos or files around them: `python examples/network.py`.

Builds a model from its configuration, loads the shipped one, and runs it on one window of five frames.
"""

from pathlib import Path

import torch

import jmpose_cli
from jmpose import CONFIGS, build_model, decode_dark, load_model, normalise
from jmpose.sampling import crop_affine, sample_crops
from jmpose.targets import crop_to_image, heatmap_to_crop

NANO = Path(jmpose_cli.__file__).parent / "weights" / "nano.safetensors"


@torch.inference_mode()
def main() -> None:
    """Run a window of random frames."""
    untrained = build_model(CONFIGS["nano"])
    print(f"nano: {sum(p.numel() for p in untrained.parameters()) / 1e6:.2f} million parameters")

    model = load_model(NANO)
    preprocess = model.config.preprocess
    frames = torch.randint(0, 256, (preprocess.frames, 240, 320, 3), dtype=torch.uint8)  # RGB
    box = torch.tensor([[100.0, 40.0, 180.0, 220.0]])  # the person in the key frame; all frames are cut by it

    affine = crop_affine(box, preprocess)  # crop pixels to image pixels
    size = (preprocess.input_height, preprocess.input_width)
    rows = torch.arange(preprocess.frames)
    crops = normalise(sample_crops(frames, rows, affine.expand(preprocess.frames, 2, 3), size), preprocess)
    output = model(crops[None])  # [1, T, 3, H, W]

    xy_heatmap, scores = decode_dark(output.heatmaps, sigma=preprocess.heatmap_sigma)
    xy_crop = heatmap_to_crop(xy_heatmap, heatmap_size=preprocess.heatmap_size, alignment=preprocess.heatmap_alignment)
    xy_image = crop_to_image(xy_crop, affine)
    for joint, (x, y), score in zip(preprocess.keypoints.joints, xy_image[0], scores[0], strict=True):
        print(f"{joint:>15} {x:6.1f} {y:6.1f}  score {score:.3f}")


if __name__ == "__main__":
    main()
