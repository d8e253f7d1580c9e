"""A run of the shipped models on a CPU loads none of the large libraries: they are what made it start slowly."""

import json
import subprocess
import sys

from tests.commands.test_infer import CLIP

LARGE = (
    "torch",
    "timm",
    "torchvision",
    "ultralytics",
    "transformers",
    "onnx",
    "matplotlib",
    "pandas",
    "sympy",
    "trackers",
    "supervision",
)
SCRIPT = """
import json, sys
from typer.testing import CliRunner
from jmpose_cli.main import app
result = CliRunner().invoke(app, sys.argv[1:])
assert result.exit_code == 0, result.output
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def loaded_by_infer(out, *options):
    """Run `jmpose infer` on three frames; return the names of the libraries that it loaded, and run.json."""
    words = ["infer", str(CLIP), "--out", str(out), "--frames", "0:3", "--device", "cpu", "--workers", "0", *options]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1])), json.loads((out / "street" / "run.json").read_text())


def test_infer_on_onnx_loads_no_large_library(tmp_path):
    loaded, record = loaded_by_infer(tmp_path)
    assert "onnxruntime" in loaded
    assert not set(LARGE) & loaded
    assert record["engine"] == {"model": "onnx", "detector": "onnx"} and record["people"] > 0


def test_infer_on_torch_loads_no_other_library_of_networks(tmp_path):
    loaded, record = loaded_by_infer(tmp_path, "--engine", "torch")
    assert set(LARGE) & loaded <= {"torch", "sympy"}
    assert record["engine"] == {"model": "torch", "detector": "torch"} and record["people"] > 0
