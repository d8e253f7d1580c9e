"""The stages of one video: decode, find people, track, make windows, estimate poses; each runs ahead of the next.

All of it is a function of the frames in their order. So a run that was killed goes on exactly: what the first stages
found in the frames already done is read back and given to a new tracker, the frames that reach into the windows of the
next one are decoded again, and everything behind is computed as if nothing had happened.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from jmpose_cli.annotate.background import StageClock, in_background
from jmpose_cli.config import InferConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.people.cuts import CutDetector, CutState
from jmpose_cli.people.track import PeopleTracker
from jmpose_cli.pose.doubles import without_doubles
from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker, Windows
from jmpose_cli.values import Bytes, Detections, FrameBatch, FramePoses, Ids, TrackedFrame
from jmpose_cli.video.info import VideoInfo
from jmpose_cli.video.source import ChildPool, FrameSource

if TYPE_CHECKING:
    from jmpose_cli.people.detect import PersonDetector
    from jmpose_cli.pose.estimator import PoseEstimator

QUEUE_FRAMES = 6  # frames that may wait between two stages
_QUEUE_BYTES = 256 * 2**20  # and fewer, where they are larger together


def queue_frames(info: VideoInfo) -> int:
    """Return how many frames of a video may wait between two stages; one at least."""
    return max(1, min(QUEUE_FRAMES, _QUEUE_BYTES // info.frame_bytes))


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
        children: Processes that decode.
    """

    detector: "PersonDetector | None"
    boxes: BoxSource | None
    estimator: "PoseEstimator"
    info: dict[str, Any]
    children: ChildPool = field(default_factory=ChildPool)


@dataclass(frozen=True)
class Front:
    """What the stages before the tracker found in one frame, and what they remember behind it.

    Attributes:
        index: Frame number in the file.
        time_s: Timestamp in seconds.
        cut: A hard cut lies before the frame.
        detections: The people found; None when nobody looked.
        ids: Track ids that came with the boxes.
        cut_state: State of the cut detector behind this frame.
        since_detection: Frames since the last one looked at, this one included.
    """

    index: int
    time_s: float
    cut: bool
    detections: Detections | None
    ids: Ids | None
    cut_state: CutState
    since_detection: int


class Earlier(Protocol):
    """What an earlier run left of this video.

    Attributes:
        frames: Number of frames that are done; the first ones of the video.
        last: What the stages remember behind them; None when there are none.
    """

    frames: int
    last: Front | None

    def fronts(self) -> Iterator[Front]:
        """Yield what was found in each frame done; `cut_state` may be that of a later one."""

    def poses(self) -> Iterator[FramePoses]:
        """Yield the poses of each frame done."""


@dataclass(frozen=True)
class Result:
    """One frame at the end of the stages.

    Attributes:
        pixels: `[H, W, 3]` uint8 RGB; None where the frame was not decoded again.
        poses: Its people.
        front: What led to them; None for a frame that an earlier run did.
    """

    pixels: Bytes | None
    poses: FramePoses
    front: Front | None


class ChangedVideoError(JmposeError):
    """The video gives other frames than in the run that is to be continued."""


def spacing_for(tools: Tools, fps: float) -> Spacing:
    """Give the shape of the model's windows in frames of a video."""
    preprocess = tools.estimator.preprocess
    return Spacing.for_video(
        preprocess.window_offsets,
        fps=fps,
        reference_fps=preprocess.reference_fps,
        max_gap_s=preprocess.max_support_gap_s,
    )


def pose_frames(
    source: FrameSource, config: InferConfig, tools: Tools, clock: StageClock, *, earlier: Earlier, decoded_from: int
) -> Iterator[Result]:
    """Yield every frame in order with its poses, those that an earlier run did first.

    Args:
        source: Gives the frames from the one with the ordinal number `decoded_from` on.
        config: The settings.
        tools: The networks.
        clock: Counts busy seconds.
        earlier: What is done.
        decoded_from: Not later than `earlier.frames` less the windows' reach.

    Raises:
        ChangedVideoError: The source does not give the frames that the earlier run saw.
    """
    done = earlier.poses()
    for poses in islice(done, decoded_from):
        yield Result(None, poses, None)
    fronts: dict[int, Front] = {}
    people = find_people(source, config, tools, clock, earlier=earlier, decoded_from=decoded_from, fronts=fronts)
    made = windows_of(people, spacing_for(tools, source.info.fps), ahead=queue_frames(source.info))
    for windows in islice(made, earlier.frames - decoded_from):
        yield Result(windows.key.pixels, next(done), None)
    for batch in in_batches(made, tools):
        with clock("pose"):
            estimated = tools.estimator.estimate(batch)
            if tools.boxes is None:
                estimated = [
                    without_doubles(
                        poses,
                        tools.estimator.keypoints,
                        same_pose_oks=config.people.same_pose_oks,
                        pixel_width=source.info.pixel_width,
                    )
                    for poses in estimated
                ]
        for windows, poses in zip(batch, estimated, strict=True):
            yield Result(windows.key.pixels, poses, fronts.pop(poses.people.index))


def batched_windows(
    source: FrameSource, config: InferConfig, tools: Tools, clock: StageClock
) -> Iterator[list[Windows]]:
    """Yield the windows of every frame in order, some frames at a time."""
    people = find_people(source, config, tools, clock)
    made = windows_of(people, spacing_for(tools, source.info.fps), ahead=queue_frames(source.info))
    return in_batches(made, tools)


