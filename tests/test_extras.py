"""What only some commands need is said at once, with the line that installs it."""

import subprocess
import sys

import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.extras import check_installed, require

RUN = """
import sys
sys.modules[sys.argv.pop(1)] = None
from jmpose_cli.main import _exit_code
code = _exit_code()
sys.exit(99 if "torch" in sys.modules else code)
"""


@pytest.mark.parametrize(
    ("module", "extra", "by", "command"),
    [
        ("lightning_fabric", "train", "jmpose train", ["train", "nano-coco", "--out", "out"]),
        ("tensorboard", "train", "jmpose train", ["train", "--resume", "--out", "out"]),
        ("sleap_io", "handover", "--to sleap", ["convert", "nobody.json", "a.slp", "--to", "sleap"]),
        ("ray", "ray", "--ray", ["infer", "nobody.mp4", "--ray", "local"]),
    ],
)
def test_a_missing_extra_is_said_before_anything_is_loaded_or_read(module, extra, by, command, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", RUN, module, *command], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: {by}: {module} is not installed",
        f"hint: pip install 'jmpose[{extra}]'",
    ]
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_there_but_broken(tmp_path, monkeypatch):
    (tmp_path / "broken_extra.py").write_text("import nobody_has_this\n")
    monkeypatch.syspath_prepend(tmp_path)
    check_installed("broken_extra", extra="x", by="--x")
    with pytest.raises(JmposeError, match=r"--x: broken_extra cannot be loaded \(No module named 'nobody_has_this'\)"):
        require("broken_extra", extra="x", by="--x")


def test_a_package_that_is_there():
    assert require("json", extra="x", by="--x") is sys.modules["json"]


def test_other_systems_are_named_in_one_line():
    code = "import os, jmpose_cli; os.name = 'nt'; import jmpose_cli.posix_only"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == ("error: jmpose runs on Linux and other POSIX systems; on Windows, use WSL or a container\n")


def test_the_system_is_looked_at_before_other_modules():
    first = "import sys, jmpose_cli.main; print([m for m in sys.modules if m.startswith('jmpose_cli.')][0])"
    done = subprocess.run([sys.executable, "-c", first], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "jmpose_cli.posix_only"
