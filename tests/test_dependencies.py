"""What the product imports is what it asks pip for: each package at its place."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {"jmpose", "jmpose_cli"}
# The only files that may import a package of an extra: nothing that `infer` needs by default does.
PLACES = {
    "ray": ["jmpose_cli/runs/ray_workers.py"],
    "lightning_fabric": ["jmpose_cli/training"],
    "tensorboard": ["jmpose_cli/training"],
    "starlette": ["jmpose_cli/review"],
    "uvicorn": ["jmpose_cli/review"],
    "onnx": ["models/jmpose/onnx_writing.py", "jmpose_cli/pose/onnx_int8.py"],
    "openvino": ["jmpose_cli/foreign/graph.py"],
    "pyarrow": ["jmpose_cli/formats/parquet.py"],
    "ezc3d": ["jmpose_cli/handover/c3d.py"],
    "ndx_pose": ["jmpose_cli/handover/nwb.py"],
    "pynwb": ["jmpose_cli/handover/nwb.py"],
}
# Of the user's own machine, never asked for: imported where it is there.
FOUND_THERE = {"tensorrt": ["jmpose_cli/onnx_providers.py"]}


def imported() -> dict[str, set[str]]:
    """Packages by the files that import them."""
    found: dict[str, set[str]] = {}
    for folder in (ROOT / "jmpose_cli", ROOT / "models/jmpose"):
        for file in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    # torch.utils.tensorboard is torch's way to the package.
                    names = ["tensorboard" if node.module == "torch.utils.tensorboard" else node.module]
                for name in names:
                    found.setdefault(name.partition(".")[0], set()).add(str(file.relative_to(ROOT)))
    return {name: files for name, files in found.items() if name not in sys.stdlib_module_names | OURS}


def names(requirements: list[str]) -> set[str]:
    return {Requirement(text).name.lower() for text in requirements}


def distributions(module: str) -> set[str]:
    return {name.lower().replace("_", "-") for name in packages_distributions().get(module, [module])}


IMPORTED = imported()


@pytest.mark.parametrize("module", sorted(IMPORTED.keys() - PLACES.keys() - FOUND_THERE.keys()))
def test_infer_needs_only_what_is_installed_with_it(module):
    # OpenCV's distributions all have the same module.
    found = {"opencv-python"} if module == "cv2" else distributions(module)
    assert found & names(PROJECT["dependencies"]), sorted(IMPORTED[module])


@pytest.mark.parametrize("module", PLACES)
def test_packages_of_extras_are_imported_at_their_place_only(module):
    assert all(file.startswith(tuple(PLACES[module])) for file in IMPORTED.get(module, ())), IMPORTED[module]
    package = module.replace("_", "-")
    assert any(package in names(needed) for needed in PROJECT["optional-dependencies"].values())
    assert package not in names(PROJECT["dependencies"])


@pytest.mark.parametrize("module", FOUND_THERE)
def test_what_a_machine_may_have_is_imported_at_its_place_only(module):
    assert sorted(IMPORTED[module]) == FOUND_THERE[module]


def test_developers_have_all_extras_that_tests_need():  # those of the formats of other tools are tested where they are
    (own,) = (Requirement(text) for text in PROJECT["optional-dependencies"]["dev"] if text.startswith("jmpose["))
    assert own.extras == PROJECT["optional-dependencies"].keys() - {"dev", "recipes", "handover"}