def in_batches(made: Iterator[Windows], tools: Tools) -> Iterator[list[Windows]]:
    """Gather windows of some frames: as many people as the network wants at a time, but not too many frames."""
    wanted = tools.estimator.windows_wanted
    most_frames = max(QUEUE_FRAMES, wanted // 4)
    waiting: list[Windows] = []
    for windows in made:
        waiting.append(windows)
        if sum(len(w.key.people) for w in waiting) >= wanted or len(waiting) >= most_frames:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def windows_of(people: Iterator[SeenFrame], spacing: Spacing, *, ahead: int) -> Iterator[Windows]:
    """Yield the windows of every frame in order; people are found in a thread up to `ahead` frames before them."""
    maker = WindowMaker(spacing)
    with in_background(people, ahead=ahead, name="people") as frames:
        for frame in frames:
            yield from maker.push(frame)
        yield from maker.finish()


def find_people(
    source: FrameSource,
    config: InferConfig,
    tools: Tools,
    clock: StageClock,
    *,
    earlier: Earlier | None = None,
    decoded_from: int = 0,
    fronts: dict[int, Front] | None = None,
) -> Iterator[SeenFrame]:
    """Yield every decoded frame in order with its tracked people; the tracker decides how far it lags behind.

    Args:
        source: Gives the frames from the one with the ordinal number `decoded_from` on.
        config: The settings.
        tools: The networks.
        clock: Counts busy seconds.
        earlier: What is known of the first frames.
        decoded_from: Ordinal number of the first frame decoded.
        fronts: Receives what was found in each new frame, by its index, before it is yielded.
    """
    people = config.people
    tracker = PeopleTracker(
        new_track_score=people.min_box_score,
        lost_after_s=people.lost_after_s,
        max_gap_s=people.max_gap_s,
        detect_every=people.detect_every,
        max_people=people.max_people,
        fps=source.info.fps,
        pixel_width=source.info.pixel_width,
        heights_per_s=people.heights_per_s,
    )
    held: dict[int, Bytes] = {}

    def push(front: Front) -> list[TrackedFrame]:
        with clock("track"):
            return tracker.push(front.index, front.time_s, front.detections, cut=front.cut, track_ids=front.ids)

    def seen(settled: list[TrackedFrame]) -> Iterator[SeenFrame]:
        for tracked in settled:
            if tracked.index in held:  # the others were not decoded
                yield SeenFrame(held.pop(tracked.index), tracked, source.info.pixel_width)

    known = earlier.fronts() if earlier else iter(())
    for front in islice(known, decoded_from):
        push(front)  # what it settles is done
    last = earlier.last if earlier else None
    ahead = _FrontStages(config, tools, clock, last=last, pixel_width=source.info.pixel_width)
    for batch in clock.waiting_for("decode", iter(source)):
        again = list(islice(known, len(batch)))
        if [front.index for front in again] != batch.index[: len(again)].tolist():
            raise ChangedVideoError(f"{source.info.path}: other frames than when the run was stopped")
        new = ahead.find(FrameBatch(batch.frames[len(again) :], batch.index[len(again) :], batch.time_s[len(again) :]))
        if fronts is not None:
            fronts.update((front.index, front) for front in new)
        for row, front in enumerate([*again, *new]):
            held[front.index] = batch.frames[row]
            yield from seen(push(front))
    if next(known, None) is not None:
        raise ChangedVideoError(f"{source.info.path}: fewer frames than when the run was stopped")
    source.notes.extend(tracker.notes())
    yield from seen(tracker.finish())


class _FrontStages:
    """The stages before the tracker: cuts, and the people in each frame looked at.

    Args:
        config: The settings.
        tools: The networks.
        clock: Counts busy seconds.
        last: The frame before the first one given; None at the start of the video.
        pixel_width: Width of a pixel in heights of a pixel.
    """

    def __init__(
        self, config: InferConfig, tools: Tools, clock: StageClock, *, last: Front | None, pixel_width: float
    ) -> None:
        self._pixel_width = pixel_width
        self._every = config.people.detect_every
        self._tools, self._clock = tools, clock
        self._cuts = CutDetector()
        self._since = self._every
        if last is not None:
            self._cuts.state, self._since = last.cut_state, last.since_detection

    def find(self, batch: FrameBatch) -> list[Front]:
        """Look at the next frames."""
        remembered: list[tuple[bool, CutState, int]] = []
        wanted: list[int] = []
        with self._clock("cuts"):
            for row, frame in enumerate(batch.frames):
                cut = self._cuts.update(frame)
                if cut or self._since >= self._every:
                    wanted.append(row)
                    self._since = 0
                self._since += 1
                assert self._cuts.state is not None
                remembered.append((cut, self._cuts.state, self._since))
        with self._clock("detect"):
            boxes = dict(zip(wanted, self._boxes(batch, wanted), strict=True))
        fronts = []
        for row, (index, time_s) in enumerate(zip(batch.index.tolist(), batch.time_s.tolist(), strict=True)):
            cut, state, since = remembered[row]
            fronts.append(Front(index, time_s, cut, *boxes.get(row, (None, None)), state, since))
        return fronts

    def _boxes(self, batch: FrameBatch, rows: list[int]) -> list[tuple[Detections | None, Ids | None]]:
        """Give the boxes of some frames of a batch, detected or from the file."""
        if self._tools.boxes is not None:
            return [self._tools.boxes.at(index) for index in batch.index[rows].tolist()]
        if not rows:
            return []
        assert self._tools.detector is not None
        found = self._tools.detector.detect(batch.frames[rows], pixel_width=self._pixel_width)
        return [(people, None) for people in found]
