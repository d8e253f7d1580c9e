"""`jmpose eval --data`: run a model over a data set, keep its predictions, score them.

Every run is scored twice: as the temporal model answers, and as its backbone alone answers from the key frame (the
single-frame baseline), on the same boxes and tracks. The tracker never sees ground-truth ids.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson

from jmpose.keypoints import KeypointSet
from jmpose_cli.annotate.networks import Networks, fetch_models, load_detector, load_estimator
from jmpose_cli.annotate.stages import batched_windows
from jmpose_cli.background import StageClock
from jmpose_cli.config import InferConfig, build_config
from jmpose_cli.console import Reporter, download_bar, say_start
from jmpose_cli.data.layouts import AnnotatedVideo, find_stills, find_videos
from jmpose_cli.errors import JmposeError
from jmpose_cli.evaluation.boxes import ImageBoxes, annotated_boxes, boxes_from
from jmpose_cli.evaluation.results import EvaluatedRun, EvaluatedSet, ModelOptions
from jmpose_cli.evaluation.score_files import Scoring, check_annotated, score_run
from jmpose_cli.files import PartialFile, explain_os_errors
from jmpose_cli.formats.base import VideoMeta
from jmpose_cli.formats.keypoint_mapping import map_keypoints
from jmpose_cli.formats.posetrack18 import PoseTrack18Writer
from jmpose_cli.formats.read import read_poses
from jmpose_cli.formats.records import PoseRecords
from jmpose_cli.known_weights import Access
from jmpose_cli.metrics.coco import notes_on
from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker
from jmpose_cli.values import FramePoses, TrackedFrame
from jmpose_cli.video.image_folder import ImageFolderSource, read_image
from jmpose_cli.video.info import Selection

if TYPE_CHECKING:
    pass

DETECT, ANNOTATED = "detect", "gt"
PREDICTIONS = "predictions"
_KINDS = ("temporal", "single-frame")
_IMAGE_FPS = 25.0  # PoseTrack does not say; its videos are television and film


@dataclass(frozen=True)
class _BoxChoice:
    """One entry of `--boxes`: its name in labels, and the boxes of each video, None for the detector."""

    name: str
    of_video: Callable[[AnnotatedVideo], ImageBoxes] | None


def evaluate_model(data: Path, out: Path, options: ModelOptions, scoring: Scoring, reporter: Reporter) -> EvaluatedSet:
    """Run the model and score it with every choice of boxes.

    Predictions go to `out/predictions/<boxes>-<temporal|single-frame>/<video>.json`.

    Raises:
        JmposeError: The data set, the weights or the device are not as asked for, or a file cannot be written.
    """
    if scoring.protocol == "mot":
        raise JmposeError("--data with --protocol mot", hint="boxes are scored with --gt and --pred")
    choices = [_box_choice(name) for name in options.boxes]
    names = [choice.name for choice in choices]
    if len(set(names)) < len(names):
        raise JmposeError(f"--boxes {','.join(options.boxes)} names the same boxes twice", hint="give each once")
    folders = {(c.name, kind): out / PREDICTIONS / f"{c.name}-{kind}" for c in choices for kind in _KINDS}
    _check_folders(list(folders.values()), overwrite=options.overwrite)
    videos = _videos(data, options.split, scoring)
    check_annotated([video.truth for video in videos], scoring.protocol)
    config = build_config(
        file=None,
        assignments=[],
        options={
            "device": options.device,
            "pose.model": options.model,
            "pose.flip_test": options.flip_test,
            "people.detector": options.detector,
            "run.offline": options.offline,
        },
    )
    loaded = _load(config, [c for c in choices if c.of_video is None], reporter)
    runs = []
    for choice in choices:
        targets = {kind: folders[choice.name, kind] for kind in _KINDS}
        for folder in targets.values():
            with explain_os_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
        predict = _predict_images if scoring.protocol == "coco" else _predict_video
        for video in videos:
            boxes = None if choice.of_video is None else choice.of_video(video)
            networks = replace(loaded, boxes=boxes, detector=loaded.detector if boxes is None else None)
            predict(video, choice.name, targets, config, networks, reporter)
        runs += [_scored(f"{choice.name}-{kind}", folder, videos, scoring) for kind, folder in targets.items()]
    pairs = [(f"{name}-single-frame", f"{name}-temporal") for name in names]
    pairs += [(f"{names[0]}-temporal", f"{name}-temporal") for name in names[1:]]
    notes = [note for v in videos for note in notes_on(v.truth)] if scoring.protocol == "coco" else []
    truth = {video.name: video.truth for video in videos}
    return EvaluatedSet(scoring.protocol, truth, tuple(runs), compared=tuple(pairs), notes=tuple(notes))


def _box_choice(name: str) -> _BoxChoice:
    if name == DETECT:
        return _BoxChoice(name, None)
    if name == ANNOTATED:
        return _BoxChoice(name, lambda video: annotated_boxes(video.truth))
    path = Path(name)
    if not path.exists():
        raise JmposeError(
            f"--boxes {name}: no such file or folder",
            hint="allowed: gt, detect, a folder with one file a video, a COCO results list; several with commas",
        )
    return _BoxChoice(path.stem, lambda video: boxes_from(path, video))


def _check_folders(folders: list[Path], *, overwrite: bool) -> None:
    there = next((folder for folder in folders if folder.is_dir() and any(folder.iterdir())), None)
    if there is not None and not overwrite:
        raise JmposeError(f"{there} holds predictions already", hint="replace them with --overwrite, or choose --out")


def _videos(data: Path, split: str, scoring: Scoring) -> list[AnnotatedVideo]:
    if scoring.protocol != "coco":
        if not data.is_dir():
            raise JmposeError(f"--data {data}: no such folder", hint="name the root of a PoseTrack data set")
        return find_videos(data, split)
    return [find_stills(data, scored=True)]


def _load(config: InferConfig, detecting: list[_BoxChoice], reporter: Reporter) -> Networks:
    from jmpose_cli.device import choose_device, usable_cores

    say_start(f"loading the pose model ({config.pose.model})", quiet=reporter.quiet)
    device = choose_device(config.device, precision=config.precision)
    with download_bar(shown=not reporter.quiet) as progress:
        access = Access(offline=config.run.offline, notify=reporter.note, progress=progress)
        fetch_models(config, access, detecting=bool(detecting))
    threads = max(1, usable_cores() // (2 if detecting else 1))
    estimator, model = load_estimator(config, device, threads=threads)
    header = {"device": f"{device.description}, {config.precision}", "model": model}
    detector = None
    if detecting:
        detector, header["people"] = load_detector(config, device, threads=threads)
    reporter.header(header)
    return Networks(detector, None, estimator, {})


def _predict_video(
    video: AnnotatedVideo,
    boxes_name: str,
    targets: Mapping[str, Path],
    config: InferConfig,
    networks: Networks,
    reporter: Reporter,
) -> None:
    """Write the temporal and the single-frame predictions of one video."""
    with ExitStack() as stack:
        source = stack.enter_context(
            ImageFolderSource(
                video.images[0].parent, selection=Selection(), batch=16, fps=_IMAGE_FPS, images=video.images
            )
        )
        meta = VideoMeta(
            name=video.name,
            width=source.info.width,
            height=source.info.height,
            fps=source.info.fps,
            source=video.name,
            image_names=tuple(path.name for path in video.images),
            image_ids=tuple(image.id for image in video.truth.images),
        )
        keypoints = networks.estimator.keypoints
        writers = [
            stack.enter_context(PoseTrack18Writer(targets[kind] / f"{video.name}.json", meta, keypoints))
            for kind in _KINDS
        ]
        progress = stack.enter_context(reporter.progress(f"{video.name}, boxes: {boxes_name}", len(video.images)))
        for windows in batched_windows(source, config, networks, StageClock()):
            for writer, poses in zip(writers, networks.both_poses(windows, config.people), strict=True):
                for frame in poses:
                    # Of the data set's boxes those and no others, so not those interpolated between them.
                    writer.write(frame if networks.boxes is None else frame.only(frame.people.observed))
            for window in windows:
                progress.advance(len(window.key.people))


def _predict_images(
    data: AnnotatedVideo,
    boxes_name: str,
    targets: Mapping[str, Path],
    config: InferConfig,
    networks: Networks,
    reporter: Reporter,
) -> None:
    """Write the predictions of still images: windows of one frame, whose neighbours do not exist."""
    names = data.truth.joints
    wanted = KeypointSet("data set", names, (), (1.0,) * len(names))
    with ExitStack() as stack:
        files = [stack.enter_context(PartialFile(targets[kind] / f"{data.name}.json")) for kind in _KINDS]
        for file in files:
            file.write(b"[")
        progress = stack.enter_context(reporter.progress(f"{data.name}, boxes: {boxes_name}", len(data.images)))
        separators = [b"\n"] * len(files)
        for place, poses in enumerate(_still_poses(data, config, networks)):
            for number, (file, frame) in enumerate(zip(files, poses, strict=True)):
                for record in _coco_results(data.truth.images[place].id, frame, networks.estimator.keypoints, wanted):
                    file.write(separators[number] + orjson.dumps(record))
                    separators[number] = b",\n"
            progress.advance(len(poses[0]))
        for file in files:
            file.write(b"\n]\n")


def _still_poses(
    data: AnnotatedVideo, config: InferConfig, networks: Networks
) -> Iterator[tuple[FramePoses, FramePoses]]:
    """Yield the temporal and the single-frame poses of each image."""
    spacing = Spacing(networks.estimator.preprocess.window_offsets, max_gap_s=0.0)
    for place, path in enumerate(data.images):
        pixels = read_image(path)
        if networks.boxes is None:
            assert networks.detector is not None
            (found,) = networks.detector.detect(pixels[None])
        else:
            given, _ = networks.boxes.at(place)
            assert given is not None
            found = given
        people = TrackedFrame(
            index=place,
            time_s=0.0,
            boxes_xyxy_px=found.boxes_xyxy_px,
            scores=found.scores,
            track_ids=np.arange(1, len(found) + 1),
            observed=np.ones(len(found), bool),
        )
        maker = WindowMaker(spacing)
        windows = [*maker.push(SeenFrame(pixels, people)), *maker.finish()]
        (final,), (initial,) = networks.both_poses(windows, config.people)
        yield final, initial


def _coco_results(
    image_id: int, poses: FramePoses, source: KeypointSet, wanted: KeypointSet
) -> Iterator[dict[str, object]]:
    xy, scores = map_keypoints(poses.xy_image, poses.scores, source, wanted)
    triples = np.concatenate([xy, scores[..., None]], 2).astype(np.float64).reshape(len(poses), 3 * len(wanted))
    boxes = poses.people.boxes_xyxy_px.astype(np.float64)
    for keypoints, score, box in zip(triples.tolist(), poses.person_scores.tolist(), boxes.tolist(), strict=True):
        yield {
            "image_id": image_id,
            "category_id": 1,
            "keypoints": keypoints,
            "score": score,
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
        }


def _scored(label: str, folder: Path, videos: list[AnnotatedVideo], scoring: Scoring) -> EvaluatedRun:
    """Score what was written, so that the kept files give the same figures again."""
    truth: dict[str, PoseRecords] = {video.name: video.truth for video in videos}
    predicted = {video.name: read_poses(folder / f"{video.name}.json") for video in videos}
    return score_run(label, truth, predicted, scoring)
