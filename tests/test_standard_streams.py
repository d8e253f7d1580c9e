"""Standard streams that are closed, full or broken, at real processes."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

# As `jmpose` does, with a file that is opened when a descriptor is free.
PROGRAM = """
import sys
from jmpose_cli.standard_streams import StandardStreams
streams = StandardStreams()
with open(sys.argv[1], "w") as kept:
    for number in range(3):
        print("out", "x" * 100_000, "\\u017e\\udce9")
        print("err", "\\u017e\\udce9", file=sys.stderr)
    sys.stdout.flush()
    kept.write("whole")
sys.exit(streams.exit_code)
"""
FULL = "error: standard output cannot be written (No space left on device)"


def shell(line: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", f'{line}; exit "${{PIPESTATUS[0]}}"', "bash", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


@pytest.mark.parametrize(
    ("redirection", "code", "shown"),
    [
        (">/dev/null", 0, "err"),
        (">/dev/full", 1, FULL),
        ("2>/dev/full >/dev/null", 0, ""),
        (">/dev/full 2>/dev/full", 1, ""),
        (">&-", 0, "err"),
        ("2>&- >/dev/null", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        ("| head -c 5", 0, "err"),
        ("2>&1 | head -c 5", 0, "out"),
    ],
)
def test_streams_that_fail_take_nothing_with_them(tmp_path, redirection, code, shown):
    done = shell(f'"$1" -c "$2" "$3" {redirection}', sys.executable, PROGRAM, str(tmp_path / "kept"))
    assert done.returncode == code and "Traceback" not in done.stderr
    assert (tmp_path / "kept").read_text() == "whole"
    assert shown in done.stdout + done.stderr and done.stderr.count(FULL) == (shown == FULL)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_what_the_encoding_lacks_is_shown_by_its_number(tmp_path, encoding, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    done = shell('"$1" -c "$2" "$3" | tail -n 1', sys.executable, PROGRAM, str(tmp_path / "kept"))
    assert done.returncode == 0 and done.stdout.split()[2] == {"utf-8": "ž", "ascii": r"\u017e"}[encoding] + r"\udce9"


def test_the_command_uses_them():
    done = shell('"$1" -m jmpose_cli.main --version >/dev/full', sys.executable)
    assert done.returncode == 1 and FULL in done.stderr and "Traceback" not in done.stderr


def test_a_run_goes_on_without_its_log(tmp_path):
    options = "--frames 0:1 --no-overlay --workers 0 --set people.input_size=320 --log-json"
    line = f'"$1" -m jmpose_cli.main infer examples/street.mp4 --out "$2" {options} >/dev/full 2>&-'
    done = shell(line, sys.executable, str(tmp_path))
    assert done.returncode == 1
    assert (tmp_path / "street" / "run.json").is_file()
    journal = (tmp_path / ".jmpose" / "journal.jsonl").read_text().splitlines()
    assert len(journal) == 3 and '"event":"done"' in journal[-1]
