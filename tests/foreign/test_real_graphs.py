"""Real models of other projects give the accuracy that was measured for them. Skipped where they are not at hand."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
TEACHERS = DATA / "teachers"
pytestmark = pytest.mark.skipif(not TEACHERS.is_dir(), reason=f"needs {TEACHERS}")


def said(script: str, *words: str) -> str:
    command = [sys.executable, f"benchmarks/accuracy/{script}.py", "--threads", "1", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def figure(text: str, name: str) -> float:
    return float(text.partition(f" {name} ")[2].split()[0])


def test_pp_tinypose_on_coco():
    pytest.importorskip("openvino", reason="OpenVINO's files are run by the extra openvino")
    model = TEACHERS / "pp_tinypose_256_192_fp16_ov" / "model.xml"
    text = said("pose_accuracy", "--data", str(DATA / "coco_persons/val.json"), "--model", str(model))
    assert text.startswith("pp_tinypose_256_192_fp16_ov, openvino, fp32, 336 people")
    assert figure(text, "AP") == pytest.approx(0.572, abs=0.01)


@pytest.mark.parametrize(
    ("data", "ap50"),
    [("coco_persons/val.json", 0.782), pytest.param("person_boxes", 0.495, marks=pytest.mark.slow)],
)
def test_yolox_nano(data, ap50):
    text = said("detector_accuracy", "--data", str(DATA / data), "--detector", str(TEACHERS / "yolox_nano.onnx"))
    assert figure(text, "AP50") == pytest.approx(ap50, abs=0.01)
