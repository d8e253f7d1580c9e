"""Fuzzing by hand: thousands of damaged inputs through the real command line.

    python -m tests.fuzz --inputs 3000 --seed 7

Each input is a folder of files and a command line. It is run in a process of its own that a server forks, so that it
costs well under a second. What must never happen: a traceback, an exit code beside 0, 1 and 2, more than 30 s or 4 GB,
a file made or changed outside OUT and the cache, a process left behind, code of an input that runs. Inputs that make it
happen are kept in a folder each, with what was said and the command that runs it again. A table sums up the kinds,
after Ctrl-C those so far. The first 200 inputs of seed 0 are part of the tests.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.fuzz import finished
from tests.fuzz.harness import Harness, Outcome, keep
from tests.fuzz.kinds import KINDS, make, shares


@dataclass
class _Row:
    codes: Counter[int] = field(default_factory=Counter)
    slowest_s: float = 0.0
    cpu_s: float = 0.0
    largest_mb: float = 0.0
    failed: int = 0

    def add(self, outcome: Outcome) -> None:
        self.codes[outcome.code] += 1
        self.slowest_s = max(self.slowest_s, outcome.wall_s)
        self.cpu_s = max(self.cpu_s, outcome.cpu_s)
        self.largest_mb = max(self.largest_mb, outcome.growth_mb)
        self.failed += bool(outcome.faults)


def main() -> int:
    """Run the inputs; return 1 when one of them did what none must do."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=500, help="how many, over all kinds (500)")
    parser.add_argument("--seed", type=int, default=1, help="other inputs for another number (1)")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this kind; may be repeated")
    parser.add_argument("--only", type=int, help="only the input of this number, and show what it says")
    parser.add_argument("--failed", type=Path, default=Path("fuzz-failed"), help="folder for inputs that failed")
    parser.add_argument("--patience", type=float, default=1.0, help="how many times slower the machine is now (1)")
    asked = parser.parse_args()
    kinds = asked.kind or list(KINDS)
    if asked.only is not None:
        todo = [(kind, asked.only) for kind in kinds]
    else:
        counts = shares(asked.inputs) if not asked.kind else dict.fromkeys(kinds, asked.inputs // len(kinds))
        todo = [(kind, number) for kind in kinds for number in range(counts[kind])]
        Random(0).shuffle(todo)  # so that a table of half the time tells of all kinds
    rows = {kind: _Row() for kind in kinds}
    with suppress(KeyboardInterrupt):  # the table tells of those done so far
        _run(todo, rows, asked)
    print(table(rows))
    return int(any(row.failed for row in rows.values()))


def _run(todo: list[tuple[str, int]], rows: dict[str, _Row], asked: argparse.Namespace) -> None:
    """Run inputs, given by kind and number, and add what comes of them to the rows."""
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-") as folder,
        Harness(Path(folder), patience=asked.patience) as harness,
    ):
        for kind in rows:
            finished.prepare(harness, kind)
        for done, (kind, number) in enumerate(todo, 1):
            outcome = harness.run(make(kind, asked.seed, number))
            rows[kind].add(outcome)
            if outcome.faults:
                print(f"{outcome}\nkept in {keep(outcome, asked.failed)}\n", flush=True)
            elif asked.only is not None:
                print(outcome)
            if done % 50 == 0:
                print(f"{done} of {len(todo)}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def table(rows: dict[str, _Row]) -> str:
    """Show the kinds, a row each, and all together."""
    whole = _Row()
    for row in rows.values():
        whole.codes += row.codes
        whole.failed += row.failed
        whole.slowest_s, whole.cpu_s = max(whole.slowest_s, row.slowest_s), max(whole.cpu_s, row.cpu_s)
        whole.largest_mb = max(whole.largest_mb, row.largest_mb)
    head = f"{'kind':<15}{'inputs':>7}{'exit 0':>8}{'1':>6}{'2':>6}{'other':>7}"
    lines = [head + f"{'slowest, s':>12}{'CPU, s':>8}{'memory, MB':>12}{'failed':>8}"]
    for kind, row in {**rows, "all": whole}.items():
        inputs = row.codes.total()
        usual = [row.codes[code] for code in (0, 1, 2)]
        counts = f"{usual[0]:>8}{usual[1]:>6}{usual[2]:>6}{inputs - sum(usual):>7}"
        most = f"{row.slowest_s:>12.1f}{row.cpu_s:>8.1f}{row.largest_mb:>12.0f}{row.failed:>8}"
        lines.append(f"{kind:<15}{inputs:>7}{counts}{most}")
    return "\n".join([*lines, "memory: beside the libraries, which take 0.6 GB"])


if __name__ == "__main__":
    sys.exit(main())
