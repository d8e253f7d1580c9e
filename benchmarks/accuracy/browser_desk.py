"""The page of `jmpose review` in Chromium as a desk of the reviewer, by its mouse and keys only."""

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from jmpose_cli.clips.operations import Operation
from jmpose_cli.clips.suspect import Suspect
from jmpose_cli.formats.truth import Truth, read_truth
from reviewer import JOINTS, Desk

WINDOW = {"width": 1440, "height": 900}
WAIT_S = 60.0
_TABLE = "/api/clips/0"


@contextmanager
def served(folder: Path, *options: str) -> Iterator[str]:
    """Run `jmpose review` on a clip, and end it as Ctrl-C does; yields its address."""
    command = [sys.executable, "-m", "jmpose_cli.main", "review", str(folder), "--no-browser", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        yield next(found[0] for line in process.stderr if (found := re.search(r"http://\S+", line)))
    finally:
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        if process.wait(600):
            raise RuntimeError(f"jmpose review has failed:\n{said}")


@contextmanager
def opened(address: str) -> Iterator[Page]:
    """Open the page; yields it when the clip is shown."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport=WINDOW)
        page.goto(address)
        page.wait_for_selector("html[data-ready=yes]", timeout=1000 * WAIT_S)
        yield page
        browser.close()


class BrowserDesk(Desk):
    """The page itself: what it shows is read, what is done goes through its mouse and keys.

    Args:
        page: With the clip.
        folder: Of the clip; its truth says what does not change.
        spreads: Corrections of joints spread at once.
    """

    def __init__(self, page: Page, folder: Path, *, spreads: bool) -> None:
        box = page.locator("#picture").bounding_box()
        assert box is not None
        self._page, self._box = page, box
        self.canvas = (box["width"], box["height"])
        self._poses_under_way = 0
        super().__init__(read_truth(folder), spreads=spreads, canvas=self.canvas)
        for event, step in (("request", 1), ("requestfinished", -1), ("requestfailed", -1)):
            page.on(event, lambda request, step=step: self._count(request.url, step))
        self._steps = 0
        if not spreads:
            page.keyboard.press("Shift+P")
        self._read()

    def suspects(self) -> list[Suspect]:
        """Wait until the page's list is that of the clip as it stands, and read it."""
        end = time.monotonic() + WAIT_S
        while True:
            answer = self._get("/suspects")
            found = answer["suspects"]
            shown = self._page.locator("#suspects button[data-name]").evaluate_all(
                "all => all.map((one) => [Number(one.dataset.name), one.textContent])"
            )
            if (
                answer["is_all"]
                and self._count_shown() == len(found)
                and all(found[place]["reason"] in text for place, text in shown)
            ):
                return [_suspect(one) for one in found]
            self._in_time(end, "the list of suspects is not that of the clip")

    def go_to_suspect(self, place: int) -> Suspect:
        """Click on it; to turn the pages of the list is no action, as to scroll it is none."""
        found = self.suspects()[place]
        button = self._page.locator(f'#suspects button[data-name="{place}"]')
        while not button.count():
            first = int(self._page.locator("#suspects button[data-name]").first.get_attribute("data-name") or 0)
            turns = self._page.locator("#suspects button.turn")
            (turns.first if place < first else turns.last).click()
        button.click()
        self._at(found)
        self._shown()
        return found

    def go(self, track: int, place: int) -> None:
        """Click into the lane."""
        x, y = self._page.evaluate(_LANE, [self._lane_of(track), place, len(self.truth.index)])
        self._page.mouse.click(x, y)
        super().go(track, place)
        self._shown()

    def step(self) -> None:
        """Press the arrow key."""
        self._page.keyboard.press("ArrowRight")
        super().step()
        self._shown()

    def select(self, track: int) -> None:
        """Click on the person of the list."""
        self._page.locator(f'#people button[data-name="{track}"]').click()
        super().select(track)

    def select_other(self, track: int) -> None:
        """Shift+click on the lane."""
        x, y = self._page.evaluate(_LANE, [self._lane_of(track), self.place, len(self.truth.index)])
        self._page.keyboard.down("Shift")
        self._page.mouse.click(x, y)
        self._page.keyboard.up("Shift")
        super().select_other(track)

    def drag(self, track: int, joint: int, x: float, y: float) -> None:
        """Drag with the mouse; where the joint cannot be gripped, choose it in the lists and press q."""
        grip, mouse, target = self.grip(track, joint, x, y), self._page.mouse, self._on_screen(x, y)

        def act() -> None:
            if grip is None:
                self._page.locator(f'#joints button[data-name="{self.truth.keypoints.joints[joint]}"]').click()
                mouse.move(*target)
                self._page.keyboard.press("q")
                return
            mouse.move(*self._on_screen(*grip))
            mouse.down()
            mouse.move(*target, steps=3)
            mouse.up()

        self._act = act
        super().drag(track, joint, x, y)

    def press(self, key: str) -> None:
        """Press it."""
        self._act = lambda: self._page.keyboard.press(key)
        super().press(key)
        self._shown()

    def mark_reviewed(self) -> None:
        """Press both keys."""
        self._page.keyboard.press("End")
        self._act = lambda: self._page.keyboard.press("Shift+A")
        super().mark_reviewed()

    def _do(self, kind: str, *operations: Operation) -> None:
        """Act, and wait until the page has taken the answer and shows it."""
        self._act()
        self._steps += 1
        end = time.monotonic() + WAIT_S
        while f"· {self._steps} correction" not in self._text("#progress") or self._poses_under_way:
            self._in_time(end, f"nothing came of it: {operations}; {self._text('#said')}")
        self._page.wait_for_timeout(20)
        while self._poses_under_way:
            self._in_time(end, "poses do not come")
        self._read()
        self.actions[kind] += 1

    def _shown(self) -> None:
        """Make sure that the page is where the desk thinks it is."""
        end = time.monotonic() + WAIT_S
        people = f'#people button[data-name="{self.track}"][aria-pressed=true]'
        while (
            self._page.locator("#frame").input_value() != str(self.number)
            or (self.track is not None and len(self.rows(self.track)) and not self._page.locator(people).count())
            or self._poses_under_way
        ):
            self._in_time(end, f"the page is not at frame {self.number} and track {self.track}")

    def _read(self) -> None:
        """Take the poses that the page is given."""
        first, last = int(self.truth.index[0]), int(self.truth.index[-1])
        frames: list[dict[str, Any]] = []
        for begin in range(first, last + 1, 512):
            frames += self._get(f"/poses?first={begin}&end={min(begin + 512, last + 1)}")["frames"]
        people = [(place, one) for place, frame in enumerate(frames) for one in frame["people"]]

        def column(name: str, kind: type) -> np.ndarray:
            return np.array([one[name] for _, one in people], kind)

        count = len(people)
        self.truth = replace(
            self.truth,
            frame=np.array([place for place, _ in people]),
            reviewed=np.array([frame["reviewed"] for frame in frames]),
            track_ids=column("id", int),
            identity=column("id", int),
            boxes_xyxy_px=column("box", float),
            person_scores=column("score", float),
            box_scores=column("score", float),
            observed=np.ones(count, bool),
            occluded=np.zeros(count, bool),
            xy=column("xy", float),
            visibility=column("v", np.uint8),
            scores=column("s", float),
            sources=column("src", np.uint8),
            raw_xy=None,
            covariances=None,
            probabilities=None,
            model_xy=None,
        )

    def _get(self, path: str) -> Any:
        return self._page.evaluate("(path) => fetch(path).then((answer) => answer.json())", _TABLE + path)

    def _lane_of(self, track: int) -> int:
        return [lane["id"] for lane in self._get("")["lanes"]].index(track)

    def on_canvas(self, x: float, y: float) -> tuple[float, float]:
        """Return where a place of the picture is on the canvas."""
        video, (width, height) = self.truth.video, self.canvas
        left, top = (width - video.width * self.scale) / 2, (height - video.height * self.scale) / 2
        return left + (x + 0.5) * self.scale, top + (y + 0.5) * self.scale

    def correct(self, key: str) -> None:
        """Press any key that corrects something."""
        self._act = lambda: self._page.keyboard.press(key)
        self._do(JOINTS)

    def _on_screen(self, x: float, y: float) -> tuple[float, float]:
        left, top = self.on_canvas(x, y)
        return self._box["x"] + left, self._box["y"] + top

    def _count(self, url: str, step: int) -> None:
        self._poses_under_way += step * ("/poses?" in url)

    def _count_shown(self) -> int:
        found = re.search(r"(\d+) suspects? left", self._text("#progress"))
        return int(found[1]) if found else -1

    def _text(self, where: str) -> str:
        return self._page.locator(where).text_content() or ""

    def _in_time(self, end: float, what: str) -> None:
        if time.monotonic() > end:
            raise RuntimeError(what)
        self._page.wait_for_timeout(10)


_LANE = """async ([row, place, count]) => {
  const unit = (await import("/page/sizes.js")).scaleOf();
  const [box, canvas] = [document.getElementById("lanes-box"), document.getElementById("lanes")];
  const [head, lane, names] = [30 * unit, 16 * unit, 58 * unit];
  const room = box.clientHeight - head;
  if (row * lane < box.scrollTop || (row + 1) * lane > box.scrollTop + room) box.scrollTop = row * lane - room / 2;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const at = canvas.getBoundingClientRect();
  return [at.left + names + ((place + 0.5) / count) * (canvas.clientWidth - names), at.top + head + (row + 0.5) * lane - box.scrollTop];
}"""  # noqa: E501


def _suspect(given: dict[str, Any]) -> Suspect:
    numbers = np.arange(given["frames"][0], given["frames"][1] + 1)
    return Suspect(
        kind=given["kind"],
        frames=tuple(given["frames"]),
        tracks=tuple(given["tracks"]),
        joints=tuple(given["joints"]),
        severity=given["severity"],
        reason=given["reason"],
        remedy=given["try"],
        at=given["at"],
        numbers=numbers,
        weights=np.ones(len(numbers)),
    )


def same_poses(ours: Truth, theirs: Truth, *, off_px: float) -> Sequence[str]:
    """Say in what two truths of a clip differ: people, ids, sources, places by more than some pixels."""
    if len(ours) != len(theirs) or (ours.frame != theirs.frame).any():
        return [f"{len(ours)} people and {len(theirs)}"]
    found = []
    for name in ("track_ids", "sources", "visibility"):
        apart = int((getattr(ours, name) != getattr(theirs, name)).sum())
        found += [f"{apart} {name}"] if apart else []
    away = float(np.abs(ours.xy - theirs.xy).max())
    return [*found, f"{away:.1f} px"] if away > off_px else found
