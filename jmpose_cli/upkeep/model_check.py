"""`jmpose models check`: models run on the example video, against themselves and against what was recorded.

A record lies beside the weights of every shipped model. `jmpose models check --record` makes them anew, which is to be
done whenever weights are.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jmpose.files import file_sha256
from jmpose_cli import __version__
from jmpose_cli.choices import Engine, Precision
from jmpose_cli.console import Reporter
from jmpose_cli.device import Device, choose_device, cpu_has_int8
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import write_whole
from jmpose_cli.foreign.graph import graph_sha256
from jmpose_cli.onnx_graphs import QUANTISED_MODELS
from jmpose_cli.upkeep.graphs import graph_named, read_graph
from jmpose_cli.values import Detections, Float, FrameBatch, FramePoses, TrackedFrame
from jmpose_cli.zoo.catalogue import Entry, Kind, Shipped
from jmpose_cli.zoo.graph_files import graph_name
from jmpose_cli.zoo.names import named_entry
from jmpose_cli.zoo.store import SHIPPED, find_entry, known_models, location, read_record, state, verify

if TYPE_CHECKING:
    from jmpose_cli.people.detect import PersonDetector
    from jmpose_cli.pose.estimator import PoseEstimator
    from jmpose_cli.pose.windows import Windows

Doubles = NDArray[np.float64]
_INSTALLED_CLIP = Path(__file__).parents[1] / "examples" / "street.mp4"
EXAMPLE = _INSTALLED_CLIP if _INSTALLED_CLIP.is_file() else Path(__file__).parents[2] / "examples" / "street.mp4"
_FRAMES = 5
# Boxes around three people of the example, wide enough for all these frames, pixels.
_PEOPLE_XYXY = ((290.0, 172.0, 412.0, 416.0), (496.0, 186.0, 552.0, 354.0), (680.0, 166.0, 770.0, 404.0))
_MIDDLE = slice(2, 3)  # the key frame whose whole window is there

# Kernels round differently on other machines: a joint may move by so much, and scores differ by so much.
JOINT_TOLERANCE_PX = 0.5
SCORE_TOLERANCE = 0.02
# int8 rounds much more: measured of `small`, on people of 100 to 170 px, are .63 px, 2.62 px and .048. Single joints
# that two places fit jump farther.
INT8_TOLERANCES = {"joints_median_px": 1.0, "joints_p95_px": 4.0, "scores_median": 0.1}
COMPANY_TOLERANCE_PX = 1e-3
BOX_IOU = 0.95
LOOKS_COSINE = 0.999
_SURE = 0.2  # joints with lower scores have no place to speak of
_SURE_BOX = 0.4
_DETECTED_FROM = 0.25


def check_models(names: Sequence[str], *, device: str, record: bool, reporter: Reporter) -> int:
    """Check models one after the other.

    Args:
        names: Names; none for all that are shipped.
        device: torch device name, or `auto`.
        record: Keep the outputs instead of comparing them.
        reporter: Says what was found.

    Returns:
        0 when all are right, 1 when some are not.

    Raises:
        JmposeError: The device is absent.
    """
    chosen = choose_device(device, precision="fp32")
    failed = 0
    for name in names or [e.name for e in known_models().values() if isinstance(e.place, Shipped)]:
        try:
            graph = None if find_entry(name) else graph_named(name)
            if graph is not None:
                findings = _check_graph(graph, chosen, record=record)
            else:
                findings = _check(named_entry(name, None), chosen, record=record)
        except JmposeError as error:
            failed += 1
            reporter.failure(name, error)
            continue
        for finding in findings:
            reporter.header({name: finding})
    return 1 if failed else 0


def _check(entry: Entry, device: "Device", *, record: bool) -> list[str]:
    if state(entry) in ("available", "by hand"):
        raise JmposeError(f"{entry.name} is not on this machine", hint=f"jmpose models pull {entry.name}")
    is_shipped = isinstance(entry.place, Shipped)
    if record and not is_shipped:
        raise JmposeError(f"--record {entry.name}: not shipped", hint="records are kept of shipped models only")
    findings = [] if record else _checksums(entry)
    if entry.kind == "reid":
        return findings + _check_reid(entry, record=record)
    run = _run_pose if entry.kind == "pose" else _run_detector
    about: Any = {"name": entry.name, "is_slow": not is_shipped}
    outputs, found = run(location(entry), device, "torch", **about)
    findings += found
    if record:
        measured = {"int8": _int8(entry, outputs)} if _runs_int8(entry) else {}
        return [*findings, f"recorded in {_write_record(entry, outputs, **measured)}"]
    if is_shipped:
        recorded = _recorded(entry)
        compare = _compare_joints if entry.kind == "pose" else _compare_boxes
        findings.append(compare(entry.name, outputs, recorded))
        on_onnx, _ = run(location(entry), Device("cpu", "cpu"), "onnx", **about)
        findings.append(f"its ONNX graphs on the CPU: {compare(entry.name, on_onnx, recorded)}")
        if _runs_int8(entry):
            findings.append(f"in int8: {_compare_int8(entry.name, _int8(entry, recorded))}")
        elif entry.name in QUANTISED_MODELS:
            findings.append("in int8: not checked, this processor has no arithmetic for it")
    return findings


def _runs_int8(entry: Entry) -> bool:
    return entry.name in QUANTISED_MODELS and cpu_has_int8()


def _int8(entry: Entry, wanted: list[Any]) -> dict[str, float]:
    """Run a shipped model in int8; return how far it is from what its weights give, in pixels and scores."""
    outputs, _ = _run_pose(
        location(entry), Device("cpu", "cpu"), "onnx", name=f"{entry.name} in int8", is_slow=False, precision="int8"
    )
    moved, scores = _differences(f"{entry.name} in int8", outputs, wanted)
    figures = (np.median(moved), np.percentile(moved, 95), np.median(scores))
    return {what: round(float(figure), 3) for what, figure in zip(INT8_TOLERANCES, figures, strict=True)}


def _compare_int8(name: str, found: dict[str, float]) -> str:
    half, most, scores = (f"{found[what]:g} (allowed {allowed:g})" for what, allowed in INT8_TOLERANCES.items())
    text = f"recorded joints: half within px {half}, 95 % within px {most}; half of the scores within {scores}"
    if any(found[what] > allowed for what, allowed in INT8_TOLERANCES.items()):
        raise JmposeError(
            f"{name} in int8 does not give what its weights give: {text}",
            hint="install jmpose again; for new weights: python models/recipes/onnx_files.py, see docs/engines.md",
        )
    return text


def _check_graph(path: Path, device: "Device", *, record: bool) -> list[str]:
    """Check a graph of another project."""
    if record:
        raise JmposeError(f"--record {path}: not shipped", hint="records are kept of shipped models only")
    kind, engine, needs = read_graph(path)
    run = _run_pose if kind == "pose" else _run_detector
    _, found = run(path, device, "auto", name=graph_name(path), is_slow=True)
    listed = ", ".join(f"{name} {value}" for name, value in needs.items())
    return [f"a {kind} by {engine}, sha256 {graph_sha256(path)[:16]}...; it takes {listed}", *found]


def _recorded(entry: Entry) -> list[Any]:
    recorded: list[Any] | None = read_record(entry.name).get("outputs")
    if recorded is None:
        raise JmposeError(f"{entry.name}: nothing is recorded", hint=f"jmpose models check {entry.name} --record")
    return recorded


def _checksums(entry: Entry) -> list[str]:
    if not isinstance(entry.place, Shipped):
        return [f"{file.name}: sha256 {digest[:16]}... compared with {what}" for file, digest, what in verify(entry)]
    digest, recorded = file_sha256(location(entry)), read_record(entry.name).get("sha256")
    if digest != recorded:
        raise JmposeError(
            f"{location(entry)} has sha256 {digest[:16]}..., recorded is {str(recorded)[:16]}",
            hint=f"install jmpose again; for new weights: jmpose models check {entry.name} --record",
        )
    return [f"{location(entry).name}: sha256 {digest[:16]}... is the recorded one"]


def _run_pose(
    path: Path, device: Device, engine: Engine, *, name: str, is_slow: bool, precision: Precision = "fp32"
) -> tuple[list[Any], list[str]]:
    """Estimate the example's people; return `[frame][person][joint] = (x, y, score)` and what was found."""
    from jmpose_cli.pose.engines import load_estimator
    from jmpose_cli.pose.estimator import EstimatorSettings

    settings = EstimatorSettings(device=device.name, batch=4, precision=precision)
    estimator, _ = load_estimator(path, settings, engine=engine)
    windows = _example_windows(estimator)
    if is_slow:
        windows = windows[_MIDDLE]
    together = estimator.estimate(windows)
    joints = [np.concatenate([poses.xy_image, poses.scores[..., None]], axis=-1) for poses in together]
    if not all(np.isfinite(each).all() for each in joints):
        raise JmposeError(f"{name} gives results that are no numbers", hint="fetch or convert the weights again")
    apart = _company(estimator, windows[len(windows) // 2], together[len(windows) // 2])
    if apart > COMPANY_TOLERANCE_PX:
        raise JmposeError(f"{name}: a person's joints move by {apart:.3g} px in the company of others")
    people = sum(len(poses) for poses in together)
    findings = [
        f"{people} poses of {len(estimator.keypoints)} joints, all finite, on {device.description}",
        f"alone or in company a person's joints differ by {apart:.2g} px at most",
    ]
    return [np.round(each.astype(float), 4).tolist() for each in joints], findings


def _company(estimator: "PoseEstimator", windows: "Windows", together: FramePoses) -> float:
    """Return the largest distance in pixels between joints of people estimated alone and together."""
    alone = [estimator.estimate([_only(windows, person)])[0] for person in range(len(together))]
    return float(np.abs(np.concatenate([poses.xy_image for poses in alone]) - together.xy_image).max())


def _only(windows: "Windows", person: int) -> "Windows":
    """Leave one person in the windows of a key frame."""
    row, people = slice(person, person + 1), windows.key.people
    kept = replace(
        people,
        boxes_xyxy_px=people.boxes_xyxy_px[row],
        scores=people.scores[row],
        track_ids=people.track_ids[row],
        observed=people.observed[row],
    )
    key = replace(windows.key, people=kept)
    return replace(windows, key=key, frame_of=windows.frame_of[row], exists=windows.exists[row])


def _example_frames() -> tuple[FrameBatch, float]:
    """Read the first frames of the example, and its frame rate."""
    from jmpose_cli.video.source import open_video

    if not EXAMPLE.is_file():
        raise JmposeError(f"{EXAMPLE}: the example video is not there", hint="install jmpose again")
    with open_video(EXAMPLE, decoder="pyav", frames=(0, _FRAMES)) as source:
        batches = list(source)
        joined = (np.concatenate([getattr(b, name) for b in batches]) for name in ("frames", "index", "time_s"))
        return FrameBatch(*joined), source.info.fps


def _example_windows(estimator: "PoseEstimator") -> list["Windows"]:
    """Make the windows of the example's people, every frame a key frame."""
    from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker

    frames, fps = _example_frames()
    p = estimator.preprocess
    maker = WindowMaker(
        Spacing.for_video(p.window_offsets, fps=fps, reference_fps=p.reference_fps, max_gap_s=p.max_support_gap_s)
    )
    boxes = np.array(_PEOPLE_XYXY, np.float32)
    count = len(boxes)
    made: list[Windows] = []
    for pixels, index, time_s in zip(frames.frames, frames.index.tolist(), frames.time_s.tolist(), strict=True):
        ids, seen = np.arange(1, count + 1), np.ones(count, bool)
        made += maker.push(SeenFrame(pixels, TrackedFrame(index, time_s, boxes, np.ones(count, np.float32), ids, seen)))
    return [*made, *maker.finish()]


def _compare_joints(name: str, outputs: list[Any], recorded: list[Any]) -> str:
    """Compare joints with recorded ones of the same people and frames."""
    moved, scores = (differences.max(initial=0) for differences in _differences(name, outputs, recorded))
    text = f"recorded joints within {moved:.2g} px (allowed {JOINT_TOLERANCE_PX}), scores within {scores:.2g}"
    if moved > JOINT_TOLERANCE_PX or scores > SCORE_TOLERANCE:
        raise JmposeError(
            f"{name} does not reproduce its recorded results: {text} (allowed {SCORE_TOLERANCE})",
            hint="torch or a kernel computes otherwise here: try --device cpu",
        )
    return f"{text} (allowed {SCORE_TOLERANCE})"


def _differences(name: str, outputs: list[Any], recorded: list[Any]) -> tuple[Doubles, Doubles]:
    """Return by how many pixels the sure joints moved, and by how much all scores differ."""
    found, wanted = (np.asarray(each, np.float64) for each in (outputs, recorded))
    if found.shape != wanted.shape:
        raise JmposeError(
            f"{name} gives joints {list(found.shape)}, recorded are {list(wanted.shape)}",
            hint=f"for new weights: jmpose models check {name} --record",
        )
    moved = np.hypot(*(found - wanted)[..., :2].transpose(3, 0, 1, 2))[wanted[..., 2] > _SURE]
    return moved, np.abs(found - wanted)[..., 2]


def _run_detector(
    path: Path, device: Device, engine: Engine, *, name: str, is_slow: bool
) -> tuple[list[Any], list[str]]:
    """Detect people in the example; return `[frame][person] = (x0, y0, x1, y1, score)` and what was found."""
    frames = _example_frames()[0].frames[:: _FRAMES // 2]
    detector = _load_detector(path, device, engine)
    together = detector.detect(frames)
    for frame, found in zip(frames, together, strict=True):
        (alone,) = detector.detect(frame[None])
        if not np.array_equal(alone.boxes_xyxy_px, found.boxes_xyxy_px):
            raise JmposeError(f"{name}: the boxes of a frame change in the company of others")
    boxes = [_boxes(found) for found in together]
    if not all(np.isfinite(each).all() for each in boxes):
        raise JmposeError(f"{name} gives results that are no numbers", hint="fetch the weights again")
    findings = [
        f"{sum(map(len, boxes))} boxes in {len(frames)} frames, all finite, on {device.description}",
        "alone or in company a frame's boxes are the same",
    ]
    return [np.round(each.astype(float), 3).tolist() for each in boxes], findings


def _check_reid(entry: Entry, *, record: bool) -> list[str]:
    """Describe the example's people by ONNX Runtime, which alone runs the network; record that, or compare it."""
    from jmpose_cli.people.crops import person_crops
    from jmpose_cli.people.reid_nano import ReidNano

    network, boxes = ReidNano(location(entry)), np.array(_PEOPLE_XYXY, np.float32)
    height, width = network.crop_size
    crops = np.concatenate([person_crops(f, boxes, height=height, width=width) for f in _example_frames()[0].frames])
    vectors = network.embed(crops)
    if not np.isfinite(vectors).all():
        raise JmposeError(f"{entry.name} gives results that are no numbers", hint="install jmpose again")
    if not np.array_equal(network.embed(crops[:1]), vectors[:1]):
        raise JmposeError(f"{entry.name}: the looks of a crop change in the company of others")
    findings = [f"{len(vectors)} crops, all finite", "alone or in company a crop's looks are the same"]
    if record:
        outputs = np.round(vectors.astype(float), 4).tolist()
        return [*findings, f"recorded in {_write_record(entry, outputs)}"]
    recorded = np.array(_recorded(entry))
    if recorded.shape != vectors.shape:
        raise JmposeError(
            f"{entry.name} gives vectors {list(vectors.shape)}, recorded are {list(recorded.shape)}",
            hint=f"for new weights: jmpose models check {entry.name} --record",
        )
    least = float((recorded * vectors).sum(1).min())
    text = f"recorded looks within a cosine of {least:.4f} (at least {LOOKS_COSINE})"
    if least < LOOKS_COSINE:
        raise JmposeError(
            f"{entry.name} does not reproduce its recorded results: {text}",
            hint=f"for new weights: jmpose models check {entry.name} --record",
        )
    return [*findings, text]


def _load_detector(path: Path, device: Device, engine: Engine) -> "PersonDetector":
    from jmpose_cli.people.detectors import load_detector

    return load_detector(path, engine=engine, device=device.name, min_score=_DETECTED_FROM, input_size=None, threads=1)[
        0
    ]


def _boxes(found: Detections) -> Float:
    return np.concatenate([found.boxes_xyxy_px, found.scores[:, None]], axis=1)


def _compare_boxes(name: str, outputs: list[Any], recorded: list[Any]) -> str:
    """Compare boxes with recorded ones: every sure box of either has its like in the other."""
    worst_iou, scores = 1.0, 0.0
    for found, wanted in zip(outputs, recorded, strict=True):
        for these, those in ((found, wanted), (wanted, found)):
            for box in (b for b in these if b[4] >= _SURE_BOX):
                like = max(those, key=lambda other: _iou(box, other), default=None)
                worst_iou = min(worst_iou, _iou(box, like) if like else 0.0)
                scores = max(scores, abs(box[4] - like[4]) if like else 1.0)
    text = f"recorded boxes overlap with IoU {worst_iou:.3f} (at least {BOX_IOU}), scores within {scores:.2g}"
    if worst_iou < BOX_IOU or scores > SCORE_TOLERANCE:
        raise JmposeError(
            f"{name} does not reproduce its recorded results: {text} (allowed {SCORE_TOLERANCE})",
            hint=f"torch or a kernel computes otherwise here; for new weights: jmpose models check {name} --record",
        )
    return f"{text} (allowed {SCORE_TOLERANCE})"


def _iou(a: Sequence[float], b: Sequence[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / max(sum(areas) - width * height, 1e-9)


def _write_record(entry: Entry, outputs: list[Any], **measured: Any) -> Path:
    """Keep the outputs of a shipped model, with what its weights cost and what else was measured."""
    import torch

    record = {
        "sha256": file_sha256(location(entry)),
        **_COSTS[entry.kind](entry),
        **measured,
        "made_with": f"jmpose {__version__}, torch {torch.__version__}",
        "outputs": outputs,
    }
    target = SHIPPED / f"{entry.name}.record.json"
    write_whole(target, json.dumps(record).encode() + b"\n")
    return target


def _cost_of_pose(entry: Entry) -> dict[str, int]:
    """Count the parameters, and the multiply-adds of one picture and of one window."""
    from jmpose.weights import load_model
    from jmpose_cli.pose.cost import cost_of

    cost = cost_of(load_model(location(entry)))
    return {"parameters": cost.parameters, "picture_macs": cost.picture_macs, "window_macs": cost.macs}


def _cost_of_detector(entry: Entry) -> dict[str, int]:
    """Count the parameters, and the multiply-adds of one square picture."""
    from safetensors import safe_open
    from torch.utils.flop_counter import FlopCounterMode

    detector = _load_detector(location(entry), Device("cpu", "cpu"), "torch")
    with FlopCounterMode(display=False) as flops:
        detector.detect(np.zeros((1, *entry.input_hw, 3), np.uint8))
    statistics = (".running_mean", ".running_var", ".num_batches_tracked")
    with safe_open(location(entry), framework="np") as file:
        learnt = [name for name in file.keys() if not name.endswith(statistics)]  # noqa: SIM118
        parameters = sum(int(np.prod(file.get_slice(name).get_shape())) for name in learnt)
    return {"parameters": parameters, "picture_macs": flops.get_total_flops() // 2}


def _cost_of_reid(entry: Entry) -> dict[str, int]:
    """Count the parameters, and the multiply-adds of one crop."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from jmpose.appearance import load_appearance

    network = load_appearance(location(entry)).eval()
    with FlopCounterMode(display=False) as flops, torch.inference_mode():
        network(torch.zeros(1, 3, *entry.input_hw))
    parameters = sum(weight.numel() for weight in network.parameters())
    return {"parameters": parameters, "picture_macs": flops.get_total_flops() // 2}


_COSTS: dict[Kind, Callable[[Entry], dict[str, int]]] = {
    "pose": _cost_of_pose,
    "detector": _cost_of_detector,
    "reid": _cost_of_reid,
}
