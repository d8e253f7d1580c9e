"""Folders of short videos with people, videos broken in ten ways, and runs over them that are killed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import av
import numpy as np
from click.testing import Result
from typer.testing import CliRunner

from jmpose_cli.clips.layout import STATE_FOLDER
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import RecordFile
from jmpose_cli.main import app
from jmpose_cli.runs.journal import Journal
from jmpose_cli.runs.plan import work_key
from tests.conftest import ROOT
from tests.video_assets import make_video

EXAMPLE = ROOT / "examples" / "street.mp4"
FRAMES = 7
SMALL = ("--set", "people.input_size=320", "--set", "run.chunk_frames=2", "--set", "people.max_people=2")


@cache
def street_frames() -> tuple[np.ndarray, ...]:
    """The example's frames at half size, `[180, 320, 3]` uint8 RGB."""
    with av.open(str(EXAMPLE)) as container:
        return tuple(f.to_ndarray(format="rgb24", width=320, height=180) for f in container.decode(video=0))


def street_video(path: Path, *, first: int, frames: int = FRAMES) -> Path:
    """Write some frames of the example as a video of its own."""
    return write_video(path, street_frames()[first : first + frames])


def write_video(path: Path, frames: Sequence[np.ndarray]) -> Path:
    """Write frames `[H, W, 3]` uint8 RGB, H and W even, as a video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "20"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
    return path


def good_videos(folder: Path, count: int) -> list[str]:
    """Write so many videos into a small tree; return their names."""
    names = [f"day{n % 3}/v{n:03}" if n % 4 else f"v{n:03}" for n in range(count)]
    for number, name in enumerate(names):
        street_video(folder / f"{name}.mp4", first=7 * number % 50)
    return names


def broken_videos(folder: Path) -> list[str]:
    """Write ten videos that are each broken in another way; return their names."""
    good = street_video(folder / "scratch.mp4", first=0).read_bytes()
    (folder / "scratch.mp4").unlink()
    make_video(folder / "sound.mp4", frames=3, audio="aac")
    with av.open(str(folder / "sound.mp4")) as source, av.open(str(folder / "b_sound_only.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.pts is not None:
                packet.stream = stream
                target.mux(packet)
    (folder / "sound.mp4").unlink()
    (folder / "b_empty.mp4").touch()
    (folder / "b_text.mp4").write_text("a film about nothing\n" * 50)
    (folder / "b_cut_off.mp4").write_bytes(good[: good.index(b"moov") - 4])
    (folder / "b_random.mkv").write_bytes(random.Random(0).randbytes(20_000))
    begin = good.index(b"mdat") + 4
    (folder / "b_noise_inside.mp4").write_bytes(
        good[:begin] + random.Random(1).randbytes(good.index(b"moov") - 4 - begin) + good[good.index(b"moov") - 4 :]
    )
    os.mkfifo(folder / "b_pipe.mp4")
    (folder / "b_dangling.mp4").symlink_to(folder / "nowhere.mp4")
    for name, sizes in (("b_cut_off_image", ((64, 48), (64, 48))), ("b_two_sizes", ((64, 48), (80, 48)))):
        (folder / name).mkdir()
        for number, (width, height) in enumerate(sizes):
            write_image(folder / name / f"{number}.jpg", width, height)
    last = folder / "b_cut_off_image" / "1.jpg"
    last.write_bytes(last.read_bytes()[:300])
    return sorted({Path(entry.name).stem for entry in folder.iterdir() if entry.name.startswith("b_")})


def write_image(path: Path, width: int, height: int) -> None:
    import cv2

    noise = np.random.default_rng(width).integers(0, 255, (height, width, 3), np.uint8)
    assert cv2.imwrite(str(path), noise)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "jmpose_cli.main", "infer", *map(str, arguments)]


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd=ROOT, check=False)


def run_here(*arguments: object) -> Result:
    """Run in this process, which has loaded the libraries already, without a worker process unless told so."""
    words = [str(one) for one in arguments]
    result = CliRunner().invoke(app, ["infer", *words, *([] if "--workers" in words else ["--workers", "0"])])
    if isinstance(result.exception, JmposeError):
        raise result.exception
    return result


def start(*arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    )


def results(out: Path) -> dict[str, bytes]:
    """All result files of all videos by their path in `out`."""
    files = (path for path in out.rglob("*") if path.is_file())
    own = {"summary.json", "failures.json"}
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in files
        if STATE_FOLDER not in path.parts and path.name not in own
    }


def entries(out: Path) -> list[dict]:
    journal = Journal(out / STATE_FOLDER / "journal.jsonl")
    try:
        return list(journal.news())
    finally:
        journal.close()


def failures(out: Path) -> set[str]:
    return {failure["name"] for failure in json.loads((out / "failures.json").read_text())}


def wait_for_work(out: Path, process: "subprocess.Popen[str]", *, runs: int, timeout_s: float = 60.0) -> None:
    """Wait until a run has begun a video or has ended; `runs` were started in this folder before."""
    until = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < until:
        if (out / STATE_FOLDER / "journal.jsonl").exists():
            events = [entry["event"] for entry in entries(out)]
            if events.count("run") > runs and events[-1] != "run":
                return
        time.sleep(0.05)


def committed_frames(out: Path, names: Sequence[str]) -> dict[str, int]:
    """How many frames of each unfinished video are committed."""
    found = {}
    for name in names:
        path = out / STATE_FOLDER / "work" / work_key(name) / "poses.records"
        if path.exists():
            copy = path.with_suffix(".copy")  # the lock stays with the dying worker
            shutil.copy(path, copy)
            with RecordFile(copy) as records:
                found[name] = sum(len(arrays["index"]) for values, arrays in records if "fps" in values)
            copy.unlink()
    return found


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()
