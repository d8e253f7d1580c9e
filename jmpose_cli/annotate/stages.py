"""The stages of one video: look at the frames, track people, make windows, estimate poses.

Each is an object of one video that takes one item after the other and gives what is settled by then. All of it is a
function of the frames in their order. `pose_frames` runs a video through them, each a thread ahead of the next;
`LiveStages` takes frames as they come. `resume` wraps them for a video of which some is done.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from jmpose_cli.annotate.networks import Networks
from jmpose_cli.background import StageClock, in_background
from jmpose_cli.config import InferConfig
from jmpose_cli.people.camera import CameraMotion
from jmpose_cli.people.cuts import CutDetector
from jmpose_cli.people.looks import looks_of
from jmpose_cli.people.stitch import Identities
from jmpose_cli.people.track import PeopleTracker
from jmpose_cli.pose.estimator import Views
from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker, Windows
from jmpose_cli.values import (
    Bytes,
    CutState,
    Detections,
    Float,
    FrameBatch,
    FramePoses,
    Halves,
    Ids,
    Observation,
    TrackedFrame,
)
from jmpose_cli.video.info import VideoInfo
from jmpose_cli.video.source import FrameSource

QUEUE_FRAMES = 6  # frames that may wait between two stages
_QUEUE_BYTES = 256 * 2**20  # and fewer, where they are larger together


@dataclass(frozen=True)
class ObservedFrame:
    """A frame on its way to the tracker.

    Attributes:
        pixels: `[H, W, 3]` uint8 RGB; None where the tracker only has to know what was found.
        observation: What was found in it.
    """

    pixels: Bytes | None
    observation: Observation


@dataclass(frozen=True)
class PosedFrame:
    """One frame at the end of the stages.

    Attributes:
        pixels: `[H, W, 3]` uint8 RGB; None where the frame was not decoded again.
        poses: Its people.
        observation: What led to them; None for a frame that an earlier run did.
    """

    pixels: Bytes | None
    poses: FramePoses
    observation: Observation | None


def pose_frames(
    source: FrameSource,
    config: InferConfig,
    networks: Networks,
    clock: StageClock | None = None,
    *,
    found: dict[str, Any] | None = None,
) -> Iterator[PosedFrame]:
    """Yield every frame of a video in order with its poses.

    Args:
        source: Gives the frames; receives the tracker's notes at their end.
        config: The settings.
        networks: The networks.
        clock: Counts busy seconds.
        found: Receives at the end what is known of the whole video, as JSON.
    """
    clock = clock or StageClock()
    people = find_people(source, config, networks, clock, found)
    with closing(windows_of(people, networks, source.info)) as windows:
        yield from estimated(windows, config, networks, clock)


def batched_windows(
    source: FrameSource, config: InferConfig, networks: Networks, clock: StageClock
) -> Iterator[list[Windows]]:
    """Yield the windows of every frame in order, some frames at a time."""
    people = find_people(source, config, networks, clock)
    with closing(windows_of(people, networks, source.info)) as windows:
        yield from in_batches(windows, networks)


def find_people(
    source: FrameSource,
    config: InferConfig,
    networks: Networks,
    clock: StageClock,
    found: dict[str, Any] | None = None,
) -> Iterator[SeenFrame]:
    """Yield every frame of a video in order with its tracked people."""
    observer = Observer(config, networks, clock, pixel_width=source.info.pixel_width)
    batches = clock.waiting_for("decode", iter(source))
    frames = (frame for batch in batches for frame in observer.push(batch))
    yield from tracked(frames, source, config, networks, clock, found)


def tracked(
    frames: Iterable[ObservedFrame],
    source: FrameSource,
    config: InferConfig,
    networks: Networks,
    clock: StageClock,
    found: dict[str, Any] | None,
) -> Iterator[SeenFrame]:
    """Yield the frames that have pixels with their tracked people.

    At the end notes go to the source, and who the tracks are to `found`, as JSON.
    """
    info = source.info
    tracker = TrackStage(config, networks, clock, fps=info.fps, pixel_width=info.pixel_width, width_px=info.width)
    for frame in frames:
        yield from tracker.push(frame)
    source.notes.extend(tracker.notes())
    yield from tracker.finish()
    if found is not None and tracker.stitches:
        found["identities"] = tracker.identities(source.info).as_json()


def windows_of(people: Iterator[SeenFrame], networks: Networks, info: VideoInfo) -> Generator[Windows, None, None]:
    """Yield the windows of every frame in order; people are found in a thread some frames before them."""
    maker = WindowMaker(spacing_for(networks, info.fps))
    with in_background(people, ahead=queue_frames(info), name="people") as frames:
        for frame in frames:
            yield from maker.push(frame)
        yield from maker.finish()


def in_batches(windows: Iterable[Windows], networks: Networks) -> Iterator[list[Windows]]:
    """Gather windows of some frames: as many people as the network wants at a time, but not too many frames."""
    wanted = networks.estimator.windows_wanted
    most_frames = max(QUEUE_FRAMES, wanted // 4)
    waiting: list[Windows] = []
    for one in windows:
        waiting.append(one)
        if sum(len(w.key.people) for w in waiting) >= wanted or len(waiting) >= most_frames:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def estimated(
    windows: Iterable[Windows], config: InferConfig, networks: Networks, clock: StageClock
) -> Iterator[PosedFrame]:
    """Yield the key frame of each window with its poses.

    Where calls run side by side, the backbone looks at the next windows while the temporal part has these: the last
    call of either leaves no thread idle.
    """
    batches = in_batches(windows, networks)
    if not networks.estimator.looks_ahead:
        for batch in batches:
            yield from _posed(batch, None, config, networks, clock)
        return
    with in_background(_looked(batches, networks, clock), ahead=1, name="look") as looked:
        for batch, views in looked:
            yield from _posed(batch, views, config, networks, clock)


def _looked(
    batches: Iterator[list[Windows]], networks: Networks, clock: StageClock
) -> Iterator[tuple[list[Windows], Views]]:
    """Yield each batch with what the backbone sees in it."""
    for batch in batches:
        with clock("look"):
            views = networks.estimator.look(batch)
        yield batch, views


def _posed(
    batch: list[Windows], views: Views | None, config: InferConfig, networks: Networks, clock: StageClock
) -> list[PosedFrame]:
    """Estimate the poses of some key frames."""
    with clock("pose"):
        poses = networks.poses(batch, config.people, views)
    return [PosedFrame(w.key.pixels, p, w.key.observation) for w, p in zip(batch, poses, strict=True)]


def queue_frames(info: VideoInfo) -> int:
    """Return how many frames of a video may wait between two stages; one at least."""
    return max(1, min(QUEUE_FRAMES, _QUEUE_BYTES // info.frame_bytes))


def spacing_for(networks: Networks, fps: float) -> Spacing:
    """Return the shape of the model's windows in frames of a video."""
    preprocess = networks.estimator.preprocess
    return Spacing.for_video(
        preprocess.window_offsets,
        fps=fps,
        reference_fps=preprocess.reference_fps,
        max_gap_s=preprocess.max_support_gap_s,
    )


