import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from jmpose_cli.console import Reporter, make_console
from jmpose_cli.errors import JmposeError
from jmpose_cli.main import print_error
from jmpose_cli.runs.report import RunReport
from jmpose_cli.runs.summary import Failure
from jmpose_cli.text import csv_cell, one_line, printable, to_json, visible

COMMANDS = "\x1b]0;title\x07 \x1b[2J \x9b31m \r\b\x7f \u202egpj.exe \x00"
OBEYED = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u202e"} - {"\n"}


def is_harmless(shown: str) -> bool:
    return not OBEYED & set(shown)


@given(st.text(st.characters(exclude_categories=()) | st.sampled_from(COMMANDS + "\n\t\u2028\ud800\udcff")))
def test_nothing_is_left_that_a_terminal_obeys(text):
    assert is_harmless(visible(text).replace("\t", "")) and is_harmless(one_line(text))
    assert len(one_line(text).splitlines()) <= 1
    one_line(text).encode()  # no lone surrogates


def test_plain_text_stays_as_it_is():
    for text in ("", "a b.mp4", "žluť 走 😀 👩\u200d🚀 é", "C:\\x [bold]"):
        assert visible(text) == one_line(text) == text
    assert visible("a\n\tb") == "a\n\tb" and one_line("a\n\tb") == "a␊␉b"
    assert visible("\x1b[31m") == "␛[31m" and visible("\x7f\x9b") == "␡�"
    assert printable("\ud800") and "\ud800" not in printable("\ud800")


@pytest.mark.parametrize("indent", [False, True])
@pytest.mark.parametrize("name", [COMMANDS, "\x7f", "\x80\x9f", "é\x85", "plain", "\udcff\x9b"])
def test_json_has_escapes_for_control_characters(name, indent):
    text = to_json({name: [name]}, indent=indent).decode()
    assert not (OBEYED - {"\u202e"}) & set(text)
    kept = name.replace("\udcff", "?")
    assert json.loads(text) == {kept: [kept]}


@pytest.mark.parametrize("stderr", [False, True])
def test_a_console_obeys_no_text(capsys, stderr):
    console = make_console(stderr=stderr)
    table = Table(COMMANDS)
    table.add_row(COMMANDS)
    for thing in (COMMANDS, Text(COMMANDS, style="red"), table):
        console.print(thing, style="red")
    assert is_harmless("".join(capsys.readouterr()))


@pytest.mark.parametrize("name", [f"a{COMMANDS}.mp4", "a\nerror: b.mp4", "a\r\x1b[Ahint.mp4"])
def test_names_in_messages_are_text_on_one_line(capsys, name):
    error = JmposeError(f"{name}: cannot be read", hint=f"remove {name}")
    print_error(error)
    report, run = Reporter(), RunReport()
    report.header({"model": name})
    report.failure(name, error)
    report.note(name)
    with report.progress(name, 5):
        pass
    run.header({"model": name})
    run.note(name)
    run.failed(0, Failure(name, name, error.message, error.hint))
    run.table([Failure(name, name, error.message, error.hint)], [], out=Path("out"))
    out, err = capsys.readouterr()
    assert is_harmless(out + err)
    assert not any(line.startswith(("hint.mp4", "error: b.mp4")) for line in (out + err).splitlines())


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠"])
def test_a_cell_is_no_formula(begin):
    text = f"{begin}cmd|' /C calc'!A0"
    stream = io.StringIO(newline="")
    csv.writer(stream).writerow([csv_cell(text), 1])
    ((cell, _),) = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    assert cell == f"'{text}"
    assert csv_cell("clip-1 = a") == "clip-1 = a"
