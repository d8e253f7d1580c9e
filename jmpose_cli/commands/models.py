"""`jmpose models`: options to one call each."""

from pathlib import Path
from typing import Annotated

import typer

from jmpose_cli.zoo.catalogue import Kind

models = typer.Typer(
    name="models",
    help="List, show, fetch, convert and check models.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
_Offline = Annotated[bool, typer.Option("--offline", help="Fetch nothing; HF_HUB_OFFLINE=1 does the same.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks of errors.")]


@models.command("list")
def list_models(
    kind: Annotated[Kind | None, typer.Option(help="Only models of this kind.")] = None, as_json: _Json = False
) -> None:
    """List all models that --model, --detector and --reid take by name.

    Shipped ones are in the package, cached ones in the cache folder; available ones are fetched when they are named.
    """
    from jmpose_cli.upkeep.models import list_models as job

    job(kind=kind, as_json=as_json)


@models.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Name or Hub id, or a file: .onnx, .xml.")], as_json: _Json = False
) -> None:
    """Show all that is known about a model: size, input, joints, licences, figures, files and their sha256.

    Example: jmpose models show vitpose-b
    """
    from jmpose_cli.upkeep.models import show_model

    show_model(name, as_json=as_json)


@models.command("pull")
def pull(
    names: Annotated[list[str], typer.Argument(metavar="NAME|HUB-ID", help="Models to fetch.")],
    kind: Annotated[Kind | None, typer.Option(help="What a Hub id that is not listed stands for (pose).")] = None,
    offline: _Offline = False,
    quiet: _Quiet = False,
    verbose: _Verbose = False,
) -> None:
    """Fetch models into the cache, verify them, and convert those of other projects.

    The cache is the folder JMPOSE_CACHE, else ~/.cache/jmpose. The same command resumes an interrupted
    download.

    Example: jmpose models pull vitpose-b yolo26s
    """
    from jmpose_cli.console import Reporter
    from jmpose_cli.upkeep.models import pull_models

    reporter = Reporter(quiet=quiet, verbose=verbose)
    raise typer.Exit(pull_models(names, kind=kind, offline=offline, reporter=reporter))


@models.command("convert")
def convert(
    source: Annotated[
        Path,
        typer.Argument(metavar="IN", help="A .pth or .pt file of HRNet, MMPose, DCPose, FAMI-Pose or TAR-ViTPose."),
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Folder, or a .safetensors file.")],
    keypoints: Annotated[
        str | None, typer.Option(metavar="SET", help="Joints of the file, such as coco17 or posetrack18.")
    ] = None,
    size: Annotated[
        str | None, typer.Option("--input", metavar="HxW", help="Input in pixels, such as 384x288.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    verbose: _Verbose = False,
) -> None:
    """Convert another project's weights to .safetensors and .json, and report what became of each of them.

    Example: jmpose models convert pose_hrnet_w48_384x288.pth weights
    """
    from jmpose_cli.upkeep.models import convert_file, parse_size

    convert_file(source, target, keypoint_set=keypoints, input_hw=parse_size(size), overwrite=overwrite)


@models.command("check")
def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME|FILE", help="Models to check; without any, all shipped ones.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")] = "cpu",
    record: Annotated[
        bool, typer.Option("--record", help="Record the outputs of shipped models as those to compare with.")
    ] = False,
    quiet: _Quiet = False,
    verbose: _Verbose = False,
) -> None:
    """Run models on the example video: checksums, finite results, no influence of people on each other.

    The results of shipped models are compared with recorded ones.

    Example: jmpose models check nano
    """
    from jmpose_cli.console import Reporter
    from jmpose_cli.upkeep.model_check import check_models

    reporter = Reporter(quiet=quiet, verbose=verbose)
    raise typer.Exit(check_models(names or [], device=device, record=record, reporter=reporter))
