import threading
import time

import pytest

from jmpose_cli.background import StageClock, in_background


def test_items_arrive_in_order():
    with in_background(iter(range(100)), ahead=3, name="t") as items:
        assert list(items) == list(range(100))


def test_the_producer_is_never_further_ahead_than_allowed():
    made = []

    def produce():
        for i in range(20):
            made.append(i)
            yield i

    with in_background(produce(), ahead=2, name="t") as items:
        for taken in items:
            time.sleep(0.005)
            # two wait in the queue, one is in the producer's hand
            assert len(made) <= taken + 1 + 3


def test_an_exception_comes_after_the_items_before_it():
    def produce():
        yield 1
        raise RuntimeError("broken frame")

    got = []
    with (
        pytest.raises(RuntimeError, match="broken frame"),
        in_background(produce(), ahead=2, name="t") as items,
    ):
        got.extend(items)
    assert got == [1]
    with in_background(produce(), ahead=2, name="t") as items:
        assert next(items) == 1


def test_leaving_early_stops_the_thread_and_closes_the_generator():
    closed = threading.Event()

    def produce():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    with in_background(produce(), ahead=1, name="left early") as items:
        next(items)
    assert closed.is_set()
    assert all(t.name != "left early" for t in threading.enumerate())


def test_the_clock_adds_up_busy_time_and_waiting_time():
    clock = StageClock()
    for _ in range(2):
        with clock("work"):
            time.sleep(0.01)

    def slow():
        time.sleep(0.02)
        yield 1

    assert list(clock.waiting_for("wait", slow())) == [1]
    assert 0.02 <= clock.seconds["work"] < 0.2 and 0.02 <= clock.seconds["wait"] < 0.2
