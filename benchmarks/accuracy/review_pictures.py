"""Take the pictures of `docs/review.md` in Chromium: the rendered example, its worst suspect, a drag, a swap of ids.

    python benchmarks/accuracy/review_pictures.py --work runs/review --out docs

The example is annotated where it was not yet; what is corrected on the page is corrected in a copy.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
from playwright.sync_api import Page

from browser_desk import BrowserDesk, opened, served
from check import ROOT, Source, annotated
from jmpose_cli.formats.read import read_poses
from jmpose_cli.formats.truth import Truth
from reviewer import Reviewer

SIZE = {"width": 1280, "height": 720}
GROUND = ROOT / "examples/street.posetrack18.json"
QUALITY = 85
SETTLED_MS = 1500  # until suspects and lanes are those of the clip as it stands


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/review"), help="the example's results, and the copy")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    truth = annotated(Source("street*", (str(ROOT / "examples/street.mp4"),), GROUND), args.work)
    copy = args.work / "pictures" / truth.path.parent.name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(truth.path.parent, copy)
    with served(copy) as address, opened(address) as page:
        page.set_viewport_size(SIZE)
        page.emulate_media(color_scheme="dark")
        desk = BrowserDesk(page, copy, spreads=True)
        page.keyboard.press("n")
        _take(page, args.out / "review.jpg")
        _drag_the_worst(desk, page)
        _take(page, args.out / "review_joint.jpg")
        page.keyboard.press("0")
        _swap_two(desk, page)
        _take(page, args.out / "review_light.jpg")


def _drag_the_worst(desk: BrowserDesk, page: Page) -> None:
    """Put the joint that is wrong for longest, and look at it from near."""
    reviewer = Reviewer(desk, read_poses(GROUND))
    mistakes = reviewer.look().mistakes
    worth = np.where(_is_alone(desk.truth)[:, None], reviewer._worth(mistakes), 0.0)
    row, joint = np.unravel_index(int(worth.argmax()), worth.shape)
    track, place = int(desk.truth.track_ids[row]), int(desk.truth.frame[row])
    desk.go(track, place)
    desk.drag(track, int(joint), *mistakes.wanted[row, joint].tolist())
    page.locator(f'#joints button[data-name="{desk.truth.keypoints.joints[joint]}"]').click()
    for key in ("]", "]", "l"):
        page.keyboard.press(key)


def _is_alone(truth: Truth) -> np.ndarray:
    """Whether no other box `[N]` is over the person's."""
    alone = np.ones(len(truth), bool)
    for place in range(len(truth.index)):
        rows = np.arange(len(truth))[truth.of_frame(place)]
        boxes = truth.boxes_xyxy_px[rows]
        low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
        high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
        alone[rows] = (high > low).all(2).sum(1) == 1
    return alone


def _swap_two(desk: BrowserDesk, page: Page) -> None:
    """Exchange the ids of two people from the middle of the clip on, in the light theme."""
    page.emulate_media(color_scheme="light")
    page.keyboard.press("Escape")
    middle = len(desk.truth.index) // 2
    one, other = desk.truth.track_ids[desk.truth.of_frame(middle)][:2].tolist()
    page.keyboard.press("\\")  # lanes of everybody
    desk.go(one, middle)
    desk.select_other(other)
    desk.press("x")
    desk.go(one, desk.place)
    for _ in range(2):
        page.keyboard.press("]")


def _take(page: Page, path: Path) -> None:
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=path, type="jpeg", quality=QUALITY)
    print(path, flush=True)


if __name__ == "__main__":
    main()
