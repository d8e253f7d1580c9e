"""The command that makes graphs and records of shipped weights."""

import pytest

import onnx_files


@pytest.mark.parametrize("failed", [0, 1])
def test_a_record_that_fails_is_a_failure(failed, monkeypatch):
    recorded = []
    monkeypatch.setattr(onnx_files, "write_detector_graph", lambda weights: None)
    monkeypatch.setattr(
        onnx_files, "check_models", lambda names, **how: recorded.append((names, how["record"])) or failed
    )
    monkeypatch.setattr("sys.argv", ["onnx_files.py", "person-nano"])
    with pytest.raises(SystemExit) as ended:
        onnx_files.main()
    assert ended.value.code == failed and recorded == [(["person-nano"], True)]
