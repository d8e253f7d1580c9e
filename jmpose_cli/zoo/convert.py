"""Weights of other projects into jmpose's own form."""

from pathlib import Path
from typing import TYPE_CHECKING

from jmpose_cli.errors import JmposeError
from jmpose_cli.zoo.download import not_written

if TYPE_CHECKING:
    from jmpose.foreign import ConversionReport


def convert(
    source: Path, target: Path, *, keypoint_set: str | None, input_hw: tuple[int, int] | None
) -> "ConversionReport":
    """Convert a file and write `target` and the `.json` beside it.

    Args:
        source: A `.pth` or `.pt` file of HRNet, MMPose, DCPose, FAMI-Pose or TAR-ViTPose.
        target: The `.safetensors` file; its folder is made.
        keypoint_set: Joints of the file's channels; None takes what the file says.
        input_hw: Height and width of its input, pixels; None takes what is usual for its kind.

    Raises:
        JmposeError: The file is not readable or of no known project, or `target` cannot be written.
    """
    from jmpose.errors import HintedError
    from jmpose.foreign import read_foreign
    from jmpose.weights import save_model

    try:
        model, report = read_foreign(source, keypoint_set=keypoint_set, input_hw=input_hw)
        target.parent.mkdir(parents=True, exist_ok=True)
        save_model(model, target)
    except HintedError as error:
        raise JmposeError(error.message, hint=error.hint) from error
    except OSError as error:
        raise not_written(target, error) from error
    return report
