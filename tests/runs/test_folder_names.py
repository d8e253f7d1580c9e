import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jmpose_cli.clips.layout import FAILURES_FILE, RESULT_FILES, SUMMARY_FILE
from jmpose_cli.runs.folder_names import comparable, safe_name, told_apart

SAFE = ["a", "match.final", "cam1/deep/x", "žluť 2", "a..b", "run", "~", "x" * 240, "ž" * 120, " x", "a\ufffd"]
UNSAFE = {
    "": "_~e3b0c4",
    ".": "_~cdb4ee",
    "..": "__~5ec1f7",
    "...": "___~ab5df6",
    ".hidden": "_hidden~",
    "a./b ": "a_~",
    "..a..": "__a__~",
    " . ": "___~",
    "summary.json": "summary.json~",
    "Failures.JSON": "Failures.JSON~",
    "failures.json.partial": "failures.json.partial~",
    "a/run.json": "a/run.json~",
    "overlay.mp4/x": "overlay.mp4~",
    ".jmpose": "_jmpose~",
    "a\x1b]0;x\x07\n": "a_]0;x__~",
    "a\u202egpj": "a_gpj~",
    "x" * 241: "x" * 233 + "~",
    "ž" * 200: "ž" * 116 + "~",
    os.fsdecode(b"caf\xe9"): "caf\ufffd~",
}


@pytest.mark.parametrize("name", SAFE)
def test_a_safe_name_stays(name):
    assert safe_name(name) == name


@pytest.mark.parametrize("name", UNSAFE)
def test_an_unsafe_name_is_changed_and_known_again(name):
    assert safe_name(name).startswith(UNSAFE[name]) and safe_name(name) != name
    assert safe_name(name) == safe_name(name)


def test_unsafe_names_stay_different():
    assert len({safe_name(name) for name in UNSAFE}) == len(UNSAFE)
    assert safe_name("a\x01") != safe_name("a\x02") and safe_name(os.fsdecode(b"\xe9")) != safe_name(
        os.fsdecode(b"\xe8")
    )


_texts = st.text(st.characters(codec=None, exclude_characters="\0"), max_size=300) | st.binary(max_size=300).map(
    lambda raw: os.fsdecode(raw.replace(b"\0", b""))
)


@given(_texts)
@example("//")
@example("../../etc")
@example("\ud800")
def test_every_name_is_that_of_a_folder_inside(tmp_path_factory, name):
    safe = safe_name(name)
    for part in safe.split("/"):
        assert part and not part.startswith(".") and part == part.rstrip(". ") and len(part.encode()) <= 240
        assert comparable(part) not in (SUMMARY_FILE, FAILURES_FILE, *RESULT_FILES)
        assert not any(ord(c) < 32 or ord(c) == 127 for c in part)
    assert safe_name(safe) == safe
    if len(os.fsencode(safe)) < 1000:
        folder = tmp_path_factory.getbasetemp() / "names" / safe
        folder.mkdir(parents=True, exist_ok=True)
        assert folder.is_dir()


@given(st.lists(st.sampled_from(["a", "A", "a~2", "a~3", "e\u0301", "é", "ß", "SS"])))
def test_names_that_are_one_on_some_file_system_are_numbered(names):
    apart = told_apart(names)
    assert len({comparable(name) for name in apart}) == len(names)
    for place, name in enumerate(names):
        if comparable(name) not in map(comparable, names[:place]):
            assert apart[place] == name
