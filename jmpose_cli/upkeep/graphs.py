"""Graphs of other projects by `jmpose models`: found by name, and what is known of them."""

from pathlib import Path
from typing import Any

import yaml

from jmpose_cli.console import make_console
from jmpose_cli.errors import JmposeError
from jmpose_cli.foreign.graph import graph_sha256
from jmpose_cli.people.box_graph import open_box_graph
from jmpose_cli.pose.pose_graph import open_pose_graph
from jmpose_cli.text import to_json
from jmpose_cli.zoo.catalogue import Kind
from jmpose_cli.zoo.graph_files import graph_name, is_graph, of_rtmlib, settings_of

_WHO = "models"


def graph_named(name: str) -> Path | None:
    """Find a graph by its file, or by its name among those that rtmlib has fetched; None when there is none.

    Raises:
        JmposeError: A file of that name is none, or several have names that begin so.
    """
    path = Path(name)
    if is_graph(path):
        if not path.is_file():
            raise JmposeError(f"{name}: no such file", hint="a .onnx file, or OpenVINO's .xml")
        return path
    return of_rtmlib(_WHO, name)


def read_graph(path: Path) -> tuple[Kind, str, dict[str, Any]]:
    """Tell a pose model from a detector.

    Returns:
        Its kind, what runs it, and what it needs: names and values as `settings_of` may hold them.

    Raises:
        JmposeError: It is neither, or cannot be opened.
    """
    try:
        graph, pose = open_pose_graph(path, option=_WHO)
    except JmposeError as error:
        no_pose = error
    else:
        return "pose", graph.engine, pose.facts()
    try:
        graph, boxes = open_box_graph(path, option=_WHO)
    except JmposeError as no_detector:
        if no_pose.message == no_detector.message:
            raise
        raise JmposeError(
            f"{no_pose.message}; nor as a detector: {no_detector.message.removeprefix(f'{_WHO} {path}: ')}",
            hint=f"{no_pose.hint}; {no_detector.hint}",
        ) from no_detector
    return "detector", graph.engine, boxes.facts()


def show_graph(path: Path, *, as_json: bool) -> None:
    """Print what a graph needs, in the form of the file that sets it.

    Raises:
        JmposeError: As `read_graph`.
    """
    kind, engine, needs = read_graph(path)
    about = {"name": graph_name(path), "kind": kind, "engine": engine, "file": str(path), "sha256": graph_sha256(path)}
    if as_json:
        print(to_json({**about, "needs": needs}, indent=True).decode())
        return
    for key, value in about.items():
        make_console().print(f"# {key}: {value}", markup=False, soft_wrap=True)
    make_console().print(f"# to change what follows, write it into {settings_of(path)}", markup=False, soft_wrap=True)
    print(yaml.safe_dump(needs, sort_keys=False, default_flow_style=None, width=1000), end="")
