"""The frames that the server reads before the page asks for them."""

import time
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from jmpose_cli.review.frames import AHEAD, BACK, FrameCache

LAST = 9000


class Video:
    """Frames of one pixel; notes where it was opened and what was read."""

    def __init__(self):
        self.opened, self.read = [], []

    def open_from(self, first):
        self.opened.append(first)
        return nullcontext(self.batches(first))

    def batches(self, first):
        for index in range(first, LAST + 1):
            self.read.append(index)
            yield SimpleNamespace(index=np.array([index]), frames=np.full((1, 1, 1, 3), index % 256, np.uint8))


def wait_until(is_so):
    deadline = time.monotonic() + 30
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_so()


def test_frames_wanted_soon_are_read_right_after_those_that_follow():
    video = Video()
    cache = FrameCache(video.open_from, LAST)
    cache.want_soon((3000, 2000, LAST + 1))
    cache.image(100)
    wait_until(lambda: len(video.opened) > 3)
    assert video.opened[:3] == [100, 3000, 2000]
    assert video.read[: AHEAD + 3] == [*range(100, 101 + AHEAD), 3000, 2000]
    begin = len(video.opened)
    cache.image(3000)
    cache.image(3001)
    cache.close()
    assert 3001 in video.read and 3000 not in video.opened[begin:]


def test_all_around_is_read_where_nothing_is_wanted_soon():
    video = Video()
    cache = FrameCache(video.open_from, LAST)
    cache.image(LAST - 10)
    wait_until(lambda: len(video.opened) > 2)
    cache.close()
    assert video.opened[:3] == [LAST - 10, LAST - 10 - BACK, LAST - 10 - 2 * BACK]


@pytest.mark.parametrize("room", [1, 10])
def test_what_does_not_fit_is_not_read_again_and_again(room):
    video = Video()
    first = FrameCache(video.open_from, 0)
    size = len(first.image(0))
    first.close()
    cache = FrameCache(video.open_from, LAST, most_bytes=size * room)
    cache.want_soon((3000,))
    cache.image(100)
    time.sleep(0.5)
    cache.close()
    assert video.read[1:].count(100) == 1
    assert video.read.count(101) < 3
