"""One video from frames to files."""

import os
import platform
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from jmpose.files import WholeFile
from jmpose.regular_file import open_own
from jmpose_cli import __version__
from jmpose_cli.annotate.networks import Networks, engines_text
from jmpose_cli.annotate.resume import ChangedVideoError, first_needed, kept_frames, resumed_frames
from jmpose_cli.annotate.second_pass import SecondPass, identities_in, needs_all
from jmpose_cli.annotate.stages import PosedFrame, queue_frames
from jmpose_cli.annotate.store import ClipStore
from jmpose_cli.annotate.task import ClipSummary, ClipTask, StoppedError, Watcher
from jmpose_cli.background import StageClock, in_background
from jmpose_cli.clips.check import hints, summary, suspects
from jmpose_cli.clips.derived import FrameDrawing, derived_writers
from jmpose_cli.clips.layout import (
    CHECK_FILE,
    CORRECTIONS_FILE,
    MODEL_FILE,
    OVERLAY_FILE,
    OVERLAY_RECORDS,
    POSES_RECORDS,
    RUN_FILE,
    SMOOTH_SCRATCH,
    TRUTH_FILE,
    replacing_mark,
    result_files,
    stale_files,
)
from jmpose_cli.clips.run_record import file_facts, keypoints_record
from jmpose_cli.clips.video import frames_to_come, open_clip
from jmpose_cli.config import InferConfig, OutputConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import explain_os_errors, write_whole
from jmpose_cli.formats.base import PoseWriter, VideoMeta
from jmpose_cli.formats.coco import CocoWriter
from jmpose_cli.formats.truth import as_written, read_truth, write_truth
from jmpose_cli.people.stitch import Join
from jmpose_cli.pose.smooth import is_too_slow
from jmpose_cli.text import printable, to_json
from jmpose_cli.values import Bytes, FramePoses
from jmpose_cli.video.content import INPUT_FACTS, input_hash
from jmpose_cli.video.image_folder import list_images
from jmpose_cli.video.info import VideoInfo
from jmpose_cli.video.source import FrameSource
from jmpose_cli.video.writer import OverlayWriter, encoded_frames

_MOST_CHECKED_BYTES = 64 * 2**20  # of a truth that is read at once, which takes several times that much memory
RECORDED_PACKAGES = ("torch", "torchvision", "timm", "ultralytics", "decord", "av", "numpy")


@dataclass
class _Count:
    frames: int = 0
    people: int = 0
    tracks: set[int] = field(default_factory=set)

    def add(self, poses: FramePoses) -> None:
        self.frames += 1
        self.people += len(poses)
        self.tracks.update(poses.people.track_ids.tolist())


def process_clip(task: ClipTask, *, config: InferConfig, networks: Networks, watcher: Watcher) -> ClipSummary:
    """Process one video, from where an earlier run left it, and write its files.

    The files are the same to the byte however often the run was stopped or killed, and whatever the size of chunks and
    batches. `run.json` is the last one.

    Raises:
        JmposeError: The video cannot be decoded, has no frames in range, or a file cannot be written;
            no unfinished result is left in the video's folder.
        StoppedError: As asked by the watcher.
    """
    with explain_os_errors(task.folder):
        task.folder.mkdir(parents=True, exist_ok=True)
        task.work.mkdir(parents=True, exist_ok=True)
    identity = _identity(task, config, networks)
    with ClipStore(task.work / POSES_RECORDS, identity) as store:
        if store.dropped and (change := _other_networks(store.dropped, identity)):
            watcher.note(f"{task.path}: {change}; it is begun anew")
        try:
            return _Clip(task, config, networks, watcher, store).process()
        except ChangedVideoError as error:
            # Decoders are exact, so this is a file that was replaced without a trace, or bad storage.
            watcher.note(f"{error.message}; it is begun anew")
            store.restart(identity)
            return _Clip(task, config, networks, watcher, store).process()


def _identity(task: ClipTask, config: InferConfig, networks: Networks) -> dict[str, Any]:
    """Give all that decides the results; compared as JSON."""
    parts = {
        "version": __version__,
        "stamp": task.stamp,
        "settings": config.of_results(),
        "weights": networks.info["weights"],
        "device": networks.info["device"],
        "engine": networks.info["engine"],
    }
    copied: dict[str, Any] = orjson.loads(orjson.dumps(parts))
    return copied


