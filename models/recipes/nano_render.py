"""Cut training windows with exact joints out of rendered scenes.

`python models/recipes/nano_render.py --out runs/nano/rendered --scenes 24`

Each scene is another seed of the renderer in `renderer/`. A window is five frames in a row of one
region, laid out as the patches of `nano_data.py`; scenes are written one by one, so a stopped run goes on.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from jmpose.keypoints import COCO17_HEAD
from nano_data import BOX_HEIGHT, PATCH_HEIGHT, PATCH_WIDTH, patch_to_image
from renderer import RenderedFrame, render_scene

REACH = 2  # frames on each side of the key frame, at 30 frames a second
KEY_EVERY = 3
MIN_HEIGHT = 60  # pixels


def windows(frames: list[RenderedFrame]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return pictures `[5, H, W, 3]`, joints `[19, 2]` in patch pixels and visibility `[19]` of all windows."""
    made = []
    for at in range(REACH, len(frames) - REACH, KEY_EVERY):
        key = frames[at]
        for person in range(len(key.boxes_xyxy)):
            x0, y0, x1, y1 = key.boxes_xyxy[person]
            if y1 - y0 < MIN_HEIGHT or key.visible[person].sum() < 5:
                continue
            affine = patch_to_image((x0, y0, x1 - x0, y1 - y0))
            flags, size = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (PATCH_WIDTH, PATCH_HEIGHT)
            near = frames[at - REACH : at + REACH + 1]
            pictures = np.stack([cv2.warpAffine(f.frame_rgb, affine, size, flags=flags) for f in near])
            joints = (key.joints_xy[person] - affine[:, 2]) / affine[0, 0]
            made.append((pictures, joints.astype(np.float32), key.visible[person].astype(np.float32)))
    return made


def main() -> None:
    """Render scene after scene into `scene-NNN.npz`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/nano/rendered"))
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(args.workers) as pool:
        for said in pool.map(partial(write_scene, out=args.out, frames=args.frames), range(args.scenes)):
            print(said, flush=True)


def write_scene(seed: int, *, out: Path, frames: int) -> str:
    """Render one scene into `scene-NNN.npz`, unless it is there; tell what there is."""
    path = out / f"scene-{seed:03d}.npz"
    if path.exists():
        return f"{path.name} is there"
    made = windows(list(render_scene(1000 + seed, frames=frames, width=640, height=360, people=5, fps=30)))
    if not made:
        return f"{path.name}: nobody in it is large enough"
    pictures, joints, visible = (np.stack(column) for column in zip(*made, strict=True))
    arrays = {"pictures": pictures, "joints": joints, "visible": visible, "names": np.array(COCO17_HEAD.joints)}
    np.savez(path.with_suffix(".partial.npz"), box_height=BOX_HEIGHT, **arrays)
    path.with_suffix(".partial.npz").rename(path)
    return f"{path.name}: {len(pictures)} windows"


if __name__ == "__main__":
    main()
