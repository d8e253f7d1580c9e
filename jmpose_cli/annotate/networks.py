"""The networks of a run: chosen, checked and loaded once a process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jmpose.files import file_sha256
from jmpose.keypoints import KeypointSet
from jmpose_cli import __version__
from jmpose_cli.clips.run_record import keypoints_record
from jmpose_cli.config import InferConfig, PeopleConfig, PoseConfig
from jmpose_cli.device import may_take_gpu, usable_cores
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.writers import FORMATS
from jmpose_cli.known_weights import TEMPORAL_PART, Access, Choice, choose_detector, choose_model, choose_reid
from jmpose_cli.people.detector_description import START_SCORE
from jmpose_cli.video.source import ChildPool
from jmpose_cli.zoo.graph_files import is_graph

if TYPE_CHECKING:
    from jmpose_cli.device import Device
    from jmpose_cli.people.appearance import Embedder
    from jmpose_cli.people.detect import PersonDetector
    from jmpose_cli.pose.estimator import PoseEstimator, Views
    from jmpose_cli.pose.windows import Windows
    from jmpose_cli.values import Detections, FramePoses, Ids


class BoxSource(Protocol):
    """Boxes that are known before, of one video."""

    def at(self, index: int) -> tuple["Detections | None", "Ids | None"]:
        """Return the boxes of frame `index` and their track ids, if known; no boxes: nobody looked at the frame."""


@dataclass(frozen=True)
class Networks:
    """What is loaded once and used for every video; none of it keeps anything of a video.

    Attributes:
        detector: Finds people; None when boxes come from a file.
        boxes: Known boxes, or None.
        estimator: The pose network.
        info: Versions, device and weights, for the output files.
        embedder: Tells what people look like; None: the tracker does without.
        children: Processes that decode.
    """

    detector: "PersonDetector | None"
    boxes: BoxSource | None
    estimator: "PoseEstimator"
    info: dict[str, Any]
    embedder: "Embedder | None" = None
    children: ChildPool = field(default_factory=ChildPool)

    def start_score(self, people: PeopleConfig) -> float:
        """Return the box score that starts a track: the one asked for, else the detector's own."""
        if people.min_box_score is not None:
            return people.min_box_score
        return START_SCORE if self.detector is None else self.detector.start_score

    def close(self) -> None:
        """End the processes that decode, and the threads of the networks."""
        self.children.close()
        self.estimator.close()
        if self.detector is not None:
            self.detector.close()

    def poses(
        self, frames: Sequence["Windows"], people: PeopleConfig, views: "Views | None" = None
    ) -> list["FramePoses"]:
        """Estimate the poses of some key frames; of people found twice one is left, known boxes are all kept.

        Args:
            frames: The windows of each key frame, all of one video.
            people: Says how alike the poses of one person are.
            views: As `PoseEstimator.estimate` takes them.
        """
        found = self.estimator.estimate(frames, views)
        return [self._each_once(poses, w, people) for poses, w in zip(found, frames, strict=True)]

    def both_poses(
        self, frames: Sequence["Windows"], people: PeopleConfig
    ) -> tuple[list["FramePoses"], list["FramePoses"]]:
        """Like `poses`, and beside it what the backbone alone sees in the key frames: the single-frame baseline."""
        final, initial = (
            [self._each_once(poses, w, people) for poses, w in zip(kind, frames, strict=True)]
            for kind in self.estimator.estimate_both(frames)
        )
        return final, initial

    def _each_once(self, poses: "FramePoses", windows: "Windows", people: PeopleConfig) -> "FramePoses":
        from jmpose_cli.pose.doubles import without_doubles

        if self.boxes is not None:
            return poses
        return without_doubles(
            poses,
            self.estimator.keypoints,
            same_pose_oks=people.same_pose_oks,
            pixel_width=windows.key.pixel_width,
        )


def check_settings(config: InferConfig, *, videos: int, access: Access) -> None:
    """Find what is wrong with the settings before anything slow happens, and fetch models that are named.

    Args:
        config: The settings.
        videos: How many they are for.
        access: How models may be fetched.

    Raises:
        JmposeError: A format needs what is not installed; an unknown model, or one that cannot be fetched; a missing
            temporal part; a missing or unreadable boxes file, or one for several videos.
    """
    for name in config.output.formats:
        FORMATS[name].check()
    temporal_file(config.pose)
    choose_reid(config.people.reid)
    fetch_models(config, access, detecting=config.people.boxes is None)
    if config.people.boxes is None:
        return
    if videos > 1:
        raise JmposeError(
            f"--boxes {config.people.boxes} with {videos} videos", hint="a boxes file belongs to one video"
        )
    from jmpose_cli.people.boxes_file import read_boxes

    read_boxes(config.people.boxes)


