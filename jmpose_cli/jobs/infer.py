"""`jmpose infer` over several videos: checks first, load once, one video after the other."""

import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from jmpose_cli import __version__
from jmpose_cli.config import InferConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.base import PartialFile, explain_os_errors
from jmpose_cli.formats.writers import FILE_NAMES
from jmpose_cli.jobs.inputs import Clip, find_clips
from jmpose_cli.jobs.report import Reporter
from jmpose_cli.known_weights import Choice, choose_detector, choose_model

if TYPE_CHECKING:
    from jmpose_cli.jobs.clip import ClipSummary, Tools
    from jmpose_cli.people.detect import PersonDetector
    from jmpose_cli.pose.device import Device
    from jmpose_cli.pose.estimator import PoseEstimator

RECORDED_PACKAGES = ("torch", "torchvision", "timm", "ultralytics", "trackers", "decord", "av", "numpy")


def infer_videos(inputs: Sequence[Path], *, out: Path, config: InferConfig, reporter: Reporter) -> int:
    """Process each video into `out/<video name>/`; a video that fails does not stop the others.

    Returns:
        0 when all were processed, 1 when some failed.

    Raises:
        JmposeError: Nothing can be done: bad settings, missing inputs, weights or device, `out` not writable.
    """
    clips = find_clips(inputs)
    if config.people.boxes is not None and len(clips) > 1:
        raise JmposeError(
            f"--boxes {config.people.boxes} with {len(clips)} videos", hint="a boxes file belongs to one video"
        )
    _check_results(clips, out, overwrite=config.output.overwrite)
    reporter.header({"jmpose": f"{__version__}, {len(clips)} input{'s' * (len(clips) != 1)}"})
    tools = load_tools(config, reporter)
    from jmpose_cli.jobs.clip import process_clip

    done: list[ClipSummary] = []
    failed = 0
    for clip in clips:
        folder = out / clip.name
        try:
            with explain_os_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            with _unexpected_explained(reporter):
                summary = process_clip(clip, folder, config=config, tools=tools, reporter=reporter)
                _write_run(summary, clip, config, tools)
                _remove_stale(folder, config)
        except JmposeError as error:
            failed += 1
            reporter.failure(clip.name, error)
            _remove_if_empty(folder)
            continue
        for note in summary.notes:
            reporter.note(f"{clip.name}: {note}")
        done.append(summary)
    reporter.summary(done, failed)
    return 1 if failed else 0


@contextmanager
def _unexpected_explained(reporter: Reporter) -> Iterator[None]:
    """Turn any other failure of one video into an error of that video, so that the next ones go on."""
    try:
        yield
    except JmposeError:
        raise
    except Exception as error:
        if reporter.verbose:
            raise
        raise JmposeError(
            f"unexpected {type(error).__name__}: {error}", hint="--verbose shows where; please report it with the video"
        ) from error


def _remove_stale(folder: Path, config: InferConfig) -> None:
    """Remove what an earlier run left and this one was not asked for: it would not fit the rest."""
    wanted = {FILE_NAMES[name] for name in config.output.formats} | (
        {"overlay.mp4"} if config.output.overlay else set()
    )
    for name in {*FILE_NAMES.values(), "overlay.mp4"} - wanted:
        (folder / name).unlink(missing_ok=True)


def _check_results(clips: list[Clip], out: Path, *, overwrite: bool) -> None:
    """Raise unless `out` can be written to and holds no results that would be replaced unasked."""
    with explain_os_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".jmpose-write-test"
        probe.touch()
        probe.unlink()
    there = [clip.name for clip in clips if (out / clip.name / "run.json").exists()]
    if there and not overwrite:
        raise JmposeError(
            f"{out}: results exist already for {', '.join(there[:5])}{' ...' * (len(there) > 5)}",
            hint="choose another --out, or replace them with --overwrite",
        )


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def load_tools(config: InferConfig, reporter: Reporter) -> "Tools":
    """Check the device, choose and load the weights, and say what was taken."""
    choose_model(config.pose.model)  # a wrong name shows before anything slow
    boxes = None
    if config.people.boxes is not None:
        from jmpose_cli.people.boxes_file import read_boxes

        boxes = read_boxes(config.people.boxes)
    from jmpose_cli.jobs.clip import Tools
    from jmpose_cli.pose.device import choose_device

    device = choose_device(config.device, precision=config.precision)
    people = f"boxes from {config.people.boxes}"
    detector = None
    estimator, model = load_estimator(config, device)
    if boxes is None:
        detector, people = load_detector(config, device)
    reporter.header({"device": f"{device.description}, {config.precision}", "model": model, "people": people})
    return Tools(detector, boxes, estimator, _run_info(config, device.description, estimator, detector))


def load_estimator(config: InferConfig, device: "Device") -> tuple["PoseEstimator", str]:
    """Load the pose network; say what it is."""
    from jmpose_cli.pose.estimator import PoseEstimator

    choice = choose_model(config.pose.model)
    estimator = PoseEstimator.load(
        choice.path,
        device=device.name,
        precision=config.precision,
        batch=config.pose.batch,
        flip_test=config.pose.flip_test,
    )
    return estimator, _described(estimator.name, choice)


def load_detector(config: InferConfig, device: "Device") -> tuple["PersonDetector", str]:
    """Load the detector, which then shares the cores with the pose network; say what it is."""
    from jmpose_cli.people.detect import YoloDetector
    from jmpose_cli.pose.device import share_cores

    if device.name == "cpu":
        share_cores(2)
    choice = choose_detector(config.people.detector, on_gpu=device.name != "cpu")
    detector = YoloDetector(
        choice.path,
        device=device.name,
        min_score=config.people.keep_box_score,
        input_size=config.people.input_size,
    )
    return detector, _described(detector.name, choice)


def _described(name: str, choice: Choice) -> str:
    return f"{name} ({choice.reason})" if choice.reason else f"{name} ({choice.path})"


def _run_info(config: InferConfig, device: str, estimator: Any, detector: Any) -> dict[str, Any]:
    """Collect what a reader needs to repeat the run."""
    weights = {"model": {"name": estimator.name, "sha256": estimator.sha256}}
    if detector:
        weights["detector"] = {"name": detector.name, "sha256": detector.sha256}
    return {
        "tool": "jmpose",
        "version": __version__,
        "device": device,
        "precision": config.precision,
        "weights": weights,
    }


def _write_run(summary: "ClipSummary", clip: Clip, config: InferConfig, tools: "Tools") -> None:
    """Write `run.json`, the last file of a video: where it stands, all others are complete."""
    record = {
        **tools.info,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in RECORDED_PACKAGES},
        "command": sys.argv,
        "input": str(clip.path.resolve()),
        "video": summary.video,
        "config": config.model_dump(mode="json"),
        "frames": summary.frames,
        "people": summary.people,
        "tracks": summary.tracks,
        "wall_s": round(summary.wall_s, 3),
        "stage_s": {stage: round(seconds, 3) for stage, seconds in summary.stage_s.items()},
        "notes": summary.notes,
    }
    target = PartialFile(summary.folder / "run.json")
    target.write(orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")
    target.commit()
