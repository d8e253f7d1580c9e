"""Which of several video streams is read: the one marked as default on purpose, else the largest; and it is said."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.runs.probing import probe_videos
from jmpose_cli.video.source import open_video
from tests.video_assets import draw_number, read_numbers

SMALL, LARGE = (64, 48), (128, 96)
DEFAULT, COVER = av.stream.Disposition.default, av.stream.Disposition.attached_pic


def make_streams(path: Path, *streams: tuple[tuple[int, int], int, int], marks: dict[int, int] | None = None) -> None:
    """Write video streams, each of a size, a number of frames, and the number that its first frame shows."""
    with av.open(str(path), "w") as container:
        made = []
        for place, (size, _, _) in enumerate(streams):
            stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = Fraction(1, 25)
            if marks is not None:
                stream.disposition = marks.get(place, 0)
            made.append(stream)
        for stream, ((width, height), frames, first) in zip(made, streams, strict=True):
            for number in range(frames):
                picture = draw_number(first + number, width=width, height=height)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            container.mux(stream.encode(None))


def numbers_of(path: Path, **options):
    with open_video(path, **options) as source:
        return read_numbers(np.concatenate([batch.frames for batch in source])), source


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts"])
@pytest.mark.parametrize("decoder", ["auto", "pyav"])
def test_the_largest_is_read_wherever_it_stands(tmp_path, name, decoder):
    # As dashcams and drones write: the first one is small, and marked as default by the program that wrote the file.
    make_streams(tmp_path / name, (SMALL, 8, 0), (LARGE, 5, 100), (SMALL, 5, 200))
    numbers, source = numbers_of(tmp_path / name, decoder=decoder)
    assert numbers == [100, 101, 102, 103, 104]
    assert (source.info.width, source.info.height) == LARGE
    assert [note for note in source.notes if note.startswith("video stream 2 of 3 (64x48, 128x96, 64x48) is read")]
    assert "decode.stream" in " ".join(source.notes)


def test_frames_are_numbered_and_timed_by_the_stream_that_is_read(tmp_path):
    make_streams(tmp_path / "v.mp4", (SMALL, 30, 0), (LARGE, 20, 100))
    numbers, source = numbers_of(tmp_path / "v.mp4", frames=(3, 6))
    assert numbers == [103, 104, 105]
    assert source.info.frames_claimed == 20
    (found,) = probe_videos([tmp_path / "v.mp4"], processes=1)
    assert (found.frames, found.fps) == (20, 25)


def test_a_mark_on_a_later_stream_counts_more_than_size(tmp_path):
    make_streams(tmp_path / "v.mkv", (LARGE, 5, 0), (SMALL, 5, 100), marks={1: DEFAULT})
    numbers, source = numbers_of(tmp_path / "v.mkv")
    assert numbers[0] == 100
    assert "video stream 2 of 2" in " ".join(source.notes) and "marked as default" in " ".join(source.notes)


def test_of_equals_the_first_is_read_or_the_one_asked_for(tmp_path):
    make_streams(tmp_path / "v.mp4", (SMALL, 5, 0), (SMALL, 4, 100))
    assert numbers_of(tmp_path / "v.mp4")[0][0] == 0
    numbers, source = numbers_of(tmp_path / "v.mp4", stream=2)
    assert numbers == [100, 101, 102, 103]
    assert "video stream 2 of 2 (64x48, 64x48) is read, as set" in source.notes
    (found,) = probe_videos([tmp_path / "v.mp4"], processes=1, stream=2)
    assert found.frames == 4


def test_a_stream_that_is_not_there(tmp_path):
    make_streams(tmp_path / "v.mp4", (SMALL, 5, 0), (LARGE, 5, 100))
    with pytest.raises(JmposeError, match="there is no video stream 3") as error:
        open_video(tmp_path / "v.mp4", stream=3)
    assert "has 2" in error.value.hint


def test_a_large_still_picture_beside_a_video_is_not_the_video(tmp_path):
    make_streams(tmp_path / "v.mp4", (LARGE, 1, 100), (SMALL, 5, 0))
    assert numbers_of(tmp_path / "v.mp4")[0] == [0, 1, 2, 3, 4]


def test_a_cover_picture_is_no_video_and_needs_no_note(tmp_path):
    make_streams(tmp_path / "v.mkv", (SMALL, 5, 0))
    cover = tmp_path / "v.mp4"
    with av.open(str(tmp_path / "v.mkv")) as source, av.open(str(cover), "w") as target:
        picture = target.add_stream("mjpeg", rate=1)
        picture.width, picture.height = LARGE
        picture.pix_fmt, picture.disposition = "yuvj420p", COVER
        video = target.add_stream_from_template(source.streams.video[0])
        frame = av.VideoFrame.from_ndarray(draw_number(100, width=LARGE[0], height=LARGE[1]), "rgb24")
        target.mux(picture.encode(frame.reformat(format="yuvj420p")))
        target.mux(picture.encode(None))
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                target.mux(packet)
    numbers, source = numbers_of(cover)
    assert numbers == [0, 1, 2, 3, 4]
    assert not [note for note in source.notes if "video stream" in note and "is read" in note]