def fetch_models(config: InferConfig, access: Access, *, detecting: bool) -> None:
    """Make sure that the models that are named are at hand.

    Raises:
        JmposeError: An unknown model, or one that cannot be fetched.
    """
    choose_model(config.pose.model, access=access)
    if detecting:
        choose_detector(config.people.detector, on_gpu=False, access=access)


def load_networks(
    config: InferConfig, *, workers_here: int = 1, detecting: bool = True
) -> tuple[Networks, dict[str, str]]:
    """Check the device, choose and load the weights.

    Args:
        config: The settings.
        workers_here: Processes that share this machine's cores.
        detecting: Load a detector, unless the settings name a boxes file.

    Returns:
        The networks, and what was taken, for the header: device, model, people.

    Raises:
        JmposeError: The device is absent, or weights cannot be read.
    """
    from jmpose_cli.device import choose_device

    device = choose_device(config.device, precision=config.precision)
    threads = config.run.threads or max(1, usable_cores() // workers_here)
    info: dict[str, Any] = {
        "tool": "jmpose",
        "version": __version__,
        "device": device.kind,
        "precision": config.precision,
        "weights": {},
    }
    header = {"device": f"{device.description}, {config.precision}"}
    own_boxes = config.people.boxes
    detecting = detecting and own_boxes is None
    if own_boxes is not None:
        header["people"] = f"boxes from {own_boxes}"
    # The two networks run at the same time, and each waits for the other now and then: both may take all threads.
    estimator, header["model"] = load_estimator(config, device, threads=threads)
    detector = None
    if detecting:
        detector, header["people"] = load_detector(config, device, threads=threads)
        info["weights"]["detector"] = {"name": detector.name, "sha256": detector.sha256}
    embedder = load_embedder(config, device) if detecting or own_boxes is not None else None
    if embedder is not None:
        header["people"] += f"; appearance: {embedder.name}"
        info["weights"]["reid"] = {"name": embedder.name, "sha256": embedder.sha256}
    info["weights"]["model"] = {"name": estimator.name, "sha256": estimator.sha256}
    if estimator.temporal:
        part = estimator.temporal
        info["weights"]["temporal"] = {"name": part.stem, "sha256": file_sha256(part)}
    info["engine"] = {"model": estimator.engine}
    if detector is not None:
        info["engine"]["detector"] = detector.engine
    header["engine"] = engines_text(info["engine"])
    header["keypoints"] = _keypoints_text(estimator.keypoints, config.output.keypoint_set)
    networks = Networks(detector, None, estimator, info, embedder)
    return networks if own_boxes is None else with_boxes_of(networks, own_boxes), header


def with_boxes_of(networks: Networks, path: Path) -> Networks:
    """Return the networks with a boxes file in place of the detector.

    Raises:
        JmposeError: The file is missing or unreadable.
    """
    from jmpose_cli.people.boxes_file import read_boxes

    boxes = read_boxes(path)
    others = {part: facts for part, facts in networks.info["weights"].items() if part != "detector"}
    weights = {"boxes": {"name": path.name, "sha256": file_sha256(path)}, **others}
    info = {**networks.info, "weights": weights, "engine": {"model": networks.info["engine"]["model"]}}
    return replace(networks, detector=None, boxes=boxes, info=info)


def are_those_of_before(config: InferConfig, weights: Mapping[str, Any]) -> bool:
    """Whether a run would load the weights that an earlier one has noted, told by the files alone.

    False also where that takes more than the checksum of a file.

    Args:
        config: The settings, which must be those of the earlier run in all that decides results.
        weights: Name and sha256 by part, as `load_networks` gives them.
    """
    on_gpu, offline = may_take_gpu(config.device), Access(offline=True)
    try:
        files = {"model": choose_model(config.pose.model, access=offline).path}
        if config.people.boxes is not None:
            files["boxes"] = config.people.boxes
        else:
            files["detector"] = choose_detector(config.people.detector, on_gpu=on_gpu, access=offline).path
        if reid := choose_reid(config.people.reid):
            files["reid"] = reid
        if "temporal" in weights:
            files["temporal"] = temporal_file(config.pose) or Path()
        noted = {part: facts["sha256"] for part, facts in weights.items()}
        return noted == {part: _sha256(path) for part, path in files.items()}
    except (JmposeError, OSError, KeyError, TypeError):
        return False


def _sha256(path: Path) -> str:
    """The checksum of a file of weights, or of the files of a graph."""
    if not is_graph(path):
        return file_sha256(path)
    from jmpose_cli.foreign.graph import graph_sha256

    return graph_sha256(path)


def engines_text(engines: Mapping[str, str]) -> str:
    """Say in the header what runs the networks."""
    same = len(set(engines.values())) == 1
    return engines["model"] if same else ", ".join(f"{engine} for the {part}" for part, engine in engines.items())


def _keypoints_text(given: KeypointSet, written: KeypointSet | None) -> str:
    """Say in the header what the model's keypoint set is, and what becomes of it in the files."""
    text = f"{given.name}, {len(given)} joints"
    if written is not None:
        record = keypoints_record(given, written)
        text += f", written as {written.name}"
        text += "".join(f"; {joint}: {rule}" for joint, rule in record["derived"].items())
        text += f"; absent: {', '.join(record['absent'])}" if record["absent"] else ""
    return text


def load_estimator(config: InferConfig, device: "Device", *, threads: int) -> tuple["PoseEstimator", str]:
    """Load the pose network; say what it is."""
    from jmpose_cli.pose import engines
    from jmpose_cli.pose.estimator import EstimatorSettings

    choice = choose_model(config.pose.model, access=Access(offline=config.run.offline))
    settings = EstimatorSettings(
        device=device.name,
        precision=config.precision,
        batch=config.pose.batch,
        flip_test=config.pose.flip_test,
        threads=threads,
        channels_last=config.pose.channels_last,
        compiled=config.pose.compile,
        shared_crops=config.pose.shared_crops,
    )
    estimator, note = engines.load_estimator(
        choice.path,
        settings,
        engine=config.engine,
        temporal=temporal_file(config.pose),
        replace_temporal=config.pose.temporal != "auto",
    )
    part = f", temporal part {estimator.temporal}" if estimator.temporal else ""
    uncalibrated = "" if estimator.calibration else "; not calibrated: joints get no probabilities"
    return estimator, _described(estimator.name, choice) + part + uncalibrated + f"; {note}" * bool(note)


def temporal_file(pose: PoseConfig) -> Path | None:
    """The temporal part to be put on the model, None for its own.

    Raises:
        JmposeError: There is no such file.
    """
    named = pose.temporal
    if named in ("auto", "own"):
        return TEMPORAL_PART if named == "auto" else None
    if not Path(named).is_file():
        raise JmposeError(f"--temporal {named}: no such file", hint="auto, own, or a .safetensors with a temporal part")
    return Path(named)


def load_detector(config: InferConfig, device: "Device", *, threads: int) -> tuple["PersonDetector", str]:
    """Load the detector; say what it is."""
    from jmpose_cli.people.detectors import load_detector as load

    access = Access(offline=config.run.offline)
    choice = choose_detector(config.people.detector, on_gpu=device.name != "cpu", access=access)
    detector, note = load(
        choice.path,
        engine=config.engine,
        device=device.name,
        min_score=config.people.keep_box_score,
        input_size=config.people.input_size,
        threads=threads,
    )
    started = f"; tracks start at a score of {config.people.min_box_score or detector.start_score:g}"
    return detector, _described(detector.name, choice) + started + f"; {note}" * bool(note)


def load_embedder(config: InferConfig, device: "Device") -> "Embedder | None":
    """Load the network of appearance; None where none is wanted.

    Raises:
        JmposeError: There is no such file, or it holds no such network.
    """
    path = choose_reid(config.people.reid)
    return None if path is None else open_embedder(path, device=device.name)


def open_embedder(path: Path, *, device: str) -> "Embedder":
    """Load a network of appearance from a file of `reid-nano`, or of an OSNet of torchreid.

    Raises:
        JmposeError: It is damaged, or of another network.
    """
    if path.suffix == ".safetensors":
        from jmpose_cli.people.reid_nano import ReidNano

        return ReidNano(path)
    from jmpose_cli.people.osnet import OSNet

    return OSNet(path, device=device)


def _described(name: str, choice: Choice) -> str:
    return f"{name} ({choice.reason})" if choice.reason else f"{name} ({choice.path})"
