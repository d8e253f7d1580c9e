"""The frames of a video file, decoded in a child process."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import numpy as np

from jmpose_cli.errors import JmposeError
from jmpose_cli.machine import explain
from jmpose_cli.values import FrameBatch
from jmpose_cli.video.child_process import ChildDiedError, ChildPool, ChildProcess, ChildStalledError, started
from jmpose_cli.video.info import Selection, VideoInfo
from jmpose_cli.video.messages import (
    ChildMessage,
    DecoderName,
    Failed,
    Finished,
    FrameReady,
    Job,
    Opened,
    Passed,
    Position,
)
from jmpose_cli.video.picture_size import MOST_MEGAPIXELS
from jmpose_cli.video.ring import FrameRing

MOST_BATCH_BYTES = 32 * 2**20
_PATIENCE_S = 1.0  # with a child that is to end a job early: to start another one takes as long

_NAMES: dict[DecoderName, str] = {"decord": "decord", "pyav": "PyAV"}


def frames_a_batch(info: VideoInfo, wanted: int) -> int:
    """Return the batch size: the one wanted, or fewer frames where they are large, one at least."""
    return max(1, min(wanted, MOST_BATCH_BYTES // info.frame_bytes))


class VideoFileSource:
    """The frames of a video file; see `FrameSource` and `open_video`.

    Args:
        path: The file.
        decoders: What decodes; each takes over where the one before it cannot continue.
        stream: Which of the video streams, from 1; None chooses.
        selection: The frames wanted.
        batch: Most frames in a batch.
        deliver_from: Frames with smaller numbers are read and not given out.
        children: Where a child comes from and goes to; None starts one and kills it.
        stall_timeout_s: Longest wait for a sign of life of the decoder.
        fps: Frames per second of a file without timestamps; None: not known.
        max_megapixels: Larger frames are refused.
        keep_open: As `open_video`.

    Raises:
        JmposeError: As `open_video`.
    """

    info: VideoInfo

    def __init__(
        self,
        path: Path,
        *,
        decoders: tuple[DecoderName, ...],
        selection: Selection,
        batch: int,
        stall_timeout_s: float,
        deliver_from: int = 0,
        children: ChildPool | None = None,
        fps: float | None = None,
        stream: int | None = None,
        max_megapixels: float = MOST_MEGAPIXELS,
        keep_open: bool = False,
    ) -> None:
        self.notes: list[str] = []
        self._path = path
        self._decoders = decoders
        self._stream = stream
        self._selection = selection
        self._batch = batch
        self._stall_timeout_s = stall_timeout_s
        self._deliver_from = deliver_from
        self._children = children
        self._fps = fps
        self._max_megapixels = max_megapixels
        self._keep_open = keep_open
        self._is_at_rest = self._is_gone = False
        self._last: Position | None = None
        self._waiting: Position | None = None
        self._ring: FrameRing | None = None
        self._was_iterated = False
        self._child = self._start_child()
        try:
            self._waiting = self._next_frame()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the child and release the shared memory."""
        self._waiting = None
        self._ring = None  # unmaps the memory
        self._let_go()

    def _let_go(self) -> None:
        """Return the child to the pool when it has ended its job, kill it otherwise."""
        if self._keep_open and not (self._is_at_rest or self._is_gone):
            self._is_at_rest = self._child.end_job(_PATIENCE_S)
        if self._is_at_rest and self._children is not None:
            self._is_at_rest = False
            self._children.put(self._child)
        elif not self._is_gone:
            self._child.close()
        self._is_gone = True

    def __iter__(self) -> Iterator[FrameBatch]:
        if self._was_iterated:
            raise RuntimeError("a video is read once; open it again to read it again")
        self._was_iterated = True
        return self._batches()

    def _batches(self) -> Iterator[FrameBatch]:
        most = frames_a_batch(self.info, self._batch)
        while self._waiting is not None and self._ring is not None:
            frames = np.empty((most, self.info.height, self.info.width, 3), np.uint8)
            taken: list[Position] = []
            failure = None
            while self._waiting is not None and len(taken) < most:
                frames[len(taken)] = self._ring.slot(self._received - 1)
                self._child.free_slot()
                taken.append(self._waiting)
                try:
                    self._waiting = self._next_frame()
                except JmposeError as error:  # the frames before it are good
                    self._waiting, failure = None, error
            index = np.array([at.index for at in taken], np.int64)
            time_s = np.array([at.time_s for at in taken], np.float64)
            yield FrameBatch(frames[: len(taken)], index, time_s)
            if failure is not None:
                raise failure

    def _start_child(self) -> ChildProcess:
        """Start the next decoder after the last frame received."""
        self._decoder, *others = self._decoders
        self._decoders = tuple(others)
        self._received = 0
        job = Job(
            path=self._path,
            decoder=self._decoder,
            stream=self._stream,
            selection=self._selection,
            after=self._last,
            whole_groups=bool(others),
            deliver_from=self._deliver_from,
            stall_timeout_s=self._stall_timeout_s,
            fps=self._fps,
            max_megapixels=self._max_megapixels,
            keep_open=self._keep_open,
        )
        self._is_at_rest = self._is_gone = False
        return self._children.take(job) if self._children is not None else started(job)

    def _next_frame(self) -> Position | None:
        """Wait for the next frame in the ring; None at the end."""
        while True:
            message = self._receive()
            if isinstance(message, FrameReady):
                self._received += 1
                self._last = message.at
                return message.at
            if isinstance(message, Passed):
                self._last = message.at
            elif isinstance(message, Opened):
                self._use(message.info)
            elif isinstance(message, Finished):
                self._is_at_rest = True
                self._conclude(message)
                return None
            elif isinstance(message, Failed) and not self._change_decoder(message):
                return None

    def _receive(self) -> ChildMessage:
        try:
            return self._child.receive(self._stall_timeout_s)
        except ChildStalledError:
            return Failed("fault", f"it made no progress for {self._stall_timeout_s:g} s and was stopped")
        except ChildDiedError as error:
            if explained := explain(str(error)):
                return Failed("file", f"{self._path}: {explained.message}", explained.hint)
            return Failed("fault", str(error))

    def _use(self, info: VideoInfo) -> None:
        if self._last is None:
            self.info = info
        else:
            self.info = replace(self.info, decoder=f"{self.info.decoder}, then {info.decoder}")
        self._ring = FrameRing(self._child.memory, height=self.info.height, width=self.info.width)

    def _change_decoder(self, failed: Failed) -> bool:
        """Let the next decoder take over; return False when there is none and the frames so far are the result."""
        if failed.cause == "file":
            self._is_at_rest = True
            raise JmposeError(failed.message, hint=failed.hint)
        name = _NAMES[self._decoder]
        index = 0 if self._last is None else self._last.index + 1
        self._is_at_rest = failed.cause == "decoder"
        self._let_go()
        if self._decoders:
            successor = _NAMES[self._decoders[0]]
            self.notes.append(f"{successor} takes over from {name} at frame {index}: {failed.message}")
            self._child = self._start_child()
            return True
        hint = "try --decoder auto" if self._decoder == "decord" else "the file is damaged; try to convert it"
        if failed.cause == "decoder" and self._last is not None:
            self.notes.append(f"{name} ended before frame {index}: {failed.message}; {hint}")
            return False
        raise JmposeError(f"{self._path}: {name} ended before frame {index}: {failed.message}", hint=hint)

    def _conclude(self, finished: Finished) -> None:
        """Turn what was found into notes; raise JmposeError when no frame came."""
        if self._last is None:
            self._fail_without_frames(finished)
        self.notes.extend(finished.remarks)

    def _fail_without_frames(self, finished: Finished) -> NoReturn:
        if finished.frames_in_file == 0:
            raise JmposeError(f"{self._path}: not one frame can be decoded", hint="the file is damaged")
        found = "" if finished.frames_in_file is None else f"; the video has {finished.frames_in_file} frames"
        if finished.last_time_s is not None:
            found += f", the last one read is at {finished.last_time_s:.3f} s"
        raise JmposeError(
            f"{self._path}: no frame lies in {self._selection}{found}", hint="choose a range inside the video"
        )
