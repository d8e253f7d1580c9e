"""The whole tool on some frames of the example video, from the decoder to an overlay that is read back."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from jmpose_cli.api import Annotator, open_video, read_clip
from jmpose_cli.clips.layout import OVERLAY_FILE
from jmpose_cli.errors import JmposeError
from jmpose_cli.upkeep.model_check import EXAMPLE

FRAMES = 6


@dataclass(frozen=True)
class SelfTest:
    """What the self-test did.

    Attributes:
        frames: Frames decoded, and read back from the overlay.
        people: People found, over all frames.
        load_s: Seconds until the networks were there.
        wall_s: Seconds for the video.
        stage_s: Busy seconds of each stage.
    """

    frames: int
    people: int
    load_s: float
    wall_s: float
    stage_s: dict[str, float]


def run_self_test(*, device: str = "auto", model: str = "auto", detector: str = "auto") -> SelfTest:
    """Decode, detect, track, estimate, write and read back, in a temporary folder.

    Args:
        device: As `--device`.
        model: As `--model`; nothing is fetched.
        detector: As `--detector`; nothing is fetched.

    Raises:
        JmposeError: A step fails, or what was read back is not what was written.
    """
    if not EXAMPLE.is_file():
        raise JmposeError(f"{EXAMPLE}: the example video is not there", hint="install jmpose again")
    settings = {"run.offline": True}
    with (
        tempfile.TemporaryDirectory(prefix="jmpose-doctor-") as folder,
        Annotator(model, detector=detector, device=device, settings=settings) as annotator,
    ):
        started = time.perf_counter()
        annotator.load()
        load_s = time.perf_counter() - started
        done = annotator.write(EXAMPLE, folder, frames=(0, FRAMES))
        with open_video(Path(folder) / OVERLAY_FILE, decoder="pyav") as source:
            seen = sum(len(batch) for batch in source)
        clip = read_clip(folder)
    people = sum(len(poses) for poses in clip.frames)
    if (seen, len(clip.frames), people) != (FRAMES, FRAMES, done.people):
        found = f"{seen} frames of video, {len(clip.frames)} images and {people} people were read back"
        raise JmposeError(f"{found}, of {FRAMES} frames and {done.people} people", hint="please report it")
    return SelfTest(done.frames, done.people, load_s, done.wall_s, dict(done.stage_s))