class LiveStages:
    """All stages of one video, for frames that come from anywhere: everything happens in the caller's thread.

    Args:
        config: The settings.
        networks: The networks.
        fps: Frames that will come in a second, about.
        pixel_width: Width of a pixel in heights of a pixel.
        clock: Counts busy seconds.
    """

    def __init__(
        self,
        config: InferConfig,
        networks: Networks,
        *,
        fps: float,
        pixel_width: float = 1.0,
        clock: StageClock | None = None,
    ) -> None:
        self._config, self._networks, self._clock = config, networks, clock or StageClock()
        self._observer = Observer(config, networks, self._clock, pixel_width=pixel_width)
        most = config.people.max_people
        self._tracker = TrackStage(config, networks, self._clock, fps=fps, pixel_width=pixel_width, max_people=most)
        self._maker = WindowMaker(spacing_for(networks, fps))

    def push(self, batch: FrameBatch) -> list[PosedFrame]:
        """Take the next frames; return those whose poses are settled now, in order, each once.

        A frame is settled when the frames that its windows reach for are there, and no gap of a track that could still
        be filled lies in it.
        """
        seen = [seen for frame in self._observer.push(batch) for seen in self._tracker.push(frame)]
        return self._estimate([windows for frame in seen for windows in self._maker.push(frame)])

    def finish(self) -> list[PosedFrame]:
        """Return the last frames."""
        windows = [windows for frame in self._tracker.finish() for windows in self._maker.push(frame)]
        return self._estimate([*windows, *self._maker.finish()])

    def notes(self) -> list[str]:
        """Return what the user should know about the tracks so far."""
        return list(self._tracker.notes())

    def _estimate(self, windows: list[Windows]) -> list[PosedFrame]:
        batches = in_batches(windows, self._networks)
        return [p for b in batches for p in _posed(b, None, self._config, self._networks, self._clock)]


