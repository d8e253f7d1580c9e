"""Key-frame groups, and the chunks made of them for decord."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jmpose_cli.video.decord_reader import plan_chunks
from jmpose_cli.video.key_groups import KeyGroup, NoKeyGroupsError, _GroupBuilder, key_groups
from tests.video_assets import make_video


def build(packets: str, most_frames: int | None = None) -> list[tuple[int, tuple[int, ...], bool]]:
    """Return the groups of packets written as timestamps in decoding order, key frames with a K."""
    builder = _GroupBuilder(most_frames)
    groups = []
    for word in packets.split():
        group = builder.add(int(word.rstrip("K")), word.endswith("K"))
        groups += [group] if group else []
    groups += builder.rest()
    return [(group.first, group.pts, group.is_closed) for group in groups]


GROUPS = {
    "0K": [(0, (0,), True)],
    "0K 1 2 3K 4": [(0, (0, 1, 2), True), (3, (3, 4), True)],
    "0K 4 2 1 3 5K 7 6": [(0, (0, 1, 2, 3, 4), True), (5, (5, 6, 7), True)],  # B-frames inside closed groups
    "0K 2 1 5K 3 4 7 6": [(0, (0, 1, 2, 3, 4), True), (5, (5, 6, 7), False)],  # 3 and 4 lead the key frame 5
    "5K 6 7K 8K": [(0, (5, 6), True), (2, (7,), True), (3, (8,), True)],
    "": [],
}


@pytest.mark.parametrize("packets", GROUPS)
def test_groups_of_packets(packets):
    assert build(packets) == GROUPS[packets]


@pytest.mark.parametrize(
    ("packets", "most_frames", "message"),
    [
        ("1 2K", None, "does not begin with a key frame"),
        ("2K 0 1 3", None, "pictures before its first key frame"),
        ("0K 1 1 2", None, "timestamps are not in order"),
        ("0K 1 5 3K 4", None, "timestamps are not in order"),
        ("0K 1 2 3", 3, "key frames are more than 3 frames apart"),
    ],
)
def test_packets_that_do_not_tell_the_frames(packets, most_frames, message):
    with pytest.raises(NoKeyGroupsError, match=message):
        build(packets, most_frames)


@given(
    lengths=st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=1, max_size=30),
    capacity=st.integers(1, 40),
)
def test_chunks_cover_every_frame_once_and_fit(lengths, capacity):
    groups, count = [], 0
    for number, (length, is_closed) in enumerate(lengths):
        groups.append(KeyGroup(count, tuple(range(count, count + length)), is_closed or number == 0))
        count += length
    closed_starts = {group.first for group in groups if group.is_closed}
    chunks = []
    try:
        for chunk in plan_chunks(iter([None, *groups]), capacity=capacity):
            chunks += [chunk] if chunk else []
    except NoKeyGroupsError:
        assert not all(group.is_closed for group in groups)
        count = sum(len(chunk.pts) for chunk in chunks)
    assert [pts for chunk in chunks for pts in chunk.pts] == list(range(count))
    assert [chunk.first for chunk in chunks] == [chunk.pts[0] for chunk in chunks]
    assert all(len(chunk.pts) <= capacity for chunk in chunks)
    bounds = [*sorted(closed_starts), count]
    for chunk in chunks:  # begins at a closed key frame, unless the frames up to the next one do not fit
        begin = max(start for start in bounds if start <= chunk.first)
        end = min(start for start in bounds if start > chunk.first)
        assert chunk.first == begin or end - begin > capacity


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_groups_of_a_file(tmp_path, suffix):
    path = tmp_path / f"video{suffix}"
    make_video(path, frames=30, key_frame_every=12, codec_options={"bf": "2"})
    groups = [group for group in key_groups(path, stream=0) if group is not None]
    assert [(group.first, len(group.pts)) for group in groups] == [(0, 12), (12, 12), (24, 6)]
    assert all(group.is_closed for group in groups)


def test_open_groups_of_a_file(tmp_path):
    make_video(
        tmp_path / "open.mp4",
        frames=60,
        codec="libx265",
        key_frame_every=10,
        codec_options={"preset": "ultrafast", "x265-params": "open-gop=1:bframes=3:log-level=none:scenecut=0"},
    )
    groups = [group for group in key_groups(tmp_path / "open.mp4", stream=0) if group is not None]
    assert sum(len(group.pts) for group in groups) == 60
    assert not all(group.is_closed for group in groups)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "message"),
    [
        ("a.webm", "libvpx", "yuv420p", "a packet of vp8 may hold more or less than one frame"),
        ("a.avi", "mjpeg", "yuvj420p", "avi files have no exact index"),
    ],
)
def test_files_whose_packets_are_not_trusted(tmp_path, name, codec, pix_fmt, message):
    make_video(tmp_path / name, codec=codec, pix_fmt=pix_fmt)
    with pytest.raises(NoKeyGroupsError, match=message):
        list(key_groups(tmp_path / name, stream=0))
