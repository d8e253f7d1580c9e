"""What a JSON parser would decide in silence is an error that names the place."""

import codecs
import json
import os
import re

import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.json_file import read_json

DATA = {"images": [{"id": 1, "file_name": "a:b.jpg"}], "annotations": [{"bbox": [1, 2, 3, 4], "note": "x:y"}]}
TEXT = json.dumps(DATA)


@pytest.fixture
def read(tmp_path):
    def from_content(content):
        path = tmp_path / "file.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_json(path)

    return from_content


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('"bbox"', '"bbox": [], "bbox"', "annotations[0].bbox"),
        ('"annotations"', '"images": [], "annotations"', "images"),
        ('"id": 1', '"id": 1, "id": 1', "images[0].id"),
        ('"id": 1', '"id": 1, "\\u0069d": 2', "images[0].id"),
        # As many colons as the parser keeps, if escaped ones are not seen to.
        ('"id": 1, "file_name": "a:b.jpg"', '"id": 1, "id": 2, "file_name": "a\\u003ab.jpg"', "images[0].id"),
        ('"id": 1, "file_name": "a:b.jpg"', '"id": 1, "id": 2, "file_name": "a\\u003Ab.jpg"', "images[0].id"),
    ],
)
def test_doubled_key_is_named(read, old, new, where):
    assert old in TEXT
    with pytest.raises(JmposeError, match=re.escape(f"{where} is there twice")):
        read(TEXT.replace(old, new))


@pytest.mark.parametrize(
    "text", [TEXT, TEXT.replace("a:b", "a\\u003ab"), TEXT.replace(": ", " :\n"), '"a:b"', "{}", "3"]
)
def test_colons_that_are_no_doubled_key(read, text):
    assert read(text) == json.loads(text)


@pytest.mark.parametrize(
    ("number", "shown"), [("NaN", "nan"), ("-Infinity", "-inf"), ("1e999", "inf"), ("9" * 5000, "inf")]
)
def test_number_that_is_not_finite_is_named(read, number, shown):
    with pytest.raises(JmposeError, match=rf"not valid JSON: annotations\[0\]\.bbox\[2\] is {shown}"):
        read(TEXT.replace("3,", f"{number},"))


@pytest.mark.parametrize("levels", [300, 5000])
def test_too_many_levels(read, levels):
    with pytest.raises(JmposeError, match=r"nested too deeply|not valid JSON"):
        read("[" * levels + "]" * levels)


def test_byte_order_mark_of_utf8_is_no_content(read):
    assert read(codecs.BOM_UTF8 + TEXT.encode()) == DATA


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_other_encodings_are_named(read, encoding):
    with pytest.raises(JmposeError, match=rf"file.json is {encoding[:6].upper()}.* text") as caught:
        read(TEXT.encode(encoding))
    assert "UTF-8" in caught.value.hint


def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "file.json")
    with pytest.raises(JmposeError, match="a named pipe; it must be a regular file"):
        read_json(tmp_path / "file.json")
