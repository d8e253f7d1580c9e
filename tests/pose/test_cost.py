import pytest
import torch

from jmpose_cli.errors import JmposeError
from jmpose_cli.pose import cost as module
from jmpose_cli.pose.cost import cost_of, require_memory
from tests.jmpose.tiny_model import tiny_model


@pytest.fixture(scope="module")
def tiny():
    return tiny_model().eval()


def test_memory_counts_what_is_alive_at_the_same_time():
    with module._PeakMemory() as memory:
        first = torch.zeros(1000)  # 4 kB
        second = first + 1  # 8 kB
        view = second[:10]  # the same memory
        del first
        third = torch.zeros(500) + view.sum()  # 4 + 2 + 2 kB
        del third
    assert memory.peak_bytes == pytest.approx(8000, abs=100)


def test_memory_of_a_call_is_that_of_its_tensors(tiny):
    """The input is in use beside the first maps of the backbone; halves take less."""
    one, four, half = (
        cost_of(tiny, windows=n, dtype=d) for n, d in ((1, torch.float32), (4, torch.float32), (4, torch.half))
    )
    inputs, first_maps = 3 * 3 * 64 * 32 * 4, 3 * 8 * 16 * 8 * 4
    assert inputs + first_maps < one.peak_bytes < 10 * (inputs + first_maps)
    assert four.peak_bytes == pytest.approx(4 * one.peak_bytes, rel=0.1)
    assert half.peak_bytes < 0.95 * four.peak_bytes  # sampling is done in float32 all the same


def test_parameters_and_multiply_adds(tiny):
    cost = cost_of(tiny)
    assert cost.parameters == sum(p.numel() for p in tiny.parameters())
    assert cost.weights_bytes >= 4 * cost.parameters
    # A 4x4 convolution of stride 4, a 3x3 one and a 1x1 one, on maps of 16x8.
    assert cost.picture_macs == 16 * 8 * (3 * 8 * 16 + 8 * 8 * 9 + 8 * 17) and cost.macs > 3 * cost.picture_macs
    assert cost_of(tiny, windows=2).macs == pytest.approx(2 * cost.macs, rel=1e-3)


@pytest.fixture
def gpu(monkeypatch):
    """A CUDA device that says what it has free."""

    def with_free(size: int) -> torch.device:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (size, 8_000_000_000))
        return torch.device("cuda:0")

    return with_free


def test_a_model_that_fits_is_let_through(tiny, gpu):
    require_memory(tiny, gpu(4_000_000_000), windows=16, dtype=torch.float32, flip_test=False)
    require_memory(tiny, torch.device("cpu"), windows=10**6, dtype=torch.float32, flip_test=False)


def test_a_batch_that_does_not_fit_names_the_one_that_does(tiny, gpu):
    little = gpu(700_000_000)
    message = r"tiny needs about 1\.0 GB .* 1024 windows .* cuda:0 has 0\.7 GB free of 8\.0 GB"
    with pytest.raises(JmposeError, match=message) as caught:
        require_memory(tiny, little, windows=1024, dtype=torch.float32, flip_test=True)
    most = int(caught.value.hint.removeprefix("use --batch "))
    assert 1 <= most < 1024
    require_memory(tiny, little, windows=most, dtype=torch.float32, flip_test=True)


def test_a_model_that_does_not_fit_at_all_names_smaller_ones(tiny, gpu, monkeypatch):
    huge = module.Cost(900_000_000, 0, 0, 3_600_000_000, 1_000_000_000)
    monkeypatch.setattr(module, "cost_of", lambda *_, **__: huge)
    with pytest.raises(JmposeError, match=r"needs about 5\.4 GB") as caught:
        require_memory(tiny, gpu(2_000_000_000), windows=1, dtype=torch.float32, flip_test=False)
    assert caught.value.hint == "a smaller model fits: vitpose-plus-b, vitpose-b-multi, vitpose-b, or --device cpu"


@pytest.mark.gpu
def test_the_estimate_is_near_what_a_gpu_takes(tiny):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    model, windows = tiny.cuda(), torch.zeros(16, 3, 3, 64, 32, device="cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() - windows.nbytes
    with torch.inference_mode():
        model(windows)
    assert torch.cuda.max_memory_allocated() - before == pytest.approx(cost_of(tiny, windows=16).peak_bytes, rel=0.35)
