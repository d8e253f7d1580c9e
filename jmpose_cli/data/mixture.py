"""Several sources as one set of windows, in an order that depends on seed and epoch only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from jmpose.config import Preprocess
from jmpose_cli.data.augment import PLAIN, Augmentation, Window, make_window
from jmpose_cli.data.samples import Choice, RawWindow, Source
from jmpose_cli.errors import JmposeError
from jmpose_cli.values import Ids

_ALONE = Choice((0,))  # the key frame


@dataclass(frozen=True)
class Batch:
    """Windows stacked for the network.

    Attributes:
        crops: `[B, T, H, W, 3]` uint8.
        exists: `[B, T]` bool.
        xy: `[B, T, K, 2]` crop pixels.
        weight: `[B, T, K]`.
        present: `[B, T, K]`.
        to_image: `[B, 2, 3]`.
        swap: `[B, T, 2]`.
        taught: `[B, K, h, w]`, or `[B, 0, h, w]` without a teacher.
        samples: `[B]` numbers of the samples, to name the ones that break something.
    """

    crops: Tensor
    exists: Tensor
    xy: Tensor
    weight: Tensor
    present: Tensor
    to_image: Tensor
    swap: Tensor
    taught: Tensor
    samples: Tensor

    def __len__(self) -> int:
        return len(self.crops)

    def pin_memory(self) -> "Batch":
        """Move all of it into page-locked memory; a loader calls this."""
        return Batch(**{name: value.pin_memory() for name, value in vars(self).items()})

    def to(self, device: torch.device) -> "Batch":
        """Move all of it."""
        return Batch(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})


def stack(windows: Sequence[tuple[Window, int]]) -> Batch:
    """Collate what a `WindowSet` gives."""
    columns = {
        name: torch.from_numpy(np.stack([getattr(window, name) for window, _ in windows]))
        for name in ("crops", "exists", "xy", "weight", "present", "to_image", "swap", "taught")
    }
    return Batch(**columns, samples=torch.tensor([sample for _, sample in windows]))


@dataclass(frozen=True)
class Draw:
    """One sample of one epoch.

    Attributes:
        epoch: Number of the epoch, part of the sample's seed.
        place: Place in the epoch's order, the other part.
        sample: Number of the sample in the mixture.
        height: Height of the crop.
    """

    epoch: int
    place: int
    sample: int
    height: int


class WindowSet(Dataset[tuple[Window, int]]):
    """Windows of a mixture of sources; what a draw gives depends on the draw and the seed alone.

    Args:
        sources: Where people come from.
        preprocess: The model's inputs.
        settings: What is varied.
        reach: In training, support frames are drawn from this many frames before and after; 0 takes the model's
            own offsets.
        support: False leaves the support frames out: windows of one frame.
        taught: Whether the heatmaps of a teacher are wanted.
        seed: Of all chance.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        preprocess: Preprocess,
        *,
        settings: Augmentation = PLAIN,
        reach: int = 0,
        support: bool = True,
        taught: bool = False,
        seed: int = 0,
    ) -> None:
        self.sources = list(sources)
        self._preprocess, self._settings, self._reach, self._seed = preprocess, settings, reach, seed
        self._support, self._taught = support, taught
        self._starts = np.concatenate([[0], np.cumsum([len(source) for source in self.sources])])
        if not self._starts[-1]:
            raise JmposeError(
                f"no usable people in {', '.join(source.name for source in self.sources) or 'no source'}",
                hint="people need a box and at least 3 known joints",
            )
        side = max(preprocess.key_index, preprocess.frames - 1 - preprocess.key_index)
        if support and 0 < reach < side:
            raise JmposeError(
                f"support frames within {reach} of the key frame: the model takes {side} on a side",
                hint=f"set data.reach to {side} or more, or to 0 for the model's own offsets",
            )

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, draw: Draw) -> tuple[Window, int]:
        rng = np.random.default_rng((self._seed, draw.epoch, draw.place))
        choice = self._choose(rng)
        raw = self._read(draw.sample, choice)

        def other() -> RawWindow:
            return self._read(int(rng.integers(len(self))), _ALONE)

        window = make_window(
            rng,
            raw,
            self._preprocess,
            offsets=choice.offsets,
            settings=self._settings,
            height=draw.height,
            other=other,
            taught=self._taught,
        )
        return window, draw.sample

    def name_of(self, sample: int) -> str:
        """Say where a sample comes from."""
        return self._read(sample, _ALONE).name

    def source_of(self, sample: int) -> tuple[int, int]:
        """Number of the source and of the person in it."""
        number = int(np.searchsorted(self._starts, sample, side="right")) - 1
        return number, sample - int(self._starts[number])

    def _read(self, sample: int, choice: Choice) -> RawWindow:
        number, index = self.source_of(sample)
        return self.sources[number].read(index, choice)

    def _choose(self, rng: np.random.Generator) -> Choice:
        """The model's offsets, or in training random ones: as many on each side, all different."""
        offsets = self._preprocess.window_offsets
        if not self._support:
            return _ALONE
        if not self._reach:
            return Choice(offsets)
        key = self._preprocess.key_index
        before = sorted(-int(o) for o in rng.choice(np.arange(1, self._reach + 1), size=key, replace=False))
        after = sorted(int(o) for o in rng.choice(np.arange(1, self._reach + 1), len(offsets) - 1 - key, replace=False))
        return Choice((*before, 0, *after))


@dataclass(frozen=True)
class Order:
    """The samples of every epoch, the same on every machine and for every number of workers.

    Attributes:
        sizes: People in each source.
        weights: Share of each source in an epoch, in relation to its size: 2 shows its people twice, 0.5 half of them.
        seed: Of the order.
    """

    sizes: tuple[int, ...]
    weights: tuple[float, ...]
    seed: int

    def __len__(self) -> int:
        """Samples in an epoch."""
        return sum(round(size * weight) for size, weight in zip(self.sizes, self.weights, strict=True))

    def epoch(self, number: int) -> Ids:
        """Return the samples of one epoch, shuffled."""
        rng = np.random.default_rng((self.seed, 1 << 20, number))
        start, parts = 0, []
        for size, weight in zip(self.sizes, self.weights, strict=True):
            whole, rest = divmod(round(size * weight), max(size, 1))
            parts += [start + np.arange(size)] * whole + [start + rng.permutation(size)[:rest]]
            start += size
        return np.asarray(rng.permutation(np.concatenate(parts)), np.int64)


class EpochSampler(Sampler[list[Draw]]):
    """Batches of draws of one epoch for one of several processes, from a given batch on.

    All processes together take the batches that one process with the whole batch would take.

    Args:
        samples: Of the epoch, in order.
        epoch: Its number.
        batch: Windows in a batch of one process.
        rank: Number of this process.
        world: Number of processes.
        first: Batches that are done already.
        height: Height of the crops.
    """

    def __init__(self, samples: Ids, *, epoch: int, batch: int, rank: int, world: int, first: int, height: int) -> None:
        self._samples, self._epoch, self._batch = samples, epoch, batch
        self._rank, self._world, self._first, self._height = rank, world, first, height

    def __len__(self) -> int:
        return max(len(self._samples) // (self._batch * self._world) - self._first, 0)

    def __iter__(self) -> Iterator[list[Draw]]:
        whole = self._batch * self._world
        for number in range(self._first, self._first + len(self)):
            places = range(number * whole + self._rank, (number + 1) * whole, self._world)
            yield [Draw(self._epoch, place, int(self._samples[place]), self._height) for place in places]
