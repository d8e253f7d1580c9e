"""`jmpose review` as a command: what it prints, how it ends, and what it refuses."""

import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jmpose_cli.clips.corrections import Corrections, state_of
from jmpose_cli.clips.run_record import read_run
from jmpose_cli.main import app
from jmpose_cli.review.serve import names_of
from tests.review.page_client import make_folder

FROM = ["--no-browser"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("made"))


def started(*words: object) -> tuple[subprocess.Popen, str]:
    """Start the command; return it and the address that it prints."""
    command = [sys.executable, "-m", "jmpose_cli.main", "review", *map(str, words), "--no-browser"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if found := re.search(r"http://\S+", line):
            return process, found[0]
    raise AssertionError("it has ended without an address")


def act(address: str, operation: dict, revision: int = 1) -> dict:
    url, _, token = address.partition("/?token=")
    headers = {"x-jmpose-token": token, "origin": url, "content-type": "application/json"}
    body = json.dumps({"revision": revision, "operations": [operation]}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{url}/api/clips/0/operations", body, headers)) as answer:
        return json.load(answer)


def test_ctrl_c_saves_and_renders(made, tmp_path):
    folder = shutil.copytree(made[0], tmp_path / "clip")
    config = {"output": {"formats": ["coco", "posetrack18"], "overlay": False}}
    (folder / "run.json").write_text(json.dumps({"input": str(made[1]), "config": config}))
    process, address = started(folder)
    assert act(address, {"op": "delete", "track": 3})["frames"] == [[2, 7]]
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait(30) == 0 and "saved" in said
    assert state_of(folder) == "current" and read_run(folder).is_current("posetrack18.json")


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_what_was_acknowledged_outlives_a_kill(made, tmp_path, kills):
    """Each server is killed while it is at work; every acknowledged action is there afterwards, once, in order."""
    folder = shutil.copytree(made[0], tmp_path / "clip")
    said: list[int] = []  # x of the nose, a number of its own for each action
    number = 0
    for kill in range(kills):
        process, address = started(folder, "--video", made[1])
        timer = threading.Timer(0.05 + 0.07 * (kill % 5), process.kill)
        begun, revision = False, 1
        try:
            while True:
                number += 1
                joints = {"nose": [number, 5, 2]}
                act(address, {"op": "set_joints", "track": 1, "frame": 5, "joints": joints}, revision)
                said.append(number)
                revision += 1
                if not begun:
                    timer.start()
                    begun = True
        except (OSError, http.client.HTTPException):
            process.wait()
            process.stderr.close()
        with Corrections(folder) as corrections:
            kept = [int(one.joints["nose"][0]) for step in corrections.done for one in step]
        assert set(said) <= set(kept) and kept == sorted(set(kept)) and len(kept) <= len(said) + kill + 1
    assert len(said) > kills


def test_a_port_in_use(made):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        error = CliRunner().invoke(app, ["review", str(made[0]), "--port", port, *FROM]).exception
    assert "Address already in use" in str(error) and "--port" in error.hint


@pytest.mark.parametrize("words", [["--host", "203.0.113.7"], ["--host", "no such host"], ["--video", "gone.mp4"]])
def test_what_it_cannot_serve(made, words):
    assert CliRunner().invoke(app, ["review", str(made[0]), *words, *FROM]).exception.hint


def test_clips_are_called_by_their_folders_as_far_as_they_differ():
    assert names_of([Path("/a/b/one"), Path("/a/b/two")]) == ["one", "two"]
    assert names_of([Path("/a/cam1/one"), Path("/a/cam2/one")]) == ["cam1/one", "cam2/one"]
    assert names_of([Path("/a/one")]) == ["one"]
