"""What people read: whole, and as it was written."""

import re
import shutil

import pytest
import typer
from typer.testing import CliRunner

from jmpose_cli.errors import JmposeError
from jmpose_cli.main import app
from jmpose_cli.training.config import load_train_config, shipped_configs
from jmpose_cli.training.display import Display
from tests.conftest import ROOT

ODD = "[red]cam [1] :smile: [/]"


def commands(command, path=()):
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "220")
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_shows_every_word(path):
    shown = " ".join(CliRunner().invoke(app, [*path, "--help"]).output.replace("│", " ").split())
    texts = [COMMANDS[path].help, *(getattr(parameter, "help", None) for parameter in COMMANDS[path].params)]
    for text in filter(None, texts):
        for word in text.replace("\\[", "[").split():
            assert word in shown, (word, text)


def test_brackets_in_help():
    assert "needs jmpose[ray]." in CliRunner().invoke(app, ["infer", "--help"]).output


def test_there_is_one_way_to_make_a_console():
    makers = [
        path.name
        for path in (ROOT / "jmpose_cli").rglob("*.py")
        if re.search(r"Console\(|rich\.markup|print_markup", path.read_text())
    ]
    assert makers == ["console.py"]


def test_names_are_no_markup(tmp_path, capsys):
    source = tmp_path / f"{ODD.replace('/', '')}.json"
    shutil.copy(ROOT / "examples" / "street.posetrack18.json", source)
    said = CliRunner().invoke(app, ["convert", str(source), str(tmp_path / "out.json"), "--to", "coco"])
    assert source.name in said.output
    display = Display()
    display.header({ODD: ODD})
    display.note(ODD)
    display.scores(0, [])
    assert capsys.readouterr().err.count(ODD) == 3


def test_list_of_configurations_gives_whole_descriptions():
    shown = " ".join(CliRunner().invoke(app, ["train", "--list"]).output.split())
    for name, path in shipped_configs().items():
        comment = re.match(r"(#.*\n)+", path.read_text())[0]
        assert f"{name} {' '.join(comment.replace('#', ' ').split())}" in shown


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_a_configuration_without_what_it_starts_from_says_so_in_a_sentence(name):
    try:
        load_train_config(name, [], {})
    except JmposeError as error:
        assert error.message.startswith("--init is missing") and "{" not in error.message


def test_errors_of_sections_do_not_show_all_their_settings():
    with pytest.raises(JmposeError) as caught:
        load_train_config("nano-coco", ["data={root: 3}"], {})
    assert len(caught.value.message) < 120


def test_training_says_at_once_what_takes_time(tmp_path):
    command = ["train", "nano-coco", "--out", str(tmp_path / "run"), "--data", str(tmp_path)]
    assert CliRunner().invoke(app, command).stderr.startswith("  starting  loading torch")
    assert CliRunner().invoke(app, [*command, "--quiet"]).stderr == ""
