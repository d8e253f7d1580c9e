"""Time the server of `jmpose review`: opening, actions, what is fetched, jumps and playback.

`python benchmarks/speed/review.py [CLIP] [--frames 20000 --people 30 --size 480x270] [--keep FOLDER]`

CLIP is the folder of a clip, of which a copy is corrected; without it one is made up. Requests go over HTTP to a server
in a process of its own, and every action is on the disk before it is answered. Printed of each kind of request, opening
the clip for the first time and again among them: median and maximum milliseconds, the mean processor time of the
server, which does not grow with what else the machine does, and the size of the largest answer.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from long_clip import make_clip


class Server:
    """`jmpose review` of one clip, and requests to it."""

    def __init__(self, clip: Path, cache: Path) -> None:
        words = [sys.executable, "-m", "jmpose_cli.main", "review", str(clip), "--no-browser"]
        environment = os.environ | {"JMPOSE_CACHE": str(cache)}
        self._process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment)
        assert self._process.stderr is not None
        found = next(
            found for line in self._process.stderr if (found := re.search(r"(http://\S+)/\?token=(\S+)", line))
        )
        self._url, self._headers = found[1], {"x-jmpose-token": found[2], "origin": found[1]}
        self.revision = 1

    def get(self, path: str) -> bytes:
        """Return the answer to a request."""
        return self._answer(urllib.request.Request(f"{self._url}/api/clips/0{path}", headers=self._headers))

    def act(self, path: str, operation: dict[str, Any] | None = None) -> bytes:
        """Do something; return the answer."""
        body = {"revision": self.revision, "operations": [operation]}
        headers = self._headers | {"content-type": "application/json"}
        url = f"{self._url}/api/clips/0/{path}"
        answer = self._answer(urllib.request.Request(url, json.dumps(body).encode(), headers))
        self.revision = json.loads(answer)["revision"]
        return answer

    @staticmethod
    def _answer(request: urllib.request.Request) -> bytes:
        with urllib.request.urlopen(request) as answer:
            return bytes(answer.read())

    def worked_s(self) -> float:
        """Return the processor time that it has taken."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End it without writing."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


Timed = tuple[float, float, int]
"""Seconds, seconds of the server's processor time, and the size of the answer."""


def timed(server: Server, act: Callable[[], bytes]) -> Timed:
    """Return how long something takes."""
    begun, worked = time.perf_counter(), server.worked_s()
    answer = act()
    return time.perf_counter() - begun, server.worked_s() - worked, len(answer)


def tell(what: str, found: list[Timed]) -> None:
    """Print a row: median and maximum, mean processor time, largest answer."""
    times = [1000 * seconds for seconds, _, _ in found]
    worked = 1000 * sum(seconds for _, seconds, _ in found) / len(found)
    size = max(size for _, _, size in found) / 1000
    print(f"{what:28} {median(times):9.1f} {max(times):9.1f} {worked:9.1f} ms {size:9.1f} kB", flush=True)


def main() -> None:
    """Open the clip twice, correct it, look at it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, nargs="?")
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--size", default="480x270")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--keep", type=Path, help="where the clip and what is parsed of it stay for the next time")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = asked.keep or Path(name)
        size = tuple(map(int, asked.size.split("x")))
        clip = asked.clip or make_clip(folder, frames=asked.frames, people=asked.people, size=(size[0], size[1]))
        work = shutil.copytree(clip, Path(name) / "work")
        for file in ("corrections.jsonl", "model.coco.json"):
            (work / file).unlink(missing_ok=True)
        opened(work, folder / "cache", "opened").kill()
        server = opened(work, folder / "cache", "opened again")
        measure(server, asked.rounds)
        server.kill()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


def opened(clip: Path, cache: Path, what: str) -> Server:
    """Start a server and let it open the clip; print how long that takes."""
    server = Server(clip, cache)
    tell(what, [timed(server, lambda: server.get(""))])
    return server


def measure(server: Server, rounds: int) -> None:
    """Print a row for each kind of request."""
    told = json.loads(server.get(""))
    joint, numbers = told["joints"][0], told["frames"]
    tracks = sorted(told["lanes"], key=lambda lane: -sum(b - a + 1 for a, b in lane["present"]))[:4]
    chosen = random.Random(0)
    first, last = numbers[0][0], numbers[-1][1]

    def within(lane: dict[str, Any]) -> int:
        return chosen.randint(*chosen.choice(lane["present"]))

    def drag() -> dict[str, Any]:
        lane = chosen.choice(tracks)
        joints = {joint: [chosen.uniform(0, 200), 5.5, 2]}
        return {"op": "set_joints", "track": lane["id"], "frame": within(lane), "joints": joints}

    def propagate() -> dict[str, Any]:
        at = drag()
        server.act("operations", at)
        return {"op": "propagate", "track": at["track"], "around": at["frame"]}

    def swap() -> dict[str, Any]:
        return {"op": "swap", "tracks": [tracks[0]["id"], tracks[1]["id"]], "frames": [within(tracks[0]), None]}

    def review() -> dict[str, Any]:
        at = chosen.randint(first, last)
        return {"op": "review", "frames": [at, at + 1]}

    def delete() -> dict[str, Any]:
        return {"op": "delete", "track": tracks[2]["id"]}

    for what, operation in (
        ("a joint dragged", drag),
        ("a joint propagated", propagate),
        ("tracks swapped from here", swap),
        ("a frame reviewed", review),
        ("a track deleted", delete),
    ):
        done, undone, redone = [], [], []
        for _ in range(rounds):
            wanted = operation()
            done.append(timed(server, lambda wanted=wanted: server.act("operations", wanted)))  # type: ignore[misc]
            undone.append(timed(server, lambda: server.act("undo")))
            redone.append(timed(server, lambda: server.act("redo")))
            if operation is delete:
                server.act("undo")
        tell(what, done)
        tell("  undone", undone)
        tell("  redone", redone)
    places = [chosen.randint(first, max(last - 64, first)) for _ in range(rounds)]
    tell(
        "poses of 64 frames", [timed(server, lambda a=a: server.get(f"/poses?first={a}&end={a + 64}")) for a in places]
    )  # type: ignore[misc]
    far = [timed(server, lambda a=a: server.get(f"/frames/{a}")) for a in places]  # type: ignore[misc]
    tell("a jump to a frame", far)
    tell("the frame after it", [timed(server, lambda: server.get(f"/frames/{min(places[-1] + 1, last)}"))])
    begin = chosen.randint(first, max(last - 200, first))
    server.get(f"/frames/{begin}")
    begun, end = time.perf_counter(), min(begin + 200, last)
    for number in range(begin + 1, end + 1):
        server.get(f"/frames/{number}")
    print(f"{'playback':28} {(end - begin) / (time.perf_counter() - begun):9.1f} frames/s", flush=True)


if __name__ == "__main__":
    main()
