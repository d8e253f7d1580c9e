"""How many actions `jmpose review` takes until a clip is right, by a reviewer who knows the ground truth.

    python benchmarks/accuracy/review.py --data ../shared/data --work runs/review

A clip is right when PCK@0.1 is 95 and no id changes. PCK: of the annotated joints of people who were found, the share
that is within a tenth of the body size (root of the box's area) of its place; people and ids as `check.py` matches them
(CLEAR MOT by overlap of boxes). People who were not found do not count, and nobody is deleted to reach the goal.
Rendered clips are those of `check.py`, made where they are missing; of tracking sequences only ids count.

An action is a click, a drag or a key; modifiers belong to it. Moving the pointer, looking, reading lists and scrolling
them are none. The reviewer knows the truth of what it looks at, and for how long a joint is wrong around a frame, not
what a correction will do elsewhere; see `reviewer.py`. Ways of working:

- *where most is wrong*: ids by the list of suspects; then to the person and frame where the most joints an action are
  wrong, which are dragged, or arms and legs exchanged, and so on;
- *every suspect*: the list from the top, ids first, each looked at whether it is right or not;
- *without propagation*: the same, corrections stay in their frames;
- *frame by frame*: from the first to the last frame, whatever is wrong in it is mended.

The first is done in Chromium, from the start to the files that are written at the end; so are the first `--proof`
actions of the others. Beyond that they go on without a browser, by the same operations; what both do is compared.
With `--no-browser` all of them do only that.
"""

import argparse
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from browser_desk import WINDOW, BrowserDesk, opened, same_poses, served
from check import Source, annotated, mistakes_of, sources
from jmpose_cli.formats.json_file import parse_json
from jmpose_cli.formats.read import read_poses
from jmpose_cli.formats.records import PoseRecords
from jmpose_cli.formats.truth import Truth, read_truth
from jmpose_cli.metrics.boxes import evaluate_boxes
from jmpose_cli.text import to_json
from real_video import command, commit, table
from reviewer import CANVAS, KINDS, Desk, Progress, Reviewer

WAYS: dict[str, tuple[Callable[[Reviewer], None], bool]] = {
    "where most is wrong": (Reviewer.where_most_is_wrong, True),
    "every suspect": (Reviewer.every_suspect, True),
    "every suspect, without propagation": (Reviewer.every_suspect, False),
    "frame by frame": (Reviewer.frame_by_frame, False),
}
FULL = next(iter(WAYS))
IDS_ONLY = (FULL, "frame by frame")
SAME_PX = 0.1  # by which places may differ where a mouse has put them
HEAD = ("clip", "way", "in Chromium", *KINDS, "actions", "a person-second", "of frame by frame, %")
BEFORE_HEAD = (
    "clip",
    "person-seconds",
    "PCK@0.1",
    "ids that change",
    "people not found, %",
    "switches at IoU .5",
    "IDF1",
)


class EnoughError(Exception):
    """The reviewer has done as much as was asked for."""


@dataclass
class Until(Reviewer):
    """A reviewer who stops after some actions."""

    most: float = np.inf

    def look(self) -> Progress:
        """As it does, unless there were enough actions."""
        if self.desk.actions.total() >= self.most:
            raise EnoughError
        return super().look()


@dataclass(frozen=True)
class Case:
    """A clip of the benchmark, where it lies and what is so."""

    source: Source
    folder: Path
    truth: Truth
    ground: PoseRecords

    @property
    def person_seconds(self) -> float:
        """How long there are people, all together."""
        return len(self.ground.track_ids) / self.truth.video.fps

    def standing(self, folder: Path) -> list[object]:
        """Cells of how the clip in a folder stands."""
        now = Progress(mistakes_of(read_truth(folder), self.ground))
        boxes = evaluate_boxes([(self.ground, read_poses(folder / "keypoints.coco.json"))])
        missed = 100 * now.mistakes.missed.sum() / len(self.ground.track_ids)
        pck = now.pck if self.ground.joints else "-"
        return [pck, len(now.switches), missed, boxes.switches, boxes.idf1]


def file_name_of(source: Source) -> str:
    """Return the name of a clip as files have it."""
    return source.name.strip("*").replace(" ", "-").replace(",", "")


def case_of(source: Source, work: Path) -> Case:
    """Annotate a clip, or find it annotated."""
    truth = annotated(source, work)
    return Case(source, truth.path.parent, truth, read_poses(source.ground))


def in_browser(case: Case, way: str, copy: Path, most: float) -> BrowserDesk:
    """Work on a copy of a clip in Chromium, and end the server, which writes the files."""
    work, spreads = WAYS[way]
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(case.folder, copy)
    with served(copy) as address, opened(address) as page:
        desk = BrowserDesk(page, copy, spreads=spreads)
        _to_the_end(Until(desk, case.ground, most=most), work)
    written = same_poses(read_truth(copy), desk.truth, off_px=0.02)
    if written:
        raise RuntimeError(f"{copy}: what was written is not what the page showed: {', '.join(written)}")
    return desk


