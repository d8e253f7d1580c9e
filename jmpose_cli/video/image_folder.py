"""The frames of a folder of images, as PoseTrack and many annotation tools keep videos."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from jmpose.regular_file import read_regular
from jmpose_cli.errors import JmposeError
from jmpose_cli.structures import Bytes, FrameBatch
from jmpose_cli.video.file_source import frames_a_batch
from jmpose_cli.video.info import DEFAULT_FPS, Selection, VideoInfo
from jmpose_cli.video.picture_size import MOST_MEGAPIXELS, check_size, picture_size

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

_HEAD_BYTES = 2**24
_MOST_BYTES_A_PIXEL = 16  # four channels of 32 bits, not compressed
_JPEG_START = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = 0xDA
_PNG_START = b"\x89PNG"
_PNG_END = b"IEND"


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
    """Whether a JPEG has its end marker behind its first scan; decoders paint what is missing grey and say nothing."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # fill byte
            at += 1
            continue
        if data[at + 1] == _JPEG_SCAN:
            return data.find(_JPEG_END, at) >= 0
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def read_image(path: Path, *, max_megapixels: float = MOST_MEGAPIXELS) -> Bytes:
    """Return an image as `[H, W, 3]` uint8 RGB, turned as its EXIF orientation asks.

    Raises:
        JmposeError: If the file cannot be read, is no image, is cut off, or has more pixels than allowed; the latter
            before it is decoded.
    """
    import cv2

    try:
        data = read_regular(path, most_bytes=_HEAD_BYTES + int(max_megapixels * 1e6) * _MOST_BYTES_A_PIXEL)
    except OSError as error:
        raise JmposeError(f"{path}: the image cannot be read: {error.strerror}") from error
    cut_off = (data.startswith(_JPEG_START) and not _is_whole_jpeg(data)) or (
        data.startswith(_PNG_START) and _PNG_END not in data[-64:]
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


class ImageFolderSource:
    """The images of a folder as a video; see `FrameSource` and `open_video`.

    Args:
        path: The folder.
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
        images = list_images(path) if images is None else images
        self.notes: list[str] = []
        if fps is None:
            fps = DEFAULT_FPS
            self.notes.append(f"images have no frame rate; {fps:g} is assumed, --fps gives the true one")
        self._frames = [
            (index, index / fps, image)
            for index, image in enumerate(images)
            if selection.takes(index, index / fps) and not selection.is_past(index, index / fps)
        ]
        if not self._frames:
            raise JmposeError(
                f"{path}: no image lies in {selection}; the folder has {len(images)} images",
                hint="choose a range inside the folder",
            )
        self._max_megapixels = max_megapixels
        height, width, _ = read_image(self._frames[0][2], max_megapixels=max_megapixels).shape
        self.info = VideoInfo(
            path=path,
            width=width,
            height=height,
            fps=float(fps),
            frames_claimed=len(images),
            rotation=0,
            has_audio=False,
            decoder="images",
            duration_s=len(images) / fps,
        )
        self._frames = [frame for frame in self._frames if frame[0] >= deliver_from]
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
        self._frames = []

    def __iter__(self) -> Iterator[FrameBatch]:
        if self._was_iterated:
            raise RuntimeError("a video is read once; open it again to read it again")
        self._was_iterated = True
        return self._batches()

    def _batches(self) -> Iterator[FrameBatch]:
        while self._frames:
            taken, self._frames = self._frames[: self._batch], self._frames[self._batch :]
            index = np.array([index for index, _, _ in taken], np.int64)
            time_s = np.array([time_s for _, time_s, _ in taken], np.float64)
            yield FrameBatch(np.stack([self._read(path) for _, _, path in taken]), index, time_s)

    def _read(self, path: Path) -> Bytes:
        image = read_image(path, max_megapixels=self._max_megapixels)
        height, width, _ = image.shape
        if (width, height) != (self.info.width, self.info.height):
            raise JmposeError(
                f"{path} is {width}x{height} pixels, the first image is {self.info.width}x{self.info.height}",
                hint="all images of a folder must have one size",
            )
        return image
