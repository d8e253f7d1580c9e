"""Machines without a home, a user name or a place for temporary files."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from jmpose_cli import home

ROOT = Path(__file__).resolve().parents[1]
# What a container with an unknown user id and a read-only disk looks like to Python.
BARE_MACHINE = """
import os, pwd, tempfile

def unknown(uid):
    raise KeyError(uid)

pwd.getpwuid = unknown
tempfile._candidate_tempdir_list = lambda: [os.environ.get("TMPDIR", os.devnull)]
"""


@pytest.fixture(autouse=True)
def _bare_environment(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for name in ("JMPOSE_CACHE", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_cache_is_the_one_asked_for_else_in_the_home(tmp_path, monkeypatch):
    assert home.cache_folder() == tmp_path / ".cache" / "jmpose" and home.is_kept()
    assert not (tmp_path / ".cache").exists()  # asking makes nothing
    monkeypatch.setenv("JMPOSE_CACHE", str(tmp_path / "mine"))
    assert home.cache_folder() == tmp_path / "mine" and home.is_kept()


@pytest.mark.parametrize("given", ["", "/nonexistent/home", os.devnull, "relative"])
def test_without_a_home_the_cache_is_a_private_folder(given, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", given)
    cache = home.cache_folder()
    assert (tmp_path / "temporary") in cache.parents and not home.is_kept()
    assert (home.private_folder().stat().st_mode & 0o777) == 0o700
    monkeypatch.setenv("JMPOSE_CACHE", str(tmp_path / "mine"))
    assert home.cache_folder() == tmp_path / "mine"


def test_a_home_that_cannot_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: tmp_path / "temporary" in Path(path).parents)
    assert (tmp_path / "temporary") in home.cache_folder().parents
    (tmp_path / ".cache" / "jmpose").mkdir(parents=True)  # models may lie there all the same
    assert home.cache_folder() == tmp_path / ".cache" / "jmpose"
    assert home.library_folder("some") == home.private_folder() / "some"


def test_a_folder_that_others_prepared_is_not_trusted(tmp_path):
    (tmp_path / "temporary" / f"jmpose-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / "temporary" / f"jmpose-{os.getuid()}").chmod(0o777)
    assert home.private_folder().name != f"jmpose-{os.getuid()}"
    assert (home.private_folder().stat().st_mode & 0o777) == 0o700


def test_where_nothing_can_be_written_nothing_fails(tmp_path, monkeypatch):
    def nowhere():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setenv("HOME", "/nonexistent")
    assert home.private_folder() is None and home.library_folder("some") is None
    assert home.cache_folder().is_absolute()


def test_infer_with_nothing_but_its_output_folder(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BARE_MACHINE)
    env = {key: value for key, value in os.environ.items() if key not in ("HOME", "TMPDIR")}
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(ROOT), str(ROOT / "models")])
    out = tmp_path / "out"
    command = [sys.executable, "-m", "jmpose_cli.main", "infer", ROOT / "examples" / "street.mp4"]
    done = subprocess.run(
        [*command, "--frames", "0:2", "--no-overlay", "--out", out], env=env, cwd="/", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (out / "street" / "run.json").is_file()
    assert {path.name for path in (out / ".jmpose").iterdir()} == {"claims", "journal.jsonl", "work"}
