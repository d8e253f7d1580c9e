"""Each example of the library's page runs, as a reader would run it."""

import pytest

from tests.docs.pages import blocks
from tests.video_assets import make_video

PAGE = "docs/library.md"
EXAMPLES = blocks(PAGE, "python")
FRAMES = 3


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    (folder / "clips").mkdir()
    for video in ("match.mp4", "clips/one.mp4"):
        make_video(folder / video, frames=FRAMES)
    return folder


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_run(number, place, monkeypatch):
    monkeypatch.chdir(place)
    found: dict = {}
    exec(compile(EXAMPLES[number], f"{PAGE}, example {number + 1}", "exec"), found)
    if "summary" in found and isinstance(found["summary"], dict):
        assert (found["summary"]["done"], found["summary"]["failed"]) == (1, 0)
        assert (place / "results" / "one" / "overlay.mp4").is_file()


def test_there_is_an_example_for_each_use():
    text = "".join(EXAMPLES)
    for used in (
        "frames(",
        "write(",
        "boxes=",
        "push(",
        "finish(",
        "write_all(",
        "to_records(",
        "read_clip(",
        "write_clip(",
    ):
        assert used in text
