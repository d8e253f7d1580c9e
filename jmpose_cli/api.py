"""The Python face: videos or frames in, poses out. `docs/library.md` shows it at work."""

import tempfile
import weakref
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import orjson

from jmpose.keypoints import KeypointSet
from jmpose_cli.clips.layout import SUMMARY_FILE
from jmpose_cli.config import InferConfig, load_settings
from jmpose_cli.device import printing_kept, process_settings_restored
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import explain_os_errors
from jmpose_cli.formats.base import VideoMeta
from jmpose_cli.formats.clip import ClipPoses, read_clip, to_records, write_clip
from jmpose_cli.home import settle
from jmpose_cli.people.given_boxes import FrameBoxes, GivenBoxes
from jmpose_cli.values import Bytes, FramePoses, TrackedFrame
from jmpose_cli.video.source import open_video

if TYPE_CHECKING:
    from jmpose_cli.annotate.frame_stream import FrameStream
    from jmpose_cli.annotate.networks import Networks
    from jmpose_cli.annotate.task import ClipSummary, ClipTask

__all__ = [
    "Annotator",
    "ClipPoses",
    "FramePoses",
    "JmposeError",
    "TrackedFrame",
    "VideoMeta",
    "open_video",
    "read_clip",
    "to_records",
    "write_clip",
]

Boxes: TypeAlias = str | Path | Mapping[int, FrameBoxes] | Sequence[FrameBoxes]
"""A file of boxes, or arrays by frame number (see `FrameBoxes`)."""
Range: TypeAlias = str | tuple[float | None, float | None] | None
"""`"A:B"` or `(A, B)`, half open; an end that is left out or None is open."""


