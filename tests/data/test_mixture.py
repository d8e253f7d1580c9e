"""Windows of several sources: reproducible whatever the number of workers, in the order that was asked for."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jmpose.config import Preprocess
from jmpose.keypoints import COCO17
from jmpose_cli.data.augment import PLAIN, Augmentation
from jmpose_cli.data.layouts import find_stills, find_videos
from jmpose_cli.data.mixture import Draw, EpochSampler, Order, WindowSet
from jmpose_cli.data.samples import Choice, Labels, RawWindow
from jmpose_cli.data.sources import StillWindows, posetrack_windows
from jmpose_cli.errors import JmposeError
from jmpose_cli.training.loader import batches
from tests.data.annotated import coco, person, posetrack18
from tests.data.raw_windows import noisy

PREPROCESS = Preprocess(64, 32, "coco17", heatmap_sigma=1.0, window_offsets=(-2, 0, 2))
FIVE = replace(PREPROCESS, window_offsets=(-2, -1, 0, 1, 2))
HEIGHT = 64


class Recorder:
    """A source of flat pictures that notes which frames it was asked for."""

    notes = ()

    def __init__(self, name, people):
        self.name, self._people = name, people
        self.asked: list[tuple[int, Choice]] = []

    def __len__(self):
        return self._people

    def files(self):
        return [f"{self.name}.json"]

    def pictures(self):
        return []

    def read(self, index, choice):
        self.asked.append((index, choice))
        frames = len(choice.offsets)
        pictures = [np.full((40, 30, 3), 100 + offset, np.uint8) for offset in choice.offsets]
        known = np.ones((frames, 17))
        labels = Labels(np.full((frames, 17, 2), 10.0), known, known)
        box = np.array([5, 5, 25, 35], np.float32)
        return RawWindow(pictures, np.ones(frames, bool), box, labels, False, f"{self.name} {index}")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A video of four frames with two tracks, and three stills, with textures."""
    root = tmp_path_factory.mktemp("mixed")
    people = [person(n, track, xy=(5 + 20 * track, 10)) for n in range(4) for track in (0, 1)]
    posetrack18(root, people, frames=4)
    stills = [person(n, 1, joints=COCO17.joints) for n in range(3)]
    coco(root / "stills/people.json", stills, images=3)
    for number, picture in enumerate(sorted(root.rglob("*.png"))):
        cv2.imwrite(str(picture), noisy(number, size_wh=(64, 48)))
    return root


def sources_in(root):
    (video,) = find_videos(root, "val")
    stills = find_stills(root / "stills/people.json")
    return [posetrack_windows(video, COCO17), StillWindows(stills, keypoints=COCO17, moving=True)]


def window_set(root, **options):
    options = {"settings": Augmentation(), "reach": 3, "seed": 4} | options
    return WindowSet(sources_in(root), PREPROCESS, **options)


def same(a, b):
    """Whether two windows or batches agree to the bit."""
    names = ("crops", "exists", "xy", "weight", "present", "to_image")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)


