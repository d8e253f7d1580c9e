"""How quickly the page of `jmpose review` answers in Chromium: an action, a seek, playing.

    python benchmarks/speed/review_page.py --work runs/review

The clip is the rendered example at 1280x720, annotated. Times are from the event in the page to the first frame of the
screen whose picture has changed, read back from the canvas.

- a drag: from the release of the mouse to the joint at its new place;
- a key that corrects (f, left and right of a person exchanged): from the key to the changed skeleton, which the server
  has made and put on the disk;
- seeks: by the arrow key, and by a click into the timeline, anywhere, once all frames are read and before;
- playing: frames a second, of 25.
"""

import argparse
import os
import shutil
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks/accuracy"))
from browser_desk import WINDOW, BrowserDesk, opened, served  # noqa: E402
from check import Source, annotated  # noqa: E402
from jmpose_cli.formats.truth import TRUTH_FILE, Truth, read_truth, write_truth  # noqa: E402
from jmpose_cli.video.info import VideoInfo  # noqa: E402
from jmpose_cli.video.source import open_video  # noqa: E402
from jmpose_cli.video.writer import OverlayWriter  # noqa: E402

SIZE = (1280, 720)
TRIES = 20
PLAYED_S = 4.0

# Notes when an event comes, and when the picture has changed after it.
WATCH = """([kind, x, y, side]) => {
  const canvas = document.getElementById("picture");
  const paper = canvas.getContext("2d", { willReadFrequently: true });
  const seen = () => paper.getImageData(x, y, side, side).data.reduce((sum, value, i) => (sum * 31 + value * (i % 7 + 1)) % 1e9, 7);
  window.took = new Promise((done, fail) => {
    addEventListener(kind, () => {
      const [begin, before] = [performance.now(), seen()];
      const look = () => {
        const took = performance.now() - begin;
        if (seen() !== before) done(took);
        else if (took < 20000) requestAnimationFrame(look);
        else fail(new Error(`the picture has not changed after ${kind}`));
      };
      requestAnimationFrame(look);
    }, { capture: true, once: true });
  });
}"""  # noqa: E501
PLAYED = """(seconds) => new Promise((done) => {
  const begin = performance.now();
  const numbers = new Set();
  const look = () => {
    numbers.add(document.getElementById("frame").value);
    if (performance.now() - begin < 1000 * seconds) requestAnimationFrame(look);
    else done((numbers.size - 1) / ((performance.now() - begin) / 1000));
  };
  look();
})"""


def make_clip(work: Path, example: Path) -> tuple[Path, Path]:
    """Write the example at 1280x720, and a clip folder with its poses; returns both."""
    video, folder = work / "street-720p.mp4", work / "street-720p"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(example, folder)
    truth = read_truth(folder)
    factor = SIZE[1] / truth.video.height
    if not video.exists():
        info = VideoInfo(video, *SIZE, truth.video.fps, None, 0, has_audio=False, decoder="none")
        with (
            open_video(ROOT / "examples/street.mp4") as source,
            OverlayWriter(video, info=info) as writer,
        ):
            for batch in source:
                for frame, time_s in zip(batch.frames, batch.time_s.tolist(), strict=True):
                    writer.write(cv2.resize(frame, SIZE, interpolation=cv2.INTER_CUBIC), time_s)
    grown = replace(
        truth,
        video=replace(truth.video, width=SIZE[0], height=SIZE[1]),
        xy=truth.xy * factor,
        boxes_xyxy_px=truth.boxes_xyxy_px * factor,
    )
    write_truth(grown, folder / TRUTH_FILE)
    for name in ("run.json", "model.coco.json", "corrections.jsonl"):
        (folder / name).unlink(missing_ok=True)
    return folder, video


def timed(page: Page, kind: str, square: tuple[float, float, float], act: Callable[[], None]) -> float:
    """Return the milliseconds from an event to the changed picture, in a square of the canvas."""
    page.evaluate(WATCH, [kind, *map(int, square)])
    act()
    return float(page.evaluate("window.took"))


def report(name: str, times: list[float], goal: float) -> None:
    """Print the median, the slowest, and the goal."""
    print(
        f"{name}: median {statistics.median(times):.0f} ms, slowest {max(times):.0f} ms; goal {goal:.0f} ms", flush=True
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/review"))
    parser.add_argument(
        "--clip", type=Path, help="folder of the example, annotated; made in the work folder if left out"
    )
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    example = Source("street*", (str(ROOT / "examples/street.mp4"),), ROOT / "examples/street.posetrack18.json")
    folder, video = make_clip(args.work, args.clip or annotated(example, args.work).path.parent)
    generator = np.random.default_rng(0)
    print(f"Chromium at {WINDOW['width']}x{WINDOW['height']}, {SIZE[0]}x{SIZE[1]} video, load {os.getloadavg()[0]:.0f}")
    with served(folder, "--video", str(video)) as address, opened(address) as page:
        desk = BrowserDesk(page, folder, spreads=True)
        places = generator.permutation(len(desk.truth.index))
        report("seek anywhere, at first", [seek(desk, page, place) for place in places[:TRIES].tolist()], 150)
        page.wait_for_timeout(10_000)
        report(
            "seek anywhere, all read", [seek(desk, page, place) for place in places[TRIES : 2 * TRIES].tolist()], 150
        )
        desk.go(desk.track, 10)
        page.keyboard.press("Shift+P")
        report("next frame", [_step(desk, page) for _ in range(TRIES)], 150)
        report("drag", drags(desk, page), 50)
        report("f (left and right)", [flip(desk, page) for _ in range(TRIES)], 50)
        page.keyboard.press("Home")
        page.wait_for_timeout(3000)
        page.keyboard.press("Space")
        print(f"playing: {page.evaluate(PLAYED, PLAYED_S):.1f} frames/s; goal 25")
        print(f"load {os.getloadavg()[0]:.0f}")


def seek(desk: BrowserDesk, page: Page, place: int) -> float:
    """Click into the timeline."""
    track = int(desk.truth.track_ids[desk.truth.of_frame(place)][0])
    return timed(page, "pointerdown", (200, 200, 400), lambda: desk.go(track, place))


def _step(desk: BrowserDesk, page: Page) -> float:
    return timed(page, "keydown", (200, 200, 400), desk.step)


def drags(desk: BrowserDesk, page: Page) -> list[float]:
    """Drag the joints of the person in the middle, each once: it becomes a square where it is let go."""
    truth: Truth = desk.truth
    here = truth.of_frame(desk.place)
    centres = (truth.boxes_xyxy_px[here, :2] + truth.boxes_xyxy_px[here, 2:]) / 2
    row = here.start + int(np.linalg.norm(centres - np.array(SIZE) / 2, axis=1).argmin())
    track, times = int(truth.track_ids[row]), []
    desk.select(track)
    for joint in range(len(truth.keypoints)):
        x, y = (desk.truth.xy[row, joint] + (12, 9)).tolist()
        if desk.grip(track, joint, x, y) is None:
            continue
        at = desk.on_canvas(x, y)
        square = at[0] - 40, at[1] - 40, 80
        times.append(timed(page, "pointerup", square, lambda j=joint, x=x, y=y: desk.drag(track, j, x, y)))
    return times


def flip(desk: BrowserDesk, page: Page) -> float:
    """Exchange left and right of the person who is selected."""
    (row,) = desk.rows(desk.track)
    left, top = desk.on_canvas(*desk.truth.boxes_xyxy_px[row, :2].tolist())
    return timed(page, "keydown", (left, top, 200), lambda: desk.correct("f"))


if __name__ == "__main__":
    main()
