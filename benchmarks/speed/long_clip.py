"""A made-up clip of any length, with its video: what `jmpose review` is timed on."""

import json
from pathlib import Path

import av
import numpy as np

from jmpose.keypoints import COCO17_HEAD
from jmpose_cli.clips.run_record import file_facts
from jmpose_cli.formats.base import VideoMeta
from jmpose_cli.formats.coco import CocoWriter
from jmpose_cli.values import FramePoses, TrackedFrame

FPS = 25
_REST = np.random.default_rng(1).uniform((-40, -100), (40, 100), (len(COCO17_HEAD), 2))


def make_clip(folder: Path, *, frames: int, people: int, size: tuple[int, int]) -> Path:
    """Write a video, a truth and a `run.json`, unless they are there; return the clip's folder.

    Args:
        folder: Where both lie.
        frames: Of the video.
        people: In every frame; each is hidden for a second now and then.
        size: Width and height of the picture.
    """
    clip, video = folder / "made", folder / "made.mp4"
    if (clip / "run.json").is_file():
        return clip
    clip.mkdir(parents=True, exist_ok=True)
    _write_video(video, frames, size)
    truth = clip / "keypoints.coco.json"
    _write_truth(truth, video.name, frames, people, size)
    record = {"input": str(video), "config": {}, "frames": frames, "files": {truth.name: file_facts(truth)}}
    (clip / "run.json").write_text(json.dumps(record))
    return clip


def _write_video(video: Path, frames: int, size: tuple[int, int]) -> None:
    """Write a picture that moves, with noise, as x264 does by default: 250 frames between key frames."""
    width, height = size
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 255, (-(-height // 40), -(-width // 40), 3))
    picture = np.kron(coarse, np.ones((40, 40, 1), int))[:height, :width]
    noisy = [(picture + generator.integers(-12, 12, picture.shape)).clip(0, 255).astype(np.uint8) for _ in range(4)]
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", FPS, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(noisy[index % len(noisy)], 2 * index, 1))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _write_truth(path: Path, source: str, frames: int, people: int, size: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    unit = size[1] / 1080  # people are a fifth of the picture high
    low, high = unit * np.array([60, 120]), np.array(size) - unit * np.array([60, 120])
    at, speed = generator.uniform(low, high, (people, 2)), unit * generator.normal(0, 2, (people, 2))
    meta = VideoMeta("made", *size, FPS, source)
    with CocoWriter(path, meta, COCO17_HEAD, info={"model": "nano"}) as writer:
        for index in range(frames):
            speed[(at < low) & (speed < 0) | (at > high) & (speed > 0)] *= -1
            at = at + speed
            here = np.flatnonzero((index + 97 * np.arange(people)) % 1500 >= FPS)
            shape = (len(here), len(COCO17_HEAD))
            swing = 6 * np.sin(index / 7 + here)[:, None, None]
            joints = at[here, None] + unit * (_REST + swing + generator.normal(0, 0.7, (*shape, 2)))
            corners = np.hstack([joints.min(1) - 8 * unit, joints.max(1) + 8 * unit])
            scores = generator.uniform(0.4, 0.95, shape).astype(np.float32)
            tracked = TrackedFrame(
                index=index,
                time_s=index / FPS,
                boxes_xyxy_px=corners.astype(np.float32),
                scores=scores.mean(1),
                track_ids=here + 1,
                observed=np.ones(len(here), bool),
            )
            poses = FramePoses(
                tracked,
                joints.astype(np.float32),
                scores,
                scores.mean(1),
                covariances=(generator.uniform(1, 9, (*shape, 3)) * (1, 0.2, 1)).astype(np.float32),
                probabilities=scores,
            )
            writer.write(poses)
