"""The frames of a folder of images, as PoseTrack and many annotation tools keep videos."""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from jmpose.regular_file import read_regular
from jmpose_cli.errors import JmposeError
from jmpose_cli.text import printable
from jmpose_cli.values import Bytes, FrameBatch
from jmpose_cli.video.file_source import frames_a_batch
from jmpose_cli.video.info import DEFAULT_FPS, Selection, VideoInfo
from jmpose_cli.video.picture_damage import is_damaged
from jmpose_cli.video.picture_pages import PageReader, pages_in, pages_of
from jmpose_cli.video.picture_size import MOST_MEGAPIXELS, check_size, picture_size

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

_HEAD_BYTES = 2**24
_MOST_BYTES_A_PIXEL = 16  # four channels of 32 bits, not compressed
_JPEG_START = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = 0xDA
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_BLOCK_BYTES = 12  # beside its content
_PNG_END = b"IEND"
_MOST_NAMED = 20  # files in a note


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a sort key that puts `2.jpg` before `10.jpg`."""
    parts = re.split(r"(\d+)", name.lower())
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part)


def list_images(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order of their names.

    Raises:
        JmposeError: If the folder cannot be read or holds no images.
    """
    try:
        entries = [entry for entry in folder.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
    except OSError as error:
        raise JmposeError(
            f"{folder}: the folder cannot be read: {error.strerror}", hint="check its permissions"
        ) from error
    visible = [entry.name for entry in entries if not entry.name.startswith(".")]
    if not visible:
        kinds = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        raise JmposeError(f"{folder}: the folder holds no images", hint=f"images are files named .{kinds}")
    return [folder / name for name in sorted(visible, key=lambda name: (natural_key(name), name))]


def _is_whole_jpeg(data: bytes) -> bool:
    """Whether a JPEG has its end marker after its first scan; decoders paint what is missing grey and say nothing."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # fill byte
            at += 1
            continue
        if data[at + 1] == _JPEG_SCAN:
            return data.find(_JPEG_END, at) >= 0
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _is_whole_png(data: bytes) -> bool:
    """Whether all blocks up to the end mark are there; a decoder takes memory for as much as a block says it has."""
    at = len(_PNG_START)
    while at + _PNG_BLOCK_BYTES <= len(data):
        if data[at + 4 : at + 8] == _PNG_END:
            return True
        at += _PNG_BLOCK_BYTES + int.from_bytes(data[at : at + 4], "big")
    return False


def is_picture(path: Path) -> bool:
    """Whether a file is read as pictures: by its name and beginning, but for APNG, which FFmpeg reads as a video."""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return False
    try:
        pages = pages_of(path)
    except OSError:
        return False
    return pages.kind != "other" and (pages.kind != "png" or len(pages) == 1)


def read_image(path: Path, *, max_megapixels: float = MOST_MEGAPIXELS) -> Bytes:
    """Return an image as `[H, W, 3]` uint8 RGB, turned as its EXIF orientation asks.

    Raises:
        JmposeError: If the file cannot be read, is no image, is cut off, or has more pixels than allowed; the latter
            before it is decoded.
    """
    return _decoded(path, _file_bytes(path, max_megapixels), max_megapixels)


def _file_bytes(path: Path, max_megapixels: float) -> bytes:
    try:
        return read_regular(path, most_bytes=_HEAD_BYTES + int(max_megapixels * 1e6) * _MOST_BYTES_A_PIXEL)
    except OSError as error:
        raise JmposeError(f"{path}: the image cannot be read: {error.strerror}") from error


def _decoded(path: Path, data: bytes, max_megapixels: float) -> Bytes:
    import cv2

    cut_off = (data.startswith(_JPEG_START) and not _is_whole_jpeg(data)) or (
        data.startswith(_PNG_START) and not _is_whole_png(data)
    )
    if cut_off:
        raise JmposeError(f"{path}: the image is cut off", hint="copy the file again")
    size = picture_size(data)
    if size is not None:
        check_size(path, *size, most_megapixels=max_megapixels)
    image_bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if size is not None else None
    if image_bgr is None:
        raise JmposeError(f"{path} is not a readable image", hint="copy the file again, or move it out of the folder")
    image: Bytes = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)
    return image


@dataclass(frozen=True)
class _Frame:
    """Picture `page` of an image file, to be shown as frame `index`."""

    index: int
    time_s: float
    path: Path
    page: int = 0


class ImageFolderSource:
    """The images of a folder, or all pictures of one file, as a video; see `FrameSource` and `open_video`.

    Args:
        path: The folder or the file.
        selection: The frames wanted.
        batch: Most frames in a batch.
        fps: Frames per second; image number n is shown at n / fps seconds. None: not known.
        deliver_from: Images with smaller numbers are not given out.
        images: The images in their order, when they are not simply those of the folder.
        max_megapixels: Larger images are refused.

    Raises:
        JmposeError: If the folder cannot be read, holds no images, its first image cannot be read, or the selection
            takes none; while iterating, if an image cannot be read or has another size than the first.
    """

    def __init__(
        self,
        path: Path,
        *,
        selection: Selection,
        batch: int,
        fps: float | None,
        deliver_from: int = 0,
        images: Sequence[Path] | None = None,
        max_megapixels: float = MOST_MEGAPIXELS,
    ) -> None:
        self.notes: list[str] = []
        self._max_megapixels, self._deliver_from = max_megapixels, deliver_from
        self._pages: PageReader | None = None
        self._is_folder = path.is_dir()
        self._damaged: list[str] = []
        self._with_more: list[str] = []
        if images is None and not self._is_folder:
            frames, rate = self._pictures_in(path, fps)
        else:
            images = list_images(path) if images is None else images
            rate = fps or self._assumed_rate(len(images))
            frames = [_Frame(index, index / rate, image) for index, image in enumerate(images)]
        self._frames = deque(
            frame
            for frame in frames
            if selection.takes(frame.index, frame.time_s) and not selection.is_past(frame.index, frame.time_s)
        )
        if not self._frames:
            what = "folder" if self._is_folder else "file"
            raise JmposeError(
                f"{path}: no image lies in {selection}; the {what} has {len(frames)} images",
                hint=f"choose a range inside the {what}",
            )
        height, width, _ = self._pixels(self._frames[0]).shape
        self.info = VideoInfo(
            path=path,
            width=width,
            height=height,
            fps=float(rate),
            frames_claimed=len(frames),
            rotation=0,
            has_audio=False,
            decoder="images",
            duration_s=len(frames) / rate,
        )
        self._batch = frames_a_batch(self.info, batch)
        self._was_iterated = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration."""
        self._frames.clear()
        if self._pages is not None:
            self._pages.close()

    def __iter__(self) -> Iterator[FrameBatch]:
        if self._was_iterated:
            raise RuntimeError("a video is read once; open it again to read it again")
        self._was_iterated = True
        return self._batches()

    def _pictures_in(self, path: Path, fps: float | None) -> tuple[list[_Frame], float]:
        """Return all pictures of a file, and how many there are a second."""
        try:
            pages = pages_of(path)
        except OSError as error:
            raise JmposeError(f"{path}: the image cannot be read: {error.strerror}") from error
        if len(pages) > 1:
            self._pages = PageReader(path, pages, max_megapixels=self._max_megapixels)
        if len(pages) > 1 and pages.durations_s:
            if fps is not None:
                self.notes.append(f"--fps {fps:g} is not used: the file has timestamps of its own")
            *begins_s, end_s = accumulate(pages.durations_s, initial=0.0)
            return [_Frame(index, begin_s, path, index) for index, begin_s in enumerate(begins_s)], len(pages) / end_s
        rate = fps or self._assumed_rate(len(pages))
        return [_Frame(index, index / rate, path, index) for index in range(len(pages))], rate

    def _assumed_rate(self, images: int) -> float:
        if images > 1:
            self.notes.append(f"images have no frame rate; {DEFAULT_FPS:g} is assumed, --fps gives the true one")
        return DEFAULT_FPS

    def _batches(self) -> Iterator[FrameBatch]:
        waiting: list[tuple[_Frame, Bytes]] = []
        while self._frames:
            frame = self._frames.popleft()
            if frame.index >= self._deliver_from:
                waiting.append((frame, self._read(frame)))
            elif self._pages is None:
                self._inspect(frame)  # what the notes say must not depend on where reading begins
            if waiting and (len(waiting) == self._batch or not self._frames):
                taken, waiting = waiting, []
                index = np.array([frame.index for frame, _ in taken], np.int64)
                time_s = np.array([frame.time_s for frame, _ in taken], np.float64)
                yield FrameBatch(np.stack([pixels for _, pixels in taken]), index, time_s)
        self.notes.extend(self._findings())

    def _inspect(self, frame: _Frame) -> bytes:
        """Note what is wrong with a file; return its content."""
        data = _file_bytes(frame.path, self._max_megapixels)
        if is_damaged(data):
            self._damaged.append(printable(frame.path.name))
        pages = len(pages_in(data))
        if pages > 1:
            self._with_more.append(f"{printable(frame.path.name)} (of {pages})")
        return data

    def _findings(self) -> Iterator[str]:
        """Yield sentences for the user about the files that were read."""
        if self._damaged:
            yield f"damaged pictures that are shown as far as they could be decoded: {_few(self._damaged)}"
        if self._with_more:
            yield f"files with several pictures, of which only the first is used: {_few(self._with_more)}"

    def _pixels(self, frame: _Frame) -> Bytes:
        if self._pages is not None:
            return self._pages.read(frame.page)
        return read_image(frame.path, max_megapixels=self._max_megapixels)

    def _read(self, frame: _Frame) -> Bytes:
        if self._pages is not None:
            image = self._pages.read(frame.page)
        else:
            image = _decoded(frame.path, self._inspect(frame), self._max_megapixels)
        height, width, _ = image.shape
        if (width, height) != (self.info.width, self.info.height):
            which = f"{frame.path}" if self._pages is None else f"{frame.path}: picture {frame.page + 1}"
            raise JmposeError(
                f"{which} is {width}x{height} pixels, the first image is {self.info.width}x{self.info.height}",
                hint="all images of a folder or file must have one size",
            )
        return image


def _few(names: Sequence[str]) -> str:
    """Return the number of names, and the first ones."""
    rest = f", and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{len(names)}: {', '.join(names[:_MOST_NAMED])}{rest}"
