"""Corrections of a clip as data: every kind of operation, read from JSON that is not trusted, and applied."""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from jmpose_cli.clips.dismissals import Dismiss
from jmpose_cli.clips.joint_operations import AddPerson, CopyPose, Review, SetJoints, SetVisibility, SwapSides
from jmpose_cli.clips.operation import Operation, changed_frames
from jmpose_cli.clips.person_operations import Estimated, SetBox, SetOccluded
from jmpose_cli.clips.replace_operation import Replace
from jmpose_cli.clips.spread_operations import Accept, Interpolate, InterpolateJoints, Propagate, TakeBack
from jmpose_cli.clips.track_operations import Delete, Merge, Rename, Split, Swap
from jmpose_cli.errors import JmposeError
from jmpose_cli.text import to_json

AnyOperation = Annotated[
    Merge
    | Split
    | Swap
    | Rename
    | Delete
    | SwapSides
    | SetJoints
    | SetVisibility
    | AddPerson
    | CopyPose
    | Review
    | Propagate
    | Interpolate
    | InterpolateJoints
    | Accept
    | TakeBack
    | SetOccluded
    | SetBox
    | Estimated
    | Dismiss
    | Replace,
    Field(discriminator="op"),
]
"""Any operation, told apart by `op`."""
_ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyOperation)

__all__ = [
    "Accept",
    "AddPerson",
    "AnyOperation",
    "CopyPose",
    "Delete",
    "Dismiss",
    "Estimated",
    "Interpolate",
    "InterpolateJoints",
    "Merge",
    "Operation",
    "Propagate",
    "Rename",
    "Replace",
    "Review",
    "SetBox",
    "SetJoints",
    "SetOccluded",
    "SetVisibility",
    "Split",
    "Swap",
    "SwapSides",
    "TakeBack",
    "changed_frames",
    "operation_in",
    "operation_json",
]


def operation_in(text: bytes) -> Operation:
    """Read an operation from its JSON.

    Raises:
        JmposeError: It is no JSON or no operation, or a field is missing, unknown, or out of range.
    """
    try:
        found: Operation = _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise JmposeError(f"not an operation: {first_fault(error)}") from error
    return found


def operation_json(operation: Operation) -> bytes:
    """Write an operation as JSON on one line."""
    return to_json(operation.model_dump(exclude_none=True))


def first_fault(error: ValidationError) -> str:
    """Say the first thing that is wrong with a value, on one line."""
    fault = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg']}" if where else fault["msg"]
