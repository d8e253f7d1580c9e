"""What pages say about commands, options and settings is so."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from jmpose.keypoints import KEYPOINT_SETS
from jmpose_cli.clips.layout import RESULT_FILES
from jmpose_cli.config import InferConfig, dotted_keys
from jmpose_cli.formats.writers import FORMATS
from jmpose_cli.main import app
from jmpose_cli.training.config import TrainConfig
from tests.conftest import ROOT
from tests.docs.pages import PAGES, TOLD, console_lines, prose, read, spans

OF_OTHER_PROGRAMS = {"--gpus"}
SETTINGS = {key: model for model in (TrainConfig, InferConfig) for key in dotted_keys(model)}
SECTIONS = {key.partition(".")[0] for key in SETTINGS if "." in key}
ODD = re.compile(
    r"\b(go(es)? on (behind|where|with)|in work|behind (the frame|frame|its)|stands? in the (card|file)s?)\b",
    re.IGNORECASE,
)


def commands(command: Any) -> Iterator[Any]:
    yield command
    for inner in getattr(command, "commands", {}).values():
        yield from commands(inner)


ALL = list(commands(typer.main.get_command(app)))
OPTIONS = {name for one in ALL for parameter in one.params for name in (*parameter.opts, *parameter.secondary_opts)}
OPTIONS |= {"--help"}


def exit_code(line: str) -> int:
    """Read a command line as the program does, and do nothing; 2 is wrong usage."""
    command = typer.main.get_command(app)
    for one in commands(command):
        if not hasattr(one, "commands"):
            one.callback = lambda **_: None
    with pytest.raises(SystemExit) as ended:
        command.main(args=shlex.split(line)[1:], prog_name="jmpose")
    return int(ended.value.code or 0)


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_understood(page):
    for line in console_lines(page):
        if line.startswith("jmpose "):
            assert exit_code(line) == 0, line


@pytest.mark.parametrize("line", ["jmpose infer a.mp4 --no-such-option", "jmpose convert a.json", "jmpose nothing"])
def test_wrong_commands_are_not(line):
    assert exit_code(line) == 2


@pytest.mark.parametrize("page", TOLD)
def test_inline_commands_and_options_exist(page):
    for span in spans(page):
        if span.startswith("jmpose "):
            words = [word for word in span.split()[1:] if not word.startswith("-")]
            assert words[0] in {one.name for one in ALL}, span
        used = re.findall(r"(?<![\w-])--[a-z][a-z-]*", span) if span.startswith(("--", "jmpose ")) else []
        assert set(used) <= OPTIONS | OF_OTHER_PROGRAMS, span


@pytest.mark.parametrize("page", TOLD)
def test_settings_exist(page):
    for span in spans(page):
        for key in re.findall(r"(?<![\w./-])([a-z]+\.[a-z_]+)(?![\w.(/])", span):
            if key.partition(".")[0] in SECTIONS and not key.endswith((".json", ".yaml", ".py")):
                assert key in SETTINGS, f"{page}: {span}"


def test_files_and_keypoint_sets_are_all_told():
    page = read("docs/results.md")
    for name in {re.sub(r"(?<=keypoints\.)\w+(?=\.coco)", "SET", name) for name in RESULT_FILES}:
        assert f"| `{name}` |" in page
    told = re.search(r"`--keypoints SET` chooses[^:]+:(.+?)\. Without", page, re.DOTALL)[1]
    assert set(re.findall(r"`(\w+)`", told)) == set(KEYPOINT_SETS)


def test_help_says_the_defaults_that_hold():
    infer = next(one for one in ALL if one.name == "infer")
    helps = {parameter.opts[0]: parameter.help for parameter in infer.params if parameter.param_type_name == "option"}
    config = InferConfig()
    for option, value in {
        "--batch": config.pose.batch,
        "--detect-every": config.people.detect_every,
        "--precision": config.precision,
    }.items():
        assert f"({value})" in helps[option]
    assert set(re.findall(r"[a-z]+\d+(?:_head)?", helps["--keypoints"].partition(".")[0])) == set(KEYPOINT_SETS)
    for name in FORMATS:
        assert name in helps["--format"]


@pytest.mark.parametrize("page", TOLD)
def test_numbers_of_the_decisions_hold(page):
    config = InferConfig()
    for key, value in re.findall(r"`((?:people|pose|run)\.\w+)=([\d.]+)`", prose(page)):
        assert key in SETTINGS and value
    if page == "docs/decisions.md":
        text = " ".join(prose(page).split())
        assert f"OKS {config.people.same_pose_oks} (`people.same_pose_oks`)" in text
        assert config.people.lost_after_s == 2 and "remembered for 2 seconds (`people.lost_after_s`)" in text
        assert config.people.max_gap_s == 0.5 and "Gaps of up to half a second are filled" in text


def test_plain_english():
    texts = {page: prose(page) for page in PAGES}
    for one in ALL:
        texts[f"jmpose {one.name}"] = " ".join([one.help or "", *(getattr(p, "help", "") or "" for p in one.params)])
    for where, text in texts.items():
        found = ODD.search(text)
        assert found is None, f"{where}: {found[0]}"


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    lines = [line for line in (*console_lines(page), *spans(page)) if re.match(r"make [a-z-]+( |$)", line)]
    for line in lines:
        assert line.split()[1] in targets, line
