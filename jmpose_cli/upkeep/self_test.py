"""The whole tool on some frames of the example video, from the decoder to an overlay that is read back."""

import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from jmpose_cli.annotate.clip import process_clip
from jmpose_cli.annotate.layout import OVERLAY_FILE
from jmpose_cli.annotate.networks import load_networks
from jmpose_cli.annotate.task import ClipTask, Watcher
from jmpose_cli.config import InferConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.read import read_poses
from jmpose_cli.formats.writers import FORMATS
from jmpose_cli.upkeep.model_check import EXAMPLE
from jmpose_cli.video.source import open_video

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
    config = InferConfig.model_validate(
        {
            "device": device,
            "decode": {"frames": f"0:{FRAMES}"},
            "people": {"detector": detector},
            "pose": {"model": model},
            "run": {"offline": True},
        }
    )
    started = time.perf_counter()
    networks, _ = load_networks(config)
    load_s = time.perf_counter() - started
    with closing(networks), tempfile.TemporaryDirectory(prefix="jmpose-doctor-") as folder:
        task = ClipTask("self-test", EXAMPLE, "", Path(folder), Path(folder) / "work", {})
        done = process_clip(task, config=config, networks=networks, watcher=Watcher())
        with open_video(Path(folder) / OVERLAY_FILE, decoder="pyav") as source:
            seen = sum(len(batch) for batch in source)
        records = read_poses(Path(folder) / FORMATS["coco"].file_name)
    if (seen, len(records.images), len(records)) != (FRAMES, FRAMES, done.people):
        found = f"{seen} frames of video, {len(records.images)} images and {len(records)} people were read back"
        raise JmposeError(f"{found}, of {FRAMES} frames and {done.people} people", hint="please report it")
    return SelfTest(done.frames, done.people, load_s, done.wall_s, dict(done.stage_s))
