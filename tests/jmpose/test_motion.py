import pytest
import torch
from torch import Tensor

from jmpose.motion import FeatureDifference, KeyFrameFeature, MotionEncoder


def readable_encoder(frames: int, key: int) -> FeatureDifference:
    """An encoder of one channel whose 1x1 convolutions weigh their inputs by powers of ten."""
    encoder = FeatureDifference([1], 1, frames=frames, key=key, blocks=0, groups=1).eval()
    stage = encoder.stages[0]
    with torch.no_grad():
        for part in (stage.left[0], stage.right[0], stage.fuse):
            convolution, norm, _ = part
            powers = torch.arange(convolution.in_channels, dtype=torch.float32)
            convolution.weight.copy_((10**powers).view(1, -1, 1, 1))
            norm.eps = 0.0
    return encoder


def flow(encoder: MotionEncoder, values: list[float], exists: list[bool]) -> float:
    features = torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1, 1)
    return encoder([features], torch.tensor([exists])).item()


def test_differences_are_in_time_order_and_split_at_the_key_frame() -> None:
    # Differences 1, 2 | 3, 4: left 1 + 10*2, right 3 + 10*4, flow left + 10*right.
    assert flow(readable_encoder(5, 2), [0, 1, 3, 6, 10], [True] * 5) == 21 + 430
    assert flow(readable_encoder(3, 1), [0, 2, 5], [True] * 3) == 2 + 30
    assert flow(readable_encoder(3, 1), [5, 2, 0], [True] * 3) == 0  # only its positive part passes the ReLU


@pytest.mark.parametrize(
    ("exists", "expected"),
    [
        ([False, True, True, True, True], 20 + 430),
        ([True, True, True, True, False], 21 + 30),
        ([False, False, True, True, True], 430),
        ([False, False, True, False, False], 0),
    ],
)
def test_pairs_with_a_missing_frame_have_no_flow(exists: list[bool], expected: float) -> None:
    assert flow(readable_encoder(5, 2), [0, 1, 3, 6, 10], exists) == expected


def random_stages(channels: list[int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, c, 8, 6, generator=generator) for c in channels]


def test_several_stages_are_aligned_and_summed() -> None:
    encoder = FeatureDifference([4, 6], 8, frames=3, key=1, blocks=1, groups=2).eval()
    stages, exists = random_stages([4, 6]), torch.ones(2, 3, dtype=torch.bool)
    total = encoder(stages, exists)
    assert total.shape == (2, 8, 8, 6)
    alone = []
    for i in range(2):
        sampled = encoder.sampling[i](stages[-1][:, 1])
        only = FeatureDifference([stages[i].shape[2]], 8, frames=3, key=1, blocks=1, groups=2).eval()
        only.stages[0].load_state_dict(encoder.stages[i].state_dict())
        alone.append(encoder.align[i](only([stages[i]], exists), *sampled))
    assert torch.allclose(total, alone[0] + alone[1])
    total.square().mean().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_wrong_number_of_stages_is_an_error() -> None:
    encoder = FeatureDifference([4, 6], 8, frames=3, key=1, blocks=1, groups=2)
    with pytest.raises(ValueError, match="zip"):
        encoder(random_stages([4]), torch.ones(2, 3, dtype=torch.bool))


def test_without_motion_only_the_key_frame_counts() -> None:
    encoder = KeyFrameFeature(4, 8, key=1, blocks=1).eval()
    (features,) = random_stages([4])
    other = features.clone()
    other[:, [0, 2]] += 1
    exists = torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(encoder([features], exists), encoder([other], exists))
    other[:, 1] += 1
    assert not torch.equal(encoder([features], exists), encoder([other], exists))


def test_an_encoder_must_say_how() -> None:
    class Other(MotionEncoder):
        pass

    with pytest.raises(NotImplementedError, match="Other must define look"):
        Other()([], torch.ones(1, 3, dtype=torch.bool))
