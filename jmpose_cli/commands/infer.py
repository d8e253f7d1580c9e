"""`jmpose infer`: options to settings, one call, an exit code."""

from pathlib import Path
from typing import Annotated

import typer

from jmpose_cli.choices import Decoder, Engine, Precision
from jmpose_cli.formats.writers import FORMATS

_IN, _PEOPLE, _POSE, _OUT, _RUN, _MANY = "Input", "People", "Pose", "Output", "Run", "Many videos"
_FORMATS = ", ".join(f"{form.name} ({form.description})" for form in FORMATS.values())


def infer(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Videos, folders (searched; a folder of images is one video), 'patterns/**/*.mp4', lists (.txt), "
            "or addresses that fsspec reads.",
        ),
    ],
    decoder: Annotated[
        Decoder | None,
        typer.Option(help="auto: decord, or PyAV where decord fails.", rich_help_panel=_IN),
    ] = None,
    frames: Annotated[
        str | None, typer.Option(metavar="A:B", help="Only frames A to B-1, counted from 0.", rich_help_panel=_IN)
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="A:B", help="Only seconds A to B, counted from the first frame.", rich_help_panel=_IN),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Frames per second of image folders and of files without timestamps, such as .h264 (25, with a note).",
            rich_help_panel=_IN,
        ),
    ] = None,
    image_fps: Annotated[float | None, typer.Option(hidden=True)] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|ID|PATH",
            help="Person detector: person-nano (shipped), a name from `jmpose models list`, an RT-DETR or D-FINE of "
            "the Hub or in a folder, a YOLO .pt file, an .onnx or .xml file, or auto: the best one found here.",
            rich_help_panel=_PEOPLE,
        ),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="Your own boxes instead of a detector: COCO, PoseTrack18 or MOT text.", rich_help_panel=_PEOPLE
        ),
    ] = None,
    detect_every: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Detect in every Nth frame (1) and interpolate between.", rich_help_panel=_PEOPLE
        ),
    ] = None,
    min_box_score: Annotated[
        float | None,
        typer.Option(
            help="Box score that starts a track (the detector's own); raise it if there are false people.",
            rich_help_panel=_PEOPLE,
        ),
    ] = None,
    reid: Annotated[
        str | None,
        typer.Option(
            metavar="reid-nano|FILE|none",
            help="Network that tells people by their looks (reid-nano): none, or a .pth of OSNet.",
            rich_help_panel=_PEOPLE,
        ),
    ] = None,
    stitch: Annotated[
        bool | None,
        typer.Option(
            "--stitch/--no-stitch",
            help="Say at the end which tracks are one person (yes, unless ids come with --boxes).",
            rich_help_panel=_PEOPLE,
        ),
    ] = None,
    max_people: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Keep at most N people in a frame: those who are largest for longest, by box area times time over the "
            "whole video. Poses are estimated of all.",
            rich_help_panel=_PEOPLE,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|ID|PATH",
            help="Pose model: nano or small (shipped), a name from `jmpose models list`, a ViTPose of the Hub or in "
            "a folder, a .safetensors, .onnx or .xml file, or auto: nano.",
            rich_help_panel=_POSE,
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(help="Person windows in a batch (16); no effect on results.", rich_help_panel=_POSE),
    ] = None,
    compile: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile", help="Use torch.compile: slow to start, then faster.", rich_help_panel=_POSE
        ),
    ] = None,
    channels_last: Annotated[
        bool | None,
        typer.Option(
            "--channels-last/--no-channels-last",
            help="Memory layout of the backbone (channels last on a CPU).",
            rich_help_panel=_POSE,
        ),
    ] = None,
    temporal: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Temporal part: auto (the shipped one, for models that have none), own, or a file.",
            rich_help_panel=_POSE,
        ),
    ] = None,
    flip_test: Annotated[
        bool | None,
        typer.Option("--flip-test/--no-flip-test", help="Average with the mirrored picture.", rich_help_panel=_POSE),
    ] = None,
    smooth: Annotated[
        bool | None,
        typer.Option(
            "--smooth/--no-smooth",
            help="Zero-phase low-pass filter along each track; raw values are kept too.",
            rich_help_panel=_POSE,
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Folder of the results: OUT/<video name>/, in the tree of the inputs.",
            rich_help_panel=_OUT,
        ),
    ] = Path("out"),
    format: Annotated[
        str | None,
        typer.Option("--format", metavar="LIST", help=f"Any of {_FORMATS}, with commas between.", rich_help_panel=_OUT),
    ] = None,
    keypoints: Annotated[
        str | None,
        typer.Option(
            metavar="SET",
            help="Joints of the overlay and of all files but the truth: coco17, coco17_head, posetrack15, "
            "posetrack18, wholebody23, halpe26, lsp14, mpii16. Without it, all have the model's own set.",
            rich_help_panel=_OUT,
        ),
    ] = None,
    overlay: Annotated[
        bool | None, typer.Option("--overlay/--no-overlay", help="Write overlay.mp4.", rich_help_panel=_OUT)
    ] = None,
    black_background: Annotated[
        bool | None,
        typer.Option("--black-background", help="Draw skeletons on black, without the picture.", rich_help_panel=_OUT),
    ] = None,
    blur_faces: Annotated[
        bool | None, typer.Option("--blur-faces", help="Blur faces in the overlay.", rich_help_panel=_OUT)
    ] = None,
    overwrite: Annotated[
        bool | None,
        typer.Option(
            "--overwrite",
            help="Do everything again; replaces results that were edited or are of another video.",
            rich_help_panel=_OUT,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Worker processes (one per device); 0: work in this process.", rich_help_panel=_MANY
        ),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Devices with a worker each, such as cuda:0,cuda:1.", rich_help_panel=_MANY),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try videos again that failed before.", rich_help_panel=_MANY)
    ] = False,
    verify_hash: Annotated[
        bool,
        typer.Option(
            "--verify-hash", help="Recognise changed inputs by content, not by size and time.", rich_help_panel=_MANY
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Only every Nth video, from the Ith: for job arrays.", rich_help_panel=_MANY),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Workers on a Ray cluster, or 'local'; needs jmpose\\[ray].", rich_help_panel=_MANY
        ),
    ] = None,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="One JSON object per event on standard output.", rich_help_panel=_MANY)
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="auto, cpu, cuda, cuda:N or mps; a missing one is an error.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    offline: Annotated[
        bool | None,
        typer.Option("--offline", help="Fetch no models, not even those that are named.", rich_help_panel=_RUN),
    ] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="Arithmetic of the pose network (fp32). tf32: CUDA only, the detector too; fp16: GPUs only; "
            "int8: --model small on a CPU.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    engine: Annotated[
        Engine | None,
        typer.Option(
            help="What runs the networks. auto: onnx, which starts and runs faster, for shipped models in fp32 on a "
            "CPU; else torch. On CUDA onnx and tensorrt need onnxruntime-gpu.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of settings; options override it.", rich_help_panel=_RUN)
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="A.B=C", help="Any setting, such as people.lost_after_s=2.", rich_help_panel=_RUN
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.", rich_help_panel=_RUN)] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Stage timings and tracebacks.", rich_help_panel=_RUN)
    ] = False,
) -> None:
    """Track the people of each video and write their keypoints and an overlay video.

    The same command resumes a run that was stopped or killed; what is done is not done again.

    Example: jmpose infer match.mp4 --out results
    """
    from jmpose_cli.config import build_config
    from jmpose_cli.runs.coordinator import ResumeOptions
    from jmpose_cli.runs.infer import Placement, infer_videos
    from jmpose_cli.runs.report import RunReport

    settings = build_config(
        file=config,
        assignments=set_ or [],
        options={
            "device": device,
            "precision": precision,
            "engine": engine,
            "decode.decoder": decoder,
            "decode.frames": frames,
            "decode.time": time,
            "decode.fps": image_fps if fps is None else fps,  # --image-fps was its name
            "people.detector": detector,
            "people.boxes": boxes,
            "people.detect_every": detect_every,
            "people.min_box_score": min_box_score,
            "people.reid": reid,
            "people.stitch": stitch,
            "people.max_people": max_people,
            "pose.model": model,
            "pose.temporal": temporal,
            "pose.batch": batch,
            "pose.compile": compile,
            "pose.channels_last": channels_last,
            "pose.flip_test": flip_test,
            "pose.smooth": smooth,
            "output.formats": format.split(",") if format else None,
            "output.keypoints": keypoints,
            "output.overlay": overlay,
            "output.black_background": black_background,
            "output.blur_faces": blur_faces,
            "output.overwrite": overwrite,
            "run.workers": workers,
            "run.offline": offline,
        },
    )
    report = RunReport(quiet=quiet, verbose=verbose, log_json=log_json)
    resume = ResumeOptions(retry_failed=retry_failed, verify_hash=verify_hash)
    placement = Placement(shard=shard, devices=devices, ray=ray)
    raise typer.Exit(infer_videos(inputs, out=out, config=settings, resume=resume, placement=placement, report=report))
