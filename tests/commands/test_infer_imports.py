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


def test_infer_on_onnx_loads_no_large_library(tmp_path):
    words = ["infer", str(CLIP), "--out", str(tmp_path), "--frames", "0:3", "--device", "cpu", "--workers", "0"]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "onnxruntime" in loaded
    assert not set(LARGE) & set(loaded)
    record = json.loads((tmp_path / "street" / "run.json").read_text())
    assert record["engine"] == {"model": "onnx", "detector": "onnx"} and record["people"] > 0
