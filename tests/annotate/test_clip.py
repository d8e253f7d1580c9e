"""A clip of which an earlier run has done the first frames, with other networks than this run has."""

from dataclasses import replace
from pathlib import Path

import pytest

from jmpose.plain_files import read_json
from jmpose_cli.annotate.clip import process_clip
from jmpose_cli.annotate.networks import load_networks
from jmpose_cli.annotate.task import ClipTask, StoppedError, Watcher
from jmpose_cli.config import InferConfig
from tests.conftest import ROOT


class StoppingWatcher(Watcher):
    """Stops after some frames, and keeps the notes."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left, self.notes = after, []

    def advanced(self, people: int) -> None:
        self.left -= 1
        if not self.left:
            self.stop.set()

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_frames_of_another_engine_are_not_continued(tmp_path: Path) -> None:
    settings = {"device": "cpu", "decode": {"frames": "0:6"}, "output": {"overlay": False}, "run": {"chunk_frames": 1}}
    config = InferConfig.model_validate(settings)
    here, _ = load_networks(config)
    elsewhere = replace(here, info=here.info | {"engine": {"model": "torch", "detector": "onnx"}})
    video = ROOT / "examples" / "street.mp4"
    task = ClipTask("street", video, "", tmp_path / "out", tmp_path / "work", {})
    with pytest.raises(StoppedError):
        process_clip(task, config=config, networks=elsewhere, watcher=StoppingWatcher(2))
    with pytest.raises(StoppedError) as stopped:
        process_clip(task, config=config, networks=elsewhere, watcher=(same := StoppingWatcher(1)))
    assert stopped.value.frames > 2 and same.notes == []
    watcher = StoppingWatcher(0)
    assert process_clip(task, config=config, networks=here, watcher=watcher).resumed == 0
    begun, now = "torch for the model, onnx for the detector", "onnx"
    note = f"{video}: its first frames were made with engine {begun}, it is {now} now; it is begun anew"
    assert watcher.notes[0] == note
    assert read_json(tmp_path / "out" / "run.json")["engine"] == {"model": "onnx", "detector": "onnx"}