class Observer:
    """The stages before the tracker: cuts, and the people in each frame looked at.

    Args:
        config: The settings.
        networks: The networks.
        clock: Counts busy seconds.
        after: What was found in the frame before the first one given; None at the start of the video.
        pixel_width: Width of a pixel in heights of a pixel.
    """

    def __init__(
        self,
        config: InferConfig,
        networks: Networks,
        clock: StageClock,
        *,
        pixel_width: float,
        after: Observation | None = None,
    ) -> None:
        self._pixel_width = pixel_width
        self._every = config.people.detect_every
        self._networks, self._clock = networks, clock
        self._cuts, self._camera = CutDetector(), CameraMotion()
        self._since = self._every
        if after is not None:
            self._cuts.state, self._since = after.cut_state, after.since_detection
            self._camera.state = after.camera_state

    def push(self, batch: FrameBatch) -> list[ObservedFrame]:
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
        frames = []
        for row, (index, time_s) in enumerate(zip(batch.index.tolist(), batch.time_s.tolist(), strict=True)):
            cut, state, since = remembered[row]
            found, ids = boxes.get(row, (None, None))
            looks = self._looks(batch.frames[row], found)
            camera = self._moved(batch.frames[row], found, ids, cut=cut)
            observation = Observation(
                *(index, time_s, cut, found, ids, state, since, looks), camera=camera, camera_state=self._camera.state
            )
            frames.append(ObservedFrame(batch.frames[row], observation))
        return frames

    def _looks(self, frame_rgb: Bytes, found: Detections | None) -> Halves | None:
        """Return what the people of a frame look like; None where nothing tells it."""
        embedder = self._networks.embedder
        if embedder is None or not found:
            return None
        with self._clock("appearance"):
            return looks_of(frame_rgb, found, embedder)

    def _moved(self, frame_rgb: Bytes, found: Detections | None, ids: Ids | None, *, cut: bool) -> Float | None:
        """Return how the camera moved since the last look; None where it stood still or nobody asks."""
        if cut:
            self._camera.forget()
        if found is None or ids is not None:
            return None
        with self._clock("camera"):
            return self._camera.update(frame_rgb, found.boxes_xyxy_px)

    def _boxes(self, batch: FrameBatch, rows: list[int]) -> list[tuple[Detections | None, Ids | None]]:
        """Return the boxes of some frames of a batch, detected or from the file."""
        if self._networks.boxes is not None:
            return [self._networks.boxes.at(index) for index in batch.index[rows].tolist()]
        if not rows:
            return []
        assert self._networks.detector is not None
        found = self._networks.detector.detect(batch.frames[rows], pixel_width=self._pixel_width)
        return [(people, None) for people in found]


class TrackStage:
    """The tracker, and the pixels of the frames that it holds; it decides how far it lags.

    Args:
        config: The settings.
        networks: Tell what scores and looks mean.
        clock: Counts busy seconds.
        fps: Average frame rate.
        pixel_width: Width of a pixel in heights of a pixel.
        max_people: Choose so many in each frame, by what came before it; of whole videos they are chosen later.
        width_px: Of the frames; None: not known.
    """

    def __init__(
        self,
        config: InferConfig,
        networks: Networks,
        clock: StageClock,
        *,
        fps: float,
        pixel_width: float,
        max_people: int | None = None,
        width_px: int | None = None,
    ) -> None:
        people = config.people
        self._tracker = PeopleTracker(
            new_track_score=networks.start_score(people),
            lost_after_s=people.lost_after_s,
            max_gap_s=people.max_gap_s,
            detect_every=people.detect_every,
            max_people=max_people,
            fps=fps,
            pixel_width=pixel_width,
            width_px=width_px,
            heights_per_s=people.heights_per_s,
            keep_all=networks.boxes is not None,
            appearance=None if networks.embedder is None else networks.embedder.scale,
        )
        self._clock, self._pixel_width = clock, pixel_width
        self._stitch, self._has_ids = people.stitch, False
        self._held: dict[int, tuple[Bytes, Observation]] = {}
        self.notes = self._tracker.notes

    @property
    def stitches(self) -> bool:
        """Whether it is asked which tracks are one person."""
        return self._stitch if self._stitch is not None else not self._has_ids

    def identities(self, info: VideoInfo) -> Identities:
        """Say at the end which tracks are one person."""
        with self._clock("stitch"):
            return self._tracker.identities((info.width, info.height))

    def push(self, frame: ObservedFrame) -> Iterator[SeenFrame]:
        """Take the next frame; yield those settled now that have pixels."""
        seen = frame.observation
        self._has_ids |= seen.ids is not None
        if frame.pixels is not None:
            self._held[seen.index] = frame.pixels, seen
        with self._clock("track"):
            looks = None if seen.looks is None else seen.looks.astype(np.float32)
            settled = self._tracker.push(
                seen.index,
                seen.time_s,
                seen.detections,
                cut=seen.cut,
                track_ids=seen.ids,
                looks=looks,
                camera=seen.camera,
            )
        return self._seen(settled)

    def finish(self) -> Iterator[SeenFrame]:
        """Yield the last frames."""
        return self._seen(self._tracker.finish())

    def _seen(self, settled: list[TrackedFrame]) -> Iterator[SeenFrame]:
        for people in settled:
            if people.index in self._held:
                pixels, observation = self._held.pop(people.index)
                yield SeenFrame(pixels, people, self._pixel_width, observation)
