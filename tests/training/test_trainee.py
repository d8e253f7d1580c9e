"""What the temporal part is shown in training."""

import pytest
import torch

from jmpose.keypoints import COCO17
from jmpose_cli.device import convolution_order
from jmpose_cli.training.prepare import prepare
from jmpose_cli.training.trainee import Trainee, mix_sides, network_input
from tests.jmpose.tiny_model import stir, tiny_config, tiny_model


def test_arms_and_legs_are_mixed_apart():
    heatmaps = torch.arange(17.0).view(1, 1, 17, 1, 1).expand(1, 3, 17, 2, 2)
    share = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 0.25]]])
    plain, arms, legs = mix_sides(heatmaps, share, COCO17)[0, :, :, 0, 0]
    assert plain.tolist() == list(range(17))
    assert arms.tolist() == [0, 1, 2, 3, 4, 6, 5, 8, 7, 10, 9, 11, 12, 13, 14, 15, 16]
    assert legs.tolist() == [*range(11), 11.25, 11.75, 13.25, 13.75, 15.25, 15.75]


def test_the_temporal_part_alone_sees_mixed_sides():
    torch.manual_seed(0)
    model = stir(tiny_model(tiny_config(io_estimator=None)))
    trainee = Trainee(model, temporal=True, initial_loss=True).eval()
    crops = torch.randint(0, 256, (2, 3, 64, 32, 3), dtype=torch.uint8)
    xy, known = torch.rand(2, 3, 17, 2) * 32, torch.ones(2, 3, 17)
    exists = torch.ones(2, 3, dtype=torch.bool)
    terms = [
        {name: float(value.detach()) for name, value in trainee(crops, exists, xy, known, known, swap).items()}
        for swap in (torch.zeros(2, 3, 2), torch.ones(2, 3, 2))
    ]
    assert terms[0]["heatmap"] != terms[1]["heatmap"]
    assert terms[0]["initial"] == terms[1]["initial"] and terms[0]["initial_key"] == terms[1]["initial_key"]


def test_a_backbone_learns_from_a_teacher_beside_the_labels():
    torch.manual_seed(0)
    model = tiny_model(tiny_config(io_estimator=None))
    crops, exists = torch.randint(0, 256, (2, 1, 64, 32, 3), dtype=torch.uint8), torch.ones(2, 1, dtype=torch.bool)
    xy, known, swap = torch.rand(2, 1, 17, 2) * 32, torch.ones(2, 1, 17), torch.zeros(2, 1, 2)
    taught = torch.rand(2, 17, 16, 8)
    terms = {
        weight: Trainee(model, temporal=False, initial_loss=True, distil=weight)(
            crops, exists, xy, known, known, swap, taught
        )
        for weight in (0.0, 0.5)
    }
    assert "taught" not in terms[0.0]
    assert terms[0.5]["total"].item() == pytest.approx(
        terms[0.0]["total"].item() + 0.5 * terms[0.5]["taught"].item(), rel=1e-4
    )


@pytest.mark.parametrize("temporal", [False, True])
def test_sides_are_added_to_what_is_minimised(temporal):
    torch.manual_seed(0)
    model = stir(tiny_model(tiny_config(io_estimator=None)))
    frames = 3 if temporal else 1
    crops = torch.randint(0, 256, (2, frames, 64, 32, 3), dtype=torch.uint8)
    exists, swap = torch.ones(2, frames, dtype=torch.bool), torch.zeros(2, frames, 2)
    xy, known = torch.rand(2, frames, 17, 2) * 32, torch.ones(2, frames, 17)

    def terms(sides, *, initial_loss):
        trainee = Trainee(model, temporal=temporal, initial_loss=initial_loss, sides=sides).eval()
        losses = trainee(crops, exists, xy, known, known, swap)
        return {name: value.item() for name, value in losses.items()}

    for initial_loss in (False, True):
        without, with_sides = (terms(sides, initial_loss=initial_loss) for sides in (0.0, 0.5))
        assert "sides" not in without and with_sides["sides"] > 0.1
        assert with_sides["total"] == pytest.approx(without["total"] + 0.5 * with_sides["sides"], rel=1e-4)
    final_alone, all_frames = (terms(1.0, initial_loss=each)["sides"] for each in (False, True))
    assert (all_frames > final_alone) == temporal


@pytest.mark.parametrize(("device", "order"), [("cpu", torch.channels_last), ("meta", torch.contiguous_format)])
def test_convolutions_get_channels_last_on_the_cpu_alone(device, order):
    """torch's `meta` device, which computes no values, stands for those that are no CPU."""
    crops = torch.zeros(2, 3, 64, 32, 3, dtype=torch.uint8, device=device)
    windows = network_input(crops, tiny_model())
    assert convolution_order(crops.device) == order
    assert windows.shape == (2, 3, 3, 64, 32) and windows.flatten(0, 1).is_contiguous(memory_format=order)


def test_cuda_gets_maps_channel_by_channel():
    assert convolution_order(torch.device("cuda:0")) == torch.contiguous_format


def test_a_prepared_backbone_has_the_order_of_its_inputs(settings, tmp_path):
    run = prepare(settings(), tmp_path / "run", resume=False)
    kernels = [p for p in run.model.backbone.parameters() if p.ndim == 4 and 1 not in p.shape[1:]]
    assert kernels and all(p.is_contiguous(memory_format=convolution_order(p.device)) for p in kernels)
    assert not any(p.is_contiguous() for p in kernels)
