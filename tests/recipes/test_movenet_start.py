import base64
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from jmpose.backbones import MoveNetBackbone
from movenet_start import NO_JOINT, layers, take_over
from tfjs_graph import Graph


def write_graph(
    folder: Path, paired: Iterable[tuple[nn.Conv2d, str, str]], *, change: str = ""
) -> dict[str, np.ndarray]:
    """Write a TF.js graph of paired layers with random kernels in half precision; give the kernels."""
    rng = np.random.default_rng(0)
    nodes, entries, blob, kernels = [], [], b"", {}
    for number, (convolution, ending, activation) in enumerate(paired):
        weight = convolution.weight.shape
        rows = 17 if ending == "kpt_heatmap_0/conv2d_5/BiasAdd" else weight[0]
        depthwise = convolution.groups > 1
        shape = [*weight[2:], weight[0], 1] if depthwise else [*weight[2:], weight[1], rows]
        values = {
            "kernel": rng.normal(0, 1, shape).astype(np.float16),
            "bias": rng.normal(0, 1, rows).astype(np.float16),
        }
        kernels[ending] = values["kernel"].astype(np.float32)
        for kind, array in values.items():
            entries.append(
                {
                    "name": f"{kind}{number}",
                    "shape": list(array.shape),
                    "dtype": "float32",
                    "quantization": {"dtype": "float16"},
                }
            )
            blob += array.tobytes()
        fused = ["BiasAdd", *([activation] if activation else [])]
        if change == ending:
            fused = ["BiasAdd", "Elu"]
        encoded = [base64.b64encode(op.encode()).decode() for op in fused]
        nodes.append(
            {
                "name": f"start/{ending.lstrip('/')}" if ending.startswith("/") else f"start/{ending}",
                "input": ["x", f"kernel{number}", f"bias{number}"],
                "attr": {"fused_ops": {"list": {"s": encoded}}},
            }
        )
    (folder / "graph.bin").write_bytes(blob)
    document = {
        "modelTopology": {"node": nodes},
        "weightsManifest": [{"paths": ["graph.bin"], "weights": entries}],
    }
    (folder / "graph.json").write_text(json.dumps(document))
    return kernels


def test_every_convolution_takes_its_kernel(tmp_path: Path) -> None:
    backbone = MoveNetBackbone(0.25, joints=19)
    kernels = write_graph(tmp_path, layers(backbone))
    take_over(layers(backbone), Graph(tmp_path / "graph.json"))
    named = [convolution for convolution, _, _ in layers(backbone)]
    assert {*named} == {layer for layer in backbone.modules() if isinstance(layer, nn.Conv2d)}
    for convolution, ending, _ in layers(backbone):
        kernel = torch.from_numpy(kernels[ending])
        wanted = kernel.permute(2, 3, 0, 1) if convolution.groups > 1 else kernel.permute(3, 2, 0, 1)
        assert torch.equal(convolution.weight[: len(wanted)], wanted), ending


def test_joints_that_movenet_does_not_know_start_empty(tmp_path: Path) -> None:
    backbone = MoveNetBackbone(0.25, joints=19)
    write_graph(tmp_path, layers(backbone))
    take_over(layers(backbone), Graph(tmp_path / "graph.json"))
    last = backbone.heatmap_head[3]
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    assert last.bias[17:].tolist() == [NO_JOINT, NO_JOINT] and (last.bias[:17] != NO_JOINT).all()


def test_another_activation_is_refused(tmp_path: Path) -> None:
    backbone = MoveNetBackbone(0.25, joints=19)
    write_graph(tmp_path, layers(backbone), change="model_1/re_lu/Relu")
    with pytest.raises(ValueError, match=r"re_lu/Relu has shape .* and activation 'Elu'"):
        take_over(layers(backbone), Graph(tmp_path / "graph.json"))