def _other_networks(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Say what else runs the networks with the same settings, by the choice of `auto`; empty when nothing does."""
    if before.get("settings") == now["settings"]:
        for what, said in (("device", str), ("engine", engines_text)):
            if what in before and before[what] != now[what]:
                return f"its first frames were made with {what} {said(before[what])}, it is {said(now[what])} now"
    return ""


class _Clip:
    """The processing of one video; one object an attempt."""

    def __init__(
        self, task: ClipTask, config: InferConfig, networks: Networks, watcher: Watcher, store: ClipStore
    ) -> None:
        self._task, self._config, self._networks = task, config, networks
        self._watcher, self._store = watcher, store
        self._clock = StageClock()
        self._packets = task.work / OVERLAY_RECORDS
        if not store.frames:
            self._packets.unlink(missing_ok=True)
        self._encoded = encoded_frames(self._packets) if config.output.overlay else 0
        self._resumed = store.frames
        self._found: dict[str, Any] = {}  # of the whole video, once all of it was seen

    def process(self) -> ClipSummary:
        started, count = time.perf_counter(), _Count()
        hashing = ThreadPoolExecutor(1, thread_name_prefix="hash")
        digest = hashing.submit(_digest, self._task)
        hashing.shutdown(wait=False)
        store, config = self._store, self._config
        needed_from = self._needed_from()
        with ExitStack() as stack:
            source = stack.enter_context(self._open(needed_from))
            self._watcher.opened(frames_to_come(source, config.decode), store.frames)
            results = resumed_frames(
                source, config, self._networks, self._clock, store=store, decoded_from=needed_from, found=self._found
            )
            ahead = queue_frames(source.info)
            results = stack.enter_context(in_background(results, ahead=ahead, name="pose"))
            frames = self._kept(results, source)
            if needs_all(config):
                frames = self._finished(frames)
            writers = [stack.enter_context(writer) for writer in self._writers(source)]
            overlay = stack.enter_context(self._overlay(source))
            self._write(frames, writers, overlay, count, source.info.pixel_width)
            if not count.frames:
                raise JmposeError(f"{self._task.path}: no frame lies in the range asked for")
            with explain_os_errors(self._task.work):
                open_own(replacing_mark(self._task.work), "ab").close()
            assert store.ending is not None
        folder = self._task.folder
        identities = identities_in(store.ending)
        if identities is not None and not identities.changes_nothing:
            truth = read_truth(folder / TRUTH_FILE)
            write_truth(replace(truth, identity=identities.of(truth.track_ids, truth.index[truth.frame])), truth.path)
        facts = {name: file_facts(folder / name) for name in result_files(config.output) if name != RUN_FILE}
        notes = (
            *store.ending["notes"],
            *self._smoothing_notes(source),
            *overlay.notes,
            *(note for writer in writers for note in writer.notes),
        )
        result = ClipSummary(
            frames=count.frames,
            resumed=self._resumed,
            people=count.people,
            tracks=len(count.tracks),
            wall_s=time.perf_counter() - started,
            stage_s=self._clock.seconds,
            notes=notes,
            input_sha256=digest.result(),
            files=facts,
        )
        _remove_stale(folder, config.output)
        _write_run(result, self._task, config, self._networks, store.ending)
        files = facts | {RUN_FILE: file_facts(folder / RUN_FILE)}
        return replace(
            result,
            notes=(*notes, *_suspicions(folder / TRUTH_FILE, identities.joins if identities else ())),
            files=files,
        )

    def _smoothing_notes(self, source: FrameSource) -> Iterator[str]:
        """Yield a sentence where smoothing was asked for and cannot be."""
        pose, fps = self._config.pose, source.info.fps
        if pose.smooth and is_too_slow(fps, pose.smooth_cutoff_hz):
            yield (
                f"nothing is smoothed: {fps:.3g} frames a second are too few for pose.smooth_cutoff_hz="
                f"{pose.smooth_cutoff_hz:g}, which must be below {fps / 2:.3g}"
            )

    def _needed_from(self) -> int:
        """Return the ordinal number of the first frame whose pixels are needed."""
        shown = self._config.output.overlay and not needs_all(self._config)
        return first_needed(self._store, self._networks, drawn=self._encoded if shown else None)

    def _open(self, needed_from: int) -> FrameSource:
        begin = self._store.index_at(needed_from)
        return open_clip(self._task.path, self._config.decode, deliver_from=begin, children=self._networks.children)

    def _kept(self, results: Iterator[PosedFrame], source: FrameSource) -> Iterator[tuple[Bytes | None, FramePoses]]:
        """Pass frames on and keep the new ones and what is known at the end."""
        store, fps = self._store, source.info.fps
        for frame in kept_frames(results, store, self._config.run, self._watcher, self._clock, fps=fps):
            yield frame.pixels, frame.poses
        if store.ending is None:
            store.finish({"notes": list(source.notes), "video": _described(source.info), **self._found})

    def _finished(self, frames: Iterator[tuple[Bytes | None, FramePoses]]) -> Iterator[tuple[Bytes | None, FramePoses]]:
        """Yield finished poses with the pixels of a second pass over the video, from the first not yet encoded."""
        store, joints = self._store, len(self._networks.estimator.keypoints)
        with SecondPass(self._config, self._task.work / SMOOTH_SCRATCH, joints=joints) as second:
            for _, poses in frames:
                second.add(poses)
            assert store.ending is not None
            finished = second.finished(store.ending)
            if self._config.output.overlay and self._encoded < store.frames:
                for _, poses in zip(range(self._encoded), finished, strict=False):
                    yield None, poses
                with self._open(self._encoded) as again:
                    for batch in self._clock.waiting_for("decode again", iter(again)):
                        # The frames come first: when they run out, no pose has been taken for nothing.
                        yield from zip(batch.frames, finished, strict=False)
            for poses in finished:
                yield None, poses

    def _write(
        self,
        frames: Iterator[tuple[Bytes | None, FramePoses]],
        writers: list[PoseWriter],
        overlay: OverlayWriter,
        count: _Count,
        pixel_width: float,
    ) -> None:
        """Write every frame; the overlay gets those that it has not."""
        output, keypoints = self._config.output, self._networks.estimator.keypoints
        draw = FrameDrawing(keypoints, output, pixel_width=pixel_width)
        for pixels, poses in frames:
            written = as_written(poses)
            with self._clock("write"):
                for writer in writers:
                    writer.write(written)
            if output.overlay and pixels is not None and count.frames >= self._encoded:
                with self._clock("draw"):
                    drawn = draw(pixels, written)
                with self._clock("encode"):
                    overlay.write(drawn, written.people.time_s)
            count.add(poses)
            self._watcher.stepped()
            if self._watcher.stop.is_set() and self._store.ending is not None:
                raise StoppedError(self._store.frames)

    def _writers(self, source: FrameSource) -> Iterator[PoseWriter]:
        info, path = source.info, self._task.path
        names = tuple(printable(image.name) for image in list_images(path)) if path.is_dir() else ()
        name = Path(self._task.name).name
        meta = VideoMeta(
            name, info.width, info.height, info.fps, printable(path.name), names, pixel_aspect=info.pixel_aspect
        )
        config, keypoints = self._config, self._networks.estimator.keypoints
        folder, smoothed = self._task.folder, config.pose.smooth
        yield CocoWriter(folder / TRUTH_FILE, meta, keypoints, info=self._networks.info)
        yield from derived_writers(folder, meta, keypoints, config.output, info=self._networks.info, smoothed=smoothed)

    def _overlay(self, source: FrameSource) -> OverlayWriter:
        return OverlayWriter(
            self._task.folder / OVERLAY_FILE if self._config.output.overlay else None,
            info=source.info,
            audio_from=self._task.path if source.info.has_audio else None,
            packets=self._packets,
        )


def _digest(task: ClipTask) -> str:
    """Hash the input; empty for a copy, and for one that is gone by now."""
    if task.url:
        return ""
    try:
        return input_hash(task.path)
    except OSError:
        return ""


def _described(info: VideoInfo) -> dict[str, Any]:
    """Give the facts about a video that belong into its record."""
    names = ("width", "height", "pixel_aspect", "fps", "frames_claimed", "rotation", "mirrored", "has_audio")
    return {name: getattr(info, name) for name in (*names, "decoder", "stream")}


def _suspicions(path: Path, joins: Sequence[Join]) -> list[str]:
    """Say in a line or two what is suspicious in a clip; of a very long one, how to find out."""
    if path.stat().st_size > _MOST_CHECKED_BYTES:
        return ["long: `jmpose check` shows what is suspicious in it"]
    truth = read_truth(path)
    found = suspects(truth, joins)
    return summary(found, hints(truth, found))


def _write_run(
    summary: ClipSummary, task: ClipTask, config: InferConfig, networks: Networks, ending: dict[str, Any]
) -> None:
    """Write `run.json`, the last file of a video: where it stands, all others are complete."""
    record = {
        **networks.info,
        "keypoints": keypoints_record(networks.estimator.keypoints, config.output.keypoint_set),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in RECORDED_PACKAGES},
        "input": task.url or os.path.abspath(task.path),
        **({INPUT_FACTS: task.stamp | {"sha256": summary.input_sha256}} if summary.input_sha256 else {}),
        "video": ending["video"],
        "config": config.of_results(),
        "frames": summary.frames,
        "people": summary.people,
        "tracks": summary.tracks,
        "notes": summary.notes,
        "files": summary.files,
    }
    identities = identities_in(ending)
    if identities is not None:
        record["identities"] = {name: identities.as_json()[name] for name in ("joins", "splits")}
    write_whole(task.folder / RUN_FILE, to_json(record, indent=True) + b"\n")


def _remove_stale(folder: Path, output: OutputConfig) -> None:
    """Remove what an earlier run left and this one was not asked for, and what was said of it: it would not fit."""
    for name in (*stale_files(output), MODEL_FILE, CORRECTIONS_FILE, CHECK_FILE):
        (folder / name).unlink(missing_ok=True)
        WholeFile(folder / name).discard()