def without_browser(case: Case, way: str, canvas: tuple[float, float], most: float = np.inf) -> Desk:
    """Do the same by the operations alone."""
    work, spreads = WAYS[way]
    desk = Desk(case.truth, spreads=spreads, canvas=canvas)
    _to_the_end(Until(desk, case.ground, most=most), work)
    return desk


def _to_the_end(reviewer: Until, work: Callable[[Reviewer], None]) -> None:
    try:
        work(reviewer)
    except EnoughError:
        return
    reviewer.desk.mark_reviewed()


def proven(case: Case, way: str, copy: Path, most: float) -> tuple[Counter[str], tuple[float, float], str]:
    """Do some actions both ways; return those in Chromium, the size of the picture there, and how they compare."""
    page = in_browser(case, way, copy, most)
    desk = without_browser(case, way, page.canvas, most)
    apart = list(same_poses(page.truth, desk.truth, off_px=SAME_PX))
    if page.actions != desk.actions:
        apart.append(f"{page.actions.total()} actions and {desk.actions.total()}")
    told = f"{case.source.name}, {way}: {page.actions.total()} actions, " + ("; ".join(apart) or "alike")
    print(told, flush=True)
    return page.actions, page.canvas, told


def measured(case: Case, work: Path | None, proof: int) -> dict[str, list[Any]]:
    """Go all ways with a clip; returns rows of the tables and sentences of the comparison.

    Args:
        case: The clip.
        work: For copies of it that are reviewed in Chromium; None goes without.
        proof: Actions that are done both ways.
    """
    name, totals = case.source.name, {}
    before, proofs = [[name, case.person_seconds, *case.standing(case.folder)]], []
    for way in WAYS if case.ground.joints else IDS_ONLY:
        if work is None:
            totals[way] = without_browser(case, way, CANVAS).actions
            continue
        copy = work / f"{file_name_of(case.source)}-{way.replace(' ', '-').replace(',', '')}"
        totals[way], canvas, told = proven(case, way, copy, np.inf if way == FULL else proof)
        proofs.append(told)
        if way == FULL:
            before.append([f"{name}, reviewed", case.person_seconds, *case.standing(copy)])
        else:
            totals[way] = without_browser(case, way, canvas).actions
    last = totals["frame by frame"].total()
    rows = []
    for way, counted in totals.items():
        share = 100 * counted.total() / last if last else "-"
        cells = [counted[kind] for kind in KINDS]
        rate = counted.total() / case.person_seconds
        rows.append(
            [
                name,
                way,
                "no" if work is None else "whole" if way == FULL else "begin",
                *cells,
                counted.total(),
                rate,
                share,
            ]
        )
        print(*rows[-1], sep=" | ", flush=True)
    return {"rows": rows, "before": before, "proofs": proofs}


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("runs/review"), help="rendered clips, results, copies")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("--no-browser", action="store_true", help="count by the operations alone")
    parser.add_argument("--proof", type=int, default=25, help="actions that are compared, of ways without a browser")
    parser.add_argument(
        "--clips",
        nargs="*",
        default=[],
        help="measure only those whose names begin so; figures of others are kept from before",
    )
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    rows, before, proofs = [], [], []
    for source in sources(args.data, args.work):
        kept = args.work / f"{file_name_of(source)}.json"
        if source.name.startswith(tuple(args.clips)) or not args.clips:
            found = measured(case_of(source, args.work), None if args.no_browser else args.work / "browser", args.proof)
            kept.write_bytes(to_json(found, indent=True))
        if kept.exists():
            found = parse_json(kept, kept.read_bytes())
            rows, before, proofs = rows + found["rows"], before + found["before"], proofs + found["proofs"]
    lines = [
        "# Actions until a clip is right",
        "",
        f"`{command()}`, {date.today()}, commit {commit()}; `nano` with `person-nano`, Chromium at "
        f"{WINDOW['width']}x{WINDOW['height']}, load {os.getloadavg()[1]:.0f}. What an action is, when a clip is "
        "right, and how the reviewer works is told in `review.py`. The goals were a fifth of frame by frame, and 0.3 "
        "actions a person-second.",
        "",
        "Actions: *go* to a frame or suspect; *select* a person, another one, or a joint; *joints* that are dragged or "
        "placed; *ids* and sides that a key mends; *review* marks.",
        "",
        *table(HEAD, rows),
        "## The clips, before and after",
        "",
        "*Reviewed* is what the server has written after the first way. Switches and IDF1 are those of `jmpose eval` "
        "for boxes; rendered people's boxes are 1.3 times the extent of their joints, which it takes as they are.",
        "",
        *table(BEFORE_HEAD, before),
    ]
    if proofs:
        lines += [
            "## In Chromium and without",
            "",
            "The same ways done in both: whether actions, people, ids and sources are the same, and joints within "
            f"{SAME_PX:g} pixels.",
            "",
            *(f"- {told}" for told in proofs),
        ]
    args.out.write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
