"""Joints of a person by ONNX Runtime and NumPy alone: `python example.py WINDOW.npy X0 Y0 X1 Y1`.

WINDOW.npy holds the frames of a window, `[T, H, W, 3]` uint8 RGB (metadata.json has their offsets); the person's box is
the same in all of them. Prints the name of each joint, its place in the middle frame in pixels, and its score.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


def main() -> None:
    """Print the joints."""
    folder = Path(__file__).parent
    about = json.loads((folder / "metadata.json").read_text())
    encode, fuse = (onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in ("encode", "fuse"))
    frames, box = np.load(sys.argv[1]), np.array(sys.argv[2:6], float)
    size, people = np.array(about["input_hw"])[::-1], about["people_a_call"]
    scale = ((box[2:] - box[:2]).clip(1) * about["box_padding"] / size).max()  # image pixels for a crop pixel
    start = (box[:2] + box[2:]) / 2 - scale * (size - 1) / 2
    # Bilinear interpolation of each axis as a matrix; beyond the picture it is black.
    columns, rows = (
        (1 - abs(start[axis] + scale * np.arange(size[axis])[:, None] - np.arange(frames.shape[2 - axis]))).clip(0)
        for axis in (0, 1)
    )
    crops = [np.einsum("yY,YXc,xX->cyx", rows, frame, columns, optimize=True).astype(np.float32) for frame in frames]
    seen = [encode.run(None, {"crops": np.stack([crop] * people)}) for crop in crops]  # all calls have one shape
    heatmaps, *maps = (np.stack(each, 1) for each in zip(*seen, strict=True))
    inputs = {f"map{number}": each[:, at] for number, (each, at) in enumerate(zip(maps, about["places"], strict=True))}
    to_image = np.array([[scale, 0, start[0]], [0, scale, start[1]]], np.float32)
    inputs["to_image"] = np.tile(to_image, (people, len(frames), 1, 1))
    inputs |= {"exists": np.ones((people, len(frames)), bool), "heatmaps": heatmaps}
    joints, scores, *_ = fuse.run(None, inputs)
    for name, (x, y), score in zip(about["joints"], joints[0], scores[0], strict=True):
        print(f"{name} {x:.2f} {y:.2f} {score:.3f}")


if __name__ == "__main__":
    main()