class Annotator:
    """Finds people in videos, tracks them and estimates their poses; a context manager.

    The networks are loaded once, when they are first needed, and let go at the end of the `with` block or by `close`.
    One video, or one stream of own frames, at a time; an annotator belongs to one thread. The results are those of
    `jmpose infer` with the same settings.

    Of the whole process it changes, for as long as its networks are loaded: torch's number of threads on a CPU (1, as
    calls run side by side), how CUDA multiplies float32 (`precision`), OpenCV's number of threads (1). The environment
    keeps what the libraries are told: `YOLO_*`, `ULTRALYTICS_SAFE_LOAD`, and `HOME` and `LOGNAME` where there are none.
    Signals, random numbers, logging and print options stay as they are; only `write_all` listens to SIGINT and SIGTERM
    while it works, in the main thread.

    Args:
        model: As `--model`.
        detector: As `--detector`; None loads none: all videos come with own boxes.
        device: As `--device`.
        settings: Any setting by its dotted name, as in `--set`: `{"people.max_people": 4}`. They count before the
            arguments above.

    Attributes:
        config: All settings.
        notes: Sentences about the last video, such as damage in it; complete when its last frame has come.

    Raises:
        JmposeError: A setting is unknown or out of range. All methods: what is wrong with a model, a video or a file.
        RuntimeError: All methods: another video is not finished.
    """

    def __init__(
        self,
        model: str | Path = "auto",
        *,
        detector: str | Path | None = "auto",
        device: str = "auto",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        options = {"pose.model": str(model), "device": device}
        if detector is not None:
            options["people.detector"] = str(detector)
        self.config = _settings({}, {**options, **deepcopy(dict(settings or {}))})
        if self.config.people.boxes is not None:
            raise JmposeError(
                "people.boxes belongs to one video", hint="give the boxes with it: frames(video, boxes=...)"
            )
        self.notes: list[str] = []
        self._detects = detector is not None
        self._networks: Networks | None = None
        self._loaded = ExitStack()
        self._generators: weakref.WeakSet[Generator[FramePoses, None, None]] = weakref.WeakSet()
        self._in_progress = ""
        self._stream: FrameStream | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def load(self) -> "Networks":
        """Load the networks, if they are not there; all that needs them does so."""
        if self._networks is None:
            from jmpose_cli.annotate.networks import load_networks

            settle()
            with ExitStack() as stack:
                stack.enter_context(process_settings_restored())
                with printing_kept():
                    self._networks, _ = load_networks(self.config, detecting=self._detects)
                stack.callback(self._networks.close)
                self._loaded = stack.pop_all()
        return self._networks

    def close(self) -> None:
        """End what is in progress and let go of the networks, with all their threads and processes."""
        for generator in list(self._generators):
            generator.close()
        self._stream, self._in_progress, self._networks = None, "", None
        self._loaded.close()

    @property
    def keypoints(self) -> KeypointSet:
        """The joints of the model's poses, in the order of the arrays; loads the networks."""
        return self.load().estimator.keypoints

    def frames(
        self, video: str | Path, *, boxes: Boxes | None = None, frames: Range = None, time: Range = None
    ) -> Generator[FramePoses, None, None]:
        """Yield the poses of all frames of a video as they come, frames without people included.

        Decoding, detection and the network run ahead in the background, some frames; they end when the loop is left,
        however it is left. With `pose.smooth` or `people.max_people`, all poses come when the last one
        is known.

        Args:
            video: A video file, or a folder of images.
            boxes: Own boxes in place of the detector's.
            frames: Only these frames, as `--frames`.
            time: Only these seconds, as `--time`.

        Raises:
            JmposeError: Also in the middle, when the video cannot be decoded any further.
        """
        generator = self._frames(Path(video), boxes, self._with_range(frames, time))
        self._generators.add(generator)
        return generator

    def write(
        self,
        video: str | Path,
        folder: str | Path,
        *,
        boxes: str | Path | None = None,
        frames: Range = None,
        time: Range = None,
    ) -> "ClipSummary":
        """Write the files that `jmpose infer` writes for a video: pose files, overlay, `run.json`, by the settings.

        Files of an earlier call are replaced. An exception leaves no unfinished file, and nothing to resume from; for
        that, see `write_all`.

        Args:
            video: A video file, a folder of images, or a URL that fsspec reads.
            folder: Of the files; made where it is missing.
            boxes: A file of own boxes.
            frames: Only these frames, as `--frames`.
            time: Only these seconds, as `--time`.

        Returns:
            What was found: frames, people, tracks, notes, seconds by stage, size and sha256 of each file.
        """
        from jmpose_cli.annotate.clip import process_clip
        from jmpose_cli.annotate.task import Watcher
        from jmpose_cli.runs.fetch import local_copy

        config = self._with_range(frames, time, {"people.boxes": boxes and Path(boxes)})
        with self._alone("write()"):
            networks = self._networks_for(Path(boxes) if boxes else None)
            with _task_for(str(video), Path(folder)) as task, local_copy(task, config.run, Watcher()) as local:
                summary = process_clip(local, config=config, networks=networks, watcher=Watcher())
            self.notes = list(summary.notes)
            return summary

    def write_all(self, inputs: str | Path | Iterable[str | Path], out: str | Path) -> dict[str, Any]:
        """Write the files of many videos into `out/<name>/`: `jmpose infer`, called from Python.

        It resumes: videos that an earlier run has done are left, one that was interrupted is continued. One that fails
        does not stop the others. The networks are loaded by worker processes, one a device (`run.workers`); with 0
        workers by this one, for the time of the call.

        Args:
            inputs: Videos, folders, patterns, lists or URLs.
            out: Folder of the results.

        Returns:
            What `out/summary.json` holds: how many are `done` and `failed`, and `videos` by name.

        Raises:
            KeyboardInterrupt: Ctrl-C, when all workers have ended; the next call resumes.
        """
        from jmpose_cli.runs.coordinator import ResumeOptions
        from jmpose_cli.runs.infer import Placement, infer_videos
        from jmpose_cli.runs.report import RunReport

        names = [inputs] if isinstance(inputs, str | Path) else inputs
        in_process = self.config.run.workers == 0
        with self._alone("write_all()"), process_settings_restored() if in_process else nullcontext():
            code = infer_videos(
                [str(name) for name in names],
                out=Path(out),
                config=self.config,
                resume=ResumeOptions(),
                placement=Placement(),
                report=RunReport(quiet=True),
            )
        if code > 128:
            raise KeyboardInterrupt(f"signal {code - 128}")
        summary: dict[str, Any] = orjson.loads((Path(out) / SUMMARY_FILE).read_bytes())
        return summary

    def push(self, frame_rgb: Bytes, time_s: float, *, boxes: FrameBoxes = None) -> list[FramePoses]:
        """Take the next frame of a stream, from a camera or any other source; return the poses that are settled now.

        A frame is settled when no gap of a track can be filled in it any more (`people.max_gap_s`), and when that holds
        for the frames which its windows reach for. `decode.fps` tells the frame rate to expect (25): with it, the
        shipped models return a frame when the fifteenth after it comes. An exception ends the stream.

        Args:
            frame_rgb: `[H, W, 3]` uint8, RGB, all of one size; it is copied.
            time_s: When it was taken, in seconds; rising.
            boxes: Own boxes in place of the detector's; then every frame must come with them.

        Returns:
            Frames in order, each once; `people.index` counts the frames pushed, from 0.
        """
        from jmpose_cli.annotate.frame_stream import FrameStream

        if self._stream is None:
            self._begin("push()")
            try:
                own = None if boxes is None and self._detects else GivenBoxes()
                self._stream = FrameStream(self.config, self._networks_for(own), own)
            except BaseException:
                self._in_progress = ""
                raise
        try:
            return self._stream.push(frame_rgb, time_s, boxes)
        except BaseException:
            self._stream, self._in_progress = None, ""
            raise

    def finish(self) -> list[FramePoses]:
        """Return the poses of the last frames pushed, and be ready for another video or stream."""
        stream, self._stream = self._stream, None
        if stream is None:
            return []
        self._in_progress = ""
        found, self.notes = stream.finish()
        return found

    def _frames(self, video: Path, boxes: Boxes | None, config: InferConfig) -> Generator[FramePoses, None, None]:
        from jmpose_cli.annotate.second_pass import needs_all
        from jmpose_cli.annotate.stages import pose_frames, queue_frames
        from jmpose_cli.background import in_background
        from jmpose_cli.clips.video import open_clip

        with self._alone("frames()"):
            self.notes = []
            networks = self._networks_for(boxes)
            with open_clip(video, config.decode, children=networks.children) as source:
                found: dict[str, Any] = {}
                posed = pose_frames(source, config, networks, found=found)
                with in_background(posed, ahead=queue_frames(source.info), name="pose") as ahead:
                    poses = (frame.poses for frame in ahead)
                    yield from self._finished(poses, config, found) if needs_all(config) else poses
                self.notes.extend(source.notes)

    def _finished(
        self, poses: Iterator[FramePoses], config: InferConfig, found: dict[str, Any]
    ) -> Iterator[FramePoses]:
        """Yield finished poses, when all have come and `found` holds what is known of the whole video."""
        from jmpose_cli.annotate.second_pass import SecondPass

        joints = len(self.keypoints)
        with (
            tempfile.TemporaryDirectory(prefix="jmpose-") as folder,
            SecondPass(config, Path(folder) / "poses", joints=joints) as second,
        ):
            for frame in poses:
                second.add(frame)
            yield from second.finished(found)

    def _networks_for(self, boxes: "Boxes | GivenBoxes | None") -> "Networks":
        """Return the networks with what says where people are in the next video."""
        from jmpose_cli.annotate.networks import with_boxes_of

        networks = self.load()
        if boxes is None:
            if not self._detects:
                raise JmposeError("there is no detector and no box", hint="give own boxes, or the name of a detector")
            return networks
        if isinstance(boxes, str | Path):
            return with_boxes_of(networks, Path(boxes))
        return replace(networks, boxes=boxes if isinstance(boxes, GivenBoxes) else GivenBoxes(boxes))

    def _with_range(self, frames: Range, time: Range, others: Mapping[str, Any] | None = None) -> InferConfig:
        """Return the settings for one video."""
        return _settings(self.config.model_dump(), {"decode.frames": frames, "decode.time": time, **(others or {})})

    def _begin(self, what: str) -> None:
        if self._in_progress:
            raise RuntimeError(f"{what} while {self._in_progress} is not finished; an annotator does one at a time")
        self._in_progress = what

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        self._begin(what)
        try:
            yield
        finally:
            self._in_progress = ""


@contextmanager
def _task_for(video: str, folder: Path) -> Iterator["ClipTask"]:
    """Yield a video as a task, with room for what is unfinished, which goes in the end."""
    from jmpose_cli.annotate.task import ClipTask
    from jmpose_cli.runs.inputs import find_clips
    from jmpose_cli.video.content import local_stamp

    clips = find_clips([video], out=folder)
    if len(clips) > 1:
        raise JmposeError(f"{video}: holds {len(clips)} videos", hint="write_all() takes many")
    (clip,) = clips
    if clip.problem:
        raise JmposeError(clip.problem)
    with explain_os_errors(clip.path):
        stamp = {} if clip.url else local_stamp(clip.path)
    made = not folder.exists()
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        work = tempfile.TemporaryDirectory(prefix=".jmpose-", dir=folder)
    try:
        with work as unfinished:
            yield ClipTask(clip.name, clip.path, clip.url, folder, Path(unfinished), stamp)
    finally:
        if made:
            with suppress(OSError):  # it is not empty: all went well
                folder.rmdir()


def _settings(tree: dict[str, Any], options: Mapping[str, Any]) -> InferConfig:
    return load_settings(InferConfig, file=None, assignments=(), options=options, tree=tree)
