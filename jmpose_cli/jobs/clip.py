"""One video from frames to files: decode, find people, track, pose, write; all stages overlap."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jmpose_cli.config import DecodeConfig, InferConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.base import PoseWriter, VideoMeta
from jmpose_cli.formats.writers import open_writer
from jmpose_cli.jobs.inputs import Clip
from jmpose_cli.jobs.pipeline import StageClock, in_background
from jmpose_cli.jobs.report import Reporter
from jmpose_cli.people.cuts import CutDetector
from jmpose_cli.people.track import PeopleTracker
from jmpose_cli.pose.spool import PoseSpool
from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker, Windows
from jmpose_cli.structures import Bytes, Detections, FrameBatch, FramePoses, Ids
from jmpose_cli.video.drawing import DrawStyle, draw_people
from jmpose_cli.video.image_folder import list_images
from jmpose_cli.video.info import VideoInfo
from jmpose_cli.video.source import FrameSource, open_video
from jmpose_cli.video.writer import OverlayWriter

if TYPE_CHECKING:
    from jmpose_cli.people.detect import PersonDetector
    from jmpose_cli.pose.estimator import PoseEstimator

QUEUE_FRAMES = 6  # frames that may wait between two stages


class BoxSource(Protocol):
    """Boxes that are known before, of one video."""

    def at(self, index: int) -> tuple[Detections | None, Ids | None]:
        """Give the boxes of frame `index` and their track ids, if known; no boxes: nobody looked at the frame."""


@dataclass(frozen=True)
class Tools:
    """What is loaded once and used for every video; none of it keeps anything of a video.

    Attributes:
        detector: Finds people; None when boxes come from a file.
        boxes: Known boxes, or None.
        estimator: The pose network.
        info: Versions, device and weights, for the output files.
    """

    detector: "PersonDetector | None"
    boxes: BoxSource | None
    estimator: "PoseEstimator"
    info: dict[str, Any]


@dataclass(frozen=True)
class ClipSummary:
    """What was found in one video.

    Attributes:
        name: The video's name.
        folder: Where its results are.
        frames: Frames processed.
        people: Poses written, over all frames.
        tracks: Different people.
        wall_s: Seconds from opening to the last file.
        stage_s: Busy seconds per stage; stages overlap, so they add up to more than `wall_s`.
        video: Size, rate and decoder of the video.
        notes: Sentences for the user.
    """

    name: str
    folder: Path
    frames: int
    people: int
    tracks: int
    wall_s: float
    stage_s: dict[str, float]
    video: dict[str, Any]
    notes: tuple[str, ...]


@dataclass
class _Count:
    frames: int = 0
    people: int = 0
    tracks: set[int] = field(default_factory=set)

    def add(self, poses: FramePoses) -> None:
        self.frames += 1
        self.people += len(poses)
        self.tracks.update(poses.people.track_ids.tolist())


Result = tuple[Bytes | None, FramePoses]  # a frame's pixels, None when nobody needs them, and its poses


def process_clip(clip: Clip, folder: Path, *, config: InferConfig, tools: Tools, reporter: Reporter) -> ClipSummary:
    """Process one video and write its files into `folder`, which exists.

    Raises:
        JmposeError: The video cannot be decoded, has no frames in range, or a file cannot be written;
            nothing unfinished is left behind.
    """
    started, clock, count = time.perf_counter(), StageClock(), _Count()
    with ExitStack() as stack:
        source = stack.enter_context(open_clip(clip.path, config.decode))
        results: Iterator[Result] = pose_frames(source, config, tools, clock)
        if config.pose.smooth:
            results = _smoothed(results, clip, folder, config, tools, reporter, clock)
        ready = stack.enter_context(in_background(results, ahead=QUEUE_FRAMES, name="pose"))
        writers = [stack.enter_context(w) for w in _writers(clip, source, folder, config, tools)]
        overlay = stack.enter_context(_overlay(clip, source, folder, config))
        output = config.output
        style = DrawStyle(background="black" if output.black_background else "frame", blur_faces=output.blur_faces)
        progress = stack.enter_context(reporter.progress(clip.name, frames_to_come(source, config.decode)))
        for pixels, poses in ready:
            with clock("write"):
                for writer in writers:
                    writer.write(poses)
            if output.overlay and pixels is not None:
                with clock("draw"):
                    drawn = draw_people(pixels, poses, tools.estimator.keypoints, style)
                with clock("encode"):
                    overlay.write(drawn, poses.people.time_s)
            count.add(poses)
            progress.advance(len(poses))
        if not count.frames:
            raise JmposeError(f"{clip.path}: no frame lies in the range asked for")
    return ClipSummary(
        name=clip.name,
        folder=folder,
        frames=count.frames,
        people=count.people,
        tracks=len(count.tracks),
        wall_s=time.perf_counter() - started,
        stage_s=clock.seconds,
        video=_described(source.info),
        notes=(*source.notes, *overlay.notes, *(note for writer in writers for note in writer.notes)),
    )


def _described(info: VideoInfo) -> dict[str, Any]:
    """Give the facts about a video that belong into its record."""
    names = ("width", "height", "fps", "frames_claimed", "rotation", "has_audio", "decoder")
    return {name: getattr(info, name) for name in names}


def open_clip(path: Path, decode: DecodeConfig) -> FrameSource:
    """Open a video as the settings say."""
    return open_video(
        path,
        decoder=decode.decoder,
        frames=decode.frames,
        time_s=decode.time,
        image_fps=decode.image_fps,
        stall_timeout_s=decode.stall_timeout_s,
    )


def frames_to_come(source: FrameSource, decode: DecodeConfig) -> int | None:
    """Estimate how many frames will be read; None where the container does not say."""
    claimed = source.info.frames_claimed
    if decode.time is not None:
        begin, end = decode.time
        if end is None:
            return None
        claimed = min(claimed or 1 << 60, round((end - (begin or 0)) * source.info.fps))
    if decode.frames is not None:
        begin_frame, end_frame = decode.frames
        stop = min(x for x in (claimed, end_frame, 1 << 60) if x is not None)
        claimed = max(stop - (begin_frame or 0), 0) if stop < 1 << 60 else None
    return claimed


def _writers(clip: Clip, source: FrameSource, folder: Path, config: InferConfig, tools: Tools) -> Iterator[PoseWriter]:
    info = source.info
    names = tuple(image.name for image in list_images(clip.path)) if clip.path.is_dir() else ()
    meta = VideoMeta(clip.name, info.width, info.height, info.fps, clip.path.name, names)
    for name in config.output.formats:
        yield open_writer(name, folder, meta, tools.estimator.keypoints, info=tools.info, smoothed=config.pose.smooth)


def _overlay(clip: Clip, source: FrameSource, folder: Path, config: InferConfig) -> OverlayWriter:
    return OverlayWriter(
        folder / "overlay.mp4" if config.output.overlay else None,
        info=source.info,
        audio_from=clip.path if source.info.has_audio else None,
    )


def pose_frames(source: FrameSource, config: InferConfig, tools: Tools, clock: StageClock) -> Iterator[Result]:
    """Yield every frame in order with its poses."""
    for windows in batched_windows(source, config, tools, clock):
        with clock("pose"):
            poses = tools.estimator.estimate(windows)
        for window, frame_poses in zip(windows, poses, strict=True):
            yield window.key.pixels, frame_poses


def batched_windows(
    source: FrameSource, config: InferConfig, tools: Tools, clock: StageClock
) -> Iterator[list[Windows]]:
    """Yield the windows of every frame in order, some frames at a time.

    People are found in a thread ahead of the consumer.
    """
    preprocess = tools.estimator.preprocess
    windows = WindowMaker(
        Spacing.for_video(
            preprocess.window_offsets,
            fps=source.info.fps,
            reference_fps=preprocess.reference_fps,
            max_gap_s=preprocess.max_support_gap_s,
        )
    )
    found = find_people(source, config, tools, clock)
    with in_background(found, ahead=QUEUE_FRAMES, name="people") as frames:
        waiting: list[Windows] = []
        for made in _all_windows(windows, frames):
            waiting.append(made)
            people = sum(len(w.key.people) for w in waiting)
            if people >= config.pose.batch or len(waiting) >= QUEUE_FRAMES:
                yield waiting
                waiting = []
        if waiting:
            yield waiting


def _all_windows(maker: WindowMaker, frames: Iterator[SeenFrame]) -> Iterator[Windows]:
    for frame in frames:
        yield from maker.push(frame)
    yield from maker.finish()


def find_people(source: FrameSource, config: InferConfig, tools: Tools, clock: StageClock) -> Iterator[SeenFrame]:
    """Yield every frame in order with its tracked people; the tracker decides how far it lags behind."""
    people = config.people
    tracker = PeopleTracker(
        new_track_score=people.min_box_score,
        lost_after_s=people.lost_after_s,
        max_gap_s=people.max_gap_s,
        detect_every=people.detect_every,
        max_people=people.max_people,
        fps=source.info.fps,
    )
    cuts = CutDetector()
    held: dict[int, Bytes] = {}
    since_detection = people.detect_every
    for batch in clock.waiting_for("decode", iter(source)):
        with clock("cuts"):
            cut = [cuts.update(frame) for frame in batch.frames]
        wanted = []
        for row in range(len(batch)):
            since_detection = people.detect_every if cut[row] else since_detection
            if since_detection >= people.detect_every:
                wanted.append(row)
                since_detection = 0
            since_detection += 1
        with clock("detect"):
            seen = dict(zip(wanted, _boxes(batch, wanted, tools), strict=True))
        for row, (index, time_s) in enumerate(zip(batch.index.tolist(), batch.time_s.tolist(), strict=True)):
            held[index] = batch.frames[row]
            detections, ids = seen.get(row, (None, None))
            with clock("track"):
                settled = tracker.push(index, time_s, detections, cut=cut[row], track_ids=ids)
            for tracked in settled:
                yield SeenFrame(held.pop(tracked.index), tracked)
    for tracked in tracker.finish():
        yield SeenFrame(held.pop(tracked.index), tracked)


def _boxes(batch: FrameBatch, rows: list[int], tools: Tools) -> list[tuple[Detections | None, Ids | None]]:
    """Give the boxes of some frames of a batch, detected or from the file."""
    if tools.boxes is not None:
        return [tools.boxes.at(index) for index in batch.index[rows].tolist()]
    assert tools.detector is not None
    return [(found, None) for found in tools.detector.detect(batch.frames[rows])] if rows else []


def _smoothed(
    results: Iterator[Result],
    clip: Clip,
    folder: Path,
    config: InferConfig,
    tools: Tools,
    reporter: Reporter,
    clock: StageClock,
) -> Iterator[Result]:
    """Keep all poses on disk, smooth them, and yield them with the pixels of a second pass over the video."""
    with PoseSpool(folder / "poses.partial", joints=len(tools.estimator.keypoints)) as spool:
        with reporter.progress(f"{clip.name}: poses", None) as progress:
            for _, poses in results:
                spool.write(poses)
                progress.advance(len(poses))
        smooth = spool.smoothed(cutoff_hz=config.pose.smooth_cutoff_hz)
        if not config.output.overlay:
            for poses in smooth:
                yield None, poses
            return
        with open_clip(clip.path, config.decode) as again:
            for batch in clock.waiting_for("decode again", iter(again)):
                # The frames come first: when they run out, no pose has been taken for nothing.
                yield from zip(batch.frames, smooth, strict=False)
        for poses in smooth:  # a file that gave fewer frames the second time
            yield None, poses
