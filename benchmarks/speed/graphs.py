"""Processor time of the parts of pose models a person: by torch, ONNX Runtime, in int8, and OpenVINO where installed.

`python benchmarks/speed/graphs.py nano small [--rounds 15]`

One thread, calls of four people, in turns in one process: medians in milliseconds a person, which other work on the
machine disturbs little. `encode` is the backbone for a person and frame, `fuse` the temporal part with laying the maps
of the window and finding joints; the last column is `fuse` beside `encode`. Inputs are noise and look like pictures to
no network: cost does not depend on them. int8 has the `fuse` of ONNX Runtime.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from importlib.util import find_spec

import numpy as np
import onnxruntime
import torch

from jmpose_cli.known_weights import choose_model
from jmpose_cli.onnx_graphs import QUANTISED, description_of, read_graphs
from jmpose_cli.pose.onnx_export import GraphParts, made_from, pose_graphs

Inputs = dict[str, np.ndarray]
Call = Callable[[], object]


def inputs_of(part: GraphParts) -> Inputs:
    """Noise of the shapes that a graph takes; boxes change by a few pixels from frame to frame."""
    random = np.random.default_rng(0)
    inputs: Inputs = {}
    for name, example in part.inputs.items():
        shape = tuple(example.shape)
        if name == "exists":
            inputs[name] = np.ones(shape, bool)
        elif name == "to_image":
            change = np.array([[0.05, 0, 4], [0, 0.05, 4]])
            inputs[name] = (np.eye(2, 3) + change * random.uniform(0, 1, shape)).astype(np.float32)
        else:
            inputs[name] = random.uniform(0, 255 if name == "crops" else 1, shape).astype(np.float32)
    return inputs


def by_torch(part: GraphParts, inputs: Inputs) -> Call:
    """Return a call of the module."""
    tensors = [torch.from_numpy(each) for each in inputs.values()]

    def call() -> None:
        with torch.inference_mode():
            part.module(*tensors)

    return call


def by_openvino(path: str, inputs: Inputs) -> Call:
    """Return a call of OpenVINO on one thread, in float32."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda: request.infer(inputs, share_inputs=True)


def calls_of(name: str) -> tuple[dict[tuple[str, str], Call], int]:
    """Return what can be called of a shipped model, by engine and part, and the people in a call."""
    weights = choose_model(name).path
    graphs = read_graphs(description_of(weights), made_from=made_from(weights, None))
    made = pose_graphs(weights, temporal=None, replace_temporal=False, folded=True)
    made.parts["encode"].module.model.backbone.to(memory_format=torch.channels_last)
    calls: dict[tuple[str, str], Call] = {}
    for part in ("encode", "fuse"):
        inputs = inputs_of(made.parts[part])
        session = graphs.session(part)
        calls["torch", part] = by_torch(made.parts[part], inputs)
        calls["onnx", part] = lambda session=session, inputs=inputs: session.run(inputs)
        if part == "encode" and graphs.has(QUANTISED):
            quantised = graphs.session(QUANTISED)
            calls["onnx int8", part] = lambda session=quantised, inputs=inputs: session.run(inputs)
        if find_spec("openvino"):
            calls["openvino", part] = by_openvino(str(graphs.folder / graphs.facts["files"][part][0]), inputs)
    return calls, made.people


def main() -> None:
    """Print a line a model and engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="shipped ones")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    versions = f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {versions}, ms of one core a person\n")
    print("| model | engine | encode | fuse | both | fuse : encode |\n|---|---|---|---|---|---|")
    for name in args.models:
        calls, people = calls_of(name)
        spent: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
        for _ in range(args.rounds + 2):
            for key, call in calls.items():
                started = time.process_time()
                call()
                spent[key].append(time.process_time() - started)
        cost = {key: statistics.median(times[2:]) / people * 1e3 for key, times in spent.items()}
        for engine in dict.fromkeys(engine for engine, _ in cost):
            encode, fuse = cost[engine, "encode"], cost.get((engine, "fuse"), cost["onnx", "fuse"])
            print(f"| {name} | {engine} | {encode:.2f} | {fuse:.2f} | {encode + fuse:.2f} | {fuse / encode:.2f} |")


if __name__ == "__main__":
    main()
