import pytest
import torch

from jmpose_cli.errors import JmposeError
from jmpose_cli.training.checkpoint import Checkpoints, Position
from jmpose_cli.training.config import TrainConfig
from jmpose_cli.training.precision import Arithmetic

CONFIG = TrainConfig.model_validate(
    {
        "model": "nano",
        "init": "nano",
        "data": {"train": [{"kind": "coco", "path": "a.json"}], "val": [{"kind": "coco", "path": "a.json"}]},
    }
)


def without(key: str):
    return lambda state: {name: value for name, value in state.items() if name != key}


def changed(**values: object):
    return lambda state: state | values


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: [],
        lambda state: {},
        without("random"),
        without("settings"),
        without("position"),
        without("model"),
        changed(position={"epoch": "1"}),
        changed(position={"epoch": -1}),
        changed(position={"other": 1}),
        changed(position={"best": "x"}),
        changed(random={"cpu": 5, "cuda": []}),
        changed(settings=5),
        changed(model={}),
        changed(model=None),
        changed(model={"weight": torch.zeros(1).expand(2, 2), "bias": torch.zeros(2)}),
    ],
)
def test_a_whole_checkpoint_with_something_else_in_it_is_damaged(tmp_path, spoil):
    checkpoints = Checkpoints(tmp_path, CONFIG, Arithmetic("fp32"), checksums={}, keep=3)
    path = checkpoints.save(Position(1, 2, 3), {"model": torch.nn.Linear(2, 2)})
    assert checkpoints.restore({"model": torch.nn.Linear(2, 2)}) == Position(1, 2, 3)
    torch.save(spoil(torch.load(path, weights_only=True)), path)
    with pytest.raises(JmposeError, match="the checkpoint is damaged") as caught:
        checkpoints.restore({"model": torch.nn.Linear(2, 2)})
    assert "the one before" in caught.value.hint


def test_a_folder_that_cannot_be_is_one_error(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run", CONFIG, Arithmetic("fp32"), checksums={}, keep=3)
    (tmp_path / "run").write_text("in its place")
    with pytest.raises(JmposeError, match=r"cannot write .*step-000000003-00001\.pt"):
        checkpoints.save(Position(1, 2, 3), {"model": torch.nn.Linear(2, 2)})
