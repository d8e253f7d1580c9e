"""Links lead somewhere, and scripts that pages name are there."""

import re

import pytest

from tests.conftest import ROOT
from tests.docs.pages import PAGES, TOLD, anchors, links, read, target


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page):
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, place = target(page, link)
        assert path.is_relative_to(ROOT) and path.is_file(), f"{link} leads nowhere"
        assert not place or place in anchors(path.relative_to(ROOT).as_posix()), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES)
def test_scripts_and_folders_that_are_named_exist(page):
    text = read(page)
    named = re.findall(r"python\s+((?:benchmarks|models|examples)/[\w./]+\.py)", text)
    named += re.findall(r"`((?:benchmarks|models|examples|jmpose_cli)/[\w./-]+)`", text)
    for path in named:
        assert (ROOT / path).exists(), f"{path} is not there"


def test_every_page_is_reached_from_the_readme():
    seen, waiting = set(), ["README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or not page.endswith(".md"):
            continue
        seen.add(page)
        inside = [target(page, link)[0] for link in links(page) if not link.startswith("https://")]
        waiting += [path.relative_to(ROOT).as_posix() for path in inside]
    assert set(TOLD) <= seen


def test_anchors_are_found():
    assert "one-look-at-each-person-and-frame" in anchors("docs/speed.md")
    assert "no-such-heading" not in anchors("docs/speed.md")