class TestWindowSet:
    def test_a_draw_depends_on_itself_alone(self, mixed):
        windows, other = window_set(mixed), window_set(mixed)
        draw = Draw(epoch=2, place=5, sample=3, height=HEIGHT)
        window, sample = windows[draw]
        assert sample == 3
        for place in range(4):
            other[Draw(0, place, place, HEIGHT)]
        assert same(window, other[draw][0])
        for changed in ({"epoch": 3}, {"place": 6}, {"sample": 4}):
            assert not same(window, windows[replace(draw, **changed)][0])
        assert not same(window, window_set(mixed, seed=5)[draw][0])
        assert windows[replace(draw, height=128)][0].crops.shape == (3, 128, 64, 3)

    def test_samples_count_through_the_sources(self):
        sources = [Recorder("a", 3), Recorder("empty", 0), Recorder("b", 2)]
        windows = WindowSet(sources, PREPROCESS)
        assert len(windows) == 5
        assert [windows.source_of(sample) for sample in range(5)] == [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1)]
        assert [windows.name_of(sample) for sample in (0, 2, 3, 4)] == ["a 0", "a 2", "b 0", "b 1"]

    def test_nobody_to_learn_from(self):
        with pytest.raises(JmposeError, match="no usable people in a, b"):
            WindowSet([Recorder("a", 0), Recorder("b", 0)], PREPROCESS)
        with pytest.raises(JmposeError, match="no usable people in no source"):
            WindowSet([], PREPROCESS)

    @pytest.mark.parametrize("reach", [2, 3, 6])
    def test_support_frames_are_random_distinct_and_within_reach(self, reach):
        source = Recorder("a", 1)
        windows = WindowSet([source], FIVE, settings=PLAIN, reach=reach, seed=1)
        for place in range(80):
            windows[Draw(0, place, 0, HEIGHT)]
        chosen = [choice.offsets for _, choice in source.asked]
        for offsets in chosen:
            assert len(offsets) == 5
            assert offsets[2] == 0
            assert list(offsets) == sorted(set(offsets))
            assert -reach <= offsets[0] < offsets[1] < 0 < offsets[3] < offsets[4] <= reach
        seen = {offset for offsets in chosen for offset in offsets}
        assert seen == set(range(-reach, reach + 1))
        pairs = reach * (reach - 1) // 2
        assert len(set(chosen)) > 0.5 * min(pairs**2, 80)

    def test_validation_takes_the_models_own_offsets(self):
        source = Recorder("a", 1)
        window, _ = WindowSet([source], PREPROCESS)[Draw(0, 0, 0, HEIGHT)]
        assert [choice.offsets for _, choice in source.asked] == [(-2, 0, 2)]
        assert window.crops[:, 32, 16, 0].tolist() == [98, 100, 102]

    def test_without_support_there_is_one_frame(self):
        source = Recorder("a", 1)
        window, _ = WindowSet([source], PREPROCESS, reach=3, support=False)[Draw(0, 0, 0, HEIGHT)]
        assert [choice.offsets for _, choice in source.asked] == [(0,)]
        assert window.crops.shape == (1, 64, 32, 3)

    def test_one_frame_with_every_augmentation(self, mixed):
        windows = window_set(mixed, support=False, settings=Augmentation(degrade=1.0, missing=1.0))
        for place in range(20):
            window, _ = windows[Draw(0, place, place % len(windows), HEIGHT)]
            assert window.crops.shape == (1, 64, 32, 3)
            assert window.exists.tolist() == [True]

    def test_a_reach_too_short_for_the_model(self):
        with pytest.raises(JmposeError, match="within 1 of the key frame: the model takes 2 on a side") as caught:
            WindowSet([Recorder("a", 1)], FIVE, reach=1)
        assert "data.reach" in caught.value.hint
        WindowSet([Recorder("a", 1)], FIVE, reach=1, support=False)

    def test_occluders_cost_one_picture_of_somebody(self):
        source = Recorder("a", 9)
        windows = WindowSet([source], PREPROCESS, settings=replace(PLAIN, degrade=1.0), seed=2)
        for place in range(40):
            windows[Draw(0, place, 0, HEIGHT)]
        own, others = 40, [choice for _, choice in source.asked if choice.offsets == (0,)]
        assert len(source.asked) == own + len(others)
        assert 3 <= len(others) <= 18  # an occluder is one of six kinds


