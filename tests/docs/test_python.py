"""Python on the pages: the names are there, and calls have arguments that they take."""

import ast
import importlib
import inspect
import re

import pytest

from tests.docs.pages import TOLD, blocks, read

PACKAGES = ("jmpose", "jmpose_cli")


def ours(page: str) -> dict[str, object]:
    """Return what a page imports from this project, by name; AttributeError where it is not there."""
    names = {}
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PACKAGES:
                module = importlib.import_module(node.module)
                names |= {one.asname or one.name: getattr(module, one.name) for one in node.names}
    return names


@pytest.mark.parametrize("page", TOLD)
def test_names_and_arguments_exist(page):
    names = ours(page)
    for code in blocks(page, "python"):
        for call in ast.walk(ast.parse(code, page)):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names:
                named = {one.arg: None for one in call.keywords if one.arg}
                inspect.signature(names[call.func.id]).bind(*call.args, **named)


def test_pages_import_from_this_project():
    assert {"build_model", "read_foreign", "load_vitpose"} <= set(ours("docs/networks.md"))


@pytest.mark.slow
def test_the_network_gives_the_shapes_that_are_told():
    torch = pytest.importorskip("torch")
    code = blocks("docs/networks.md", "python")[0]
    found: dict = {}
    with torch.no_grad():
        exec(compile(code, "docs/networks.md", "exec"), found)
    told = re.findall(r"output\.(\w+) \[([\d, ]+)\]", read("docs/networks.md"))
    assert len(told) == 2
    for name, shape in told:
        assert list(getattr(found["output"], name).shape) == [int(size) for size in shape.split(",")]