class TestLoader:
    DRAWS = tuple([Draw(1, 4 * b + i, (4 * b + 3 * i) % 11, HEIGHT) for i in range(4)] for b in range(3))

    def loaded(self, root, workers):
        return list(batches(window_set(root), self.DRAWS, workers=workers, pin=False))

    def test_the_number_of_workers_changes_nothing(self, mixed):
        none = self.loaded(mixed, 0)
        assert [batch.samples.tolist() for batch in none] == [[d.sample for d in draws] for draws in self.DRAWS]
        assert none[0].crops.shape == (4, 3, 64, 32, 3)
        assert none[0].crops.dtype == torch.uint8
        assert (none[0].exists.dtype, none[0].xy.dtype) == (torch.bool, torch.float32)
        for workers in (1, 2):
            some = self.loaded(mixed, workers)
            assert len(some) == 3
            for a, b in zip(none, some, strict=True):
                assert same(a, b)
                assert torch.equal(a.samples, b.samples)

    def test_torchs_random_state_is_left_alone(self, mixed):
        torch.manual_seed(7)
        expected = torch.rand(3)
        torch.manual_seed(7)
        self.loaded(mixed, 0)
        assert torch.equal(torch.rand(3), expected)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_a_truncated_picture_is_named(self, tmp_path, workers):
        coco(tmp_path / "people.json", [person(n, 1, joints=COCO17.joints) for n in range(2)], images=2)
        whole = cv2.imencode(".jpg", noisy(0, size_wh=(64, 48)))[1].tobytes()
        (tmp_path / "000000000001.png").write_bytes(whole[: len(whole) // 2])
        stills = StillWindows(find_stills(tmp_path / "people.json"), keypoints=COCO17, moving=False)
        windows = WindowSet([stills], PREPROCESS)
        draws = [[Draw(0, 0, 0, HEIGHT)], [Draw(0, 1, 0, HEIGHT), Draw(0, 2, 1, HEIGHT)]]
        loaded = batches(windows, draws, workers=workers, pin=False)
        assert len(next(loaded)) == 1
        with pytest.raises(JmposeError, match=r"000000000001\.png: the image is cut off") as caught:
            next(loaded)
        assert caught.value.hint == "copy the file again"

    @pytest.mark.parametrize("workers", [0, 1])
    def test_a_picture_that_went_away_is_named(self, tmp_path, workers):
        coco(tmp_path / "people.json", [person(0, 1, joints=COCO17.joints)], images=1)
        stills = StillWindows(find_stills(tmp_path / "people.json"), keypoints=COCO17, moving=False)
        (tmp_path / "000000000000.png").unlink()
        loaded = batches(WindowSet([stills], PREPROCESS), [[Draw(0, 0, 0, HEIGHT)]], workers=workers, pin=False)
        with pytest.raises(JmposeError, match=r"000000000000\.png: the image cannot be read"):
            next(loaded)


class TestOrder:
    def test_weights_show_people_more_or_less_often(self):
        order = Order((10, 20, 7, 0), (2.0, 0.5, 1.0, 3.0), seed=3)
        assert len(order) == 20 + 10 + 7
        for epoch in range(3):
            counts = np.bincount(order.epoch(epoch), minlength=37)
            assert (counts[:10] == 2).all()
            assert sorted(counts[10:30].tolist()) == [0] * 10 + [1] * 10
            assert (counts[30:] == 1).all()

    def test_broken_weights_show_some_people_once_more(self):
        counts = np.bincount(Order((8,), (2.25,), seed=0).epoch(0))
        assert sorted(counts.tolist()) == [2] * 6 + [3] * 2

    def test_half_the_people_are_others_in_every_epoch(self):
        order = Order((40,), (0.5,), seed=0)
        assert set(order.epoch(0).tolist()) != set(order.epoch(1).tolist())

    def test_epochs_differ_and_seeds_repeat(self):
        a, again, b = Order((50,), (1.0,), 1), Order((50,), (1.0,), 1), Order((50,), (1.0,), 2)
        assert a.epoch(0).tolist() == again.epoch(0).tolist()
        assert a.epoch(0).tolist() != a.epoch(1).tolist()
        assert a.epoch(0).tolist() != b.epoch(0).tolist()
        assert a.epoch(0).tolist() != sorted(a.epoch(0).tolist())

    @given(st.lists(st.tuples(st.integers(0, 30), st.floats(0.01, 4)), min_size=1, max_size=4), st.integers(0, 5))
    @settings(max_examples=50, deadline=None)
    def test_the_length_is_that_of_the_epoch(self, parts, epoch):
        sizes, weights = zip(*parts, strict=True)
        order = Order(sizes, weights, seed=0)
        samples = order.epoch(epoch)
        assert len(samples) == len(order)
        assert samples.dtype == np.int64
        assert set(samples.tolist()) <= set(range(sum(sizes)))


class TestEpochSampler:
    SAMPLES = np.random.default_rng(0).permutation(43)

    def sampler(self, *, batch, rank=0, world=1, first=0):
        return EpochSampler(self.SAMPLES, epoch=6, batch=batch, rank=rank, world=world, first=first, height=HEIGHT)

    def test_batches_follow_the_order_and_the_rest_is_dropped(self):
        drawn = list(self.sampler(batch=8))
        assert len(drawn) == len(self.sampler(batch=8)) == 5
        flat = [draw for draws in drawn for draw in draws]
        assert [draw.place for draw in flat] == list(range(40))
        assert [draw.sample for draw in flat] == self.SAMPLES[:40].tolist()
        assert {(draw.epoch, draw.height) for draw in flat} == {(6, HEIGHT)}

    @pytest.mark.parametrize("world", [2, 3])
    def test_ranks_together_see_the_batches_of_one_process(self, world):
        whole = list(self.sampler(batch=4 * world))
        ranks = [list(self.sampler(batch=4, rank=rank, world=world)) for rank in range(world)]
        assert {len(drawn) for drawn in ranks} == {len(whole)}
        for number, draws in enumerate(whole):
            parts = [draw for drawn in ranks for draw in drawn[number]]
            assert len(parts) == len(draws)
            assert set(parts) == set(draws)

    def test_first_skips_the_batches_that_are_done(self):
        for rank in range(2):
            every = list(self.sampler(batch=4, rank=rank, world=2))
            for first in range(6):
                later = self.sampler(batch=4, rank=rank, world=2, first=first)
                assert list(later) == every[first:]
                assert len(later) == 5 - first

    def test_nothing_is_left_after_the_end(self):
        assert len(self.sampler(batch=8, first=9)) == 0
        assert list(self.sampler(batch=8, first=9)) == []
        assert list(self.sampler(batch=44)) == []
