"""What the pages of this project say: their links, headings, code and options."""

import re
from pathlib import Path

from tests.conftest import ROOT

FOLDERS = ("docs", "jmpose_cli", "examples", "benchmarks", "models")
TOLD = ("README.md", "CHANGELOG.md", *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("docs/*.md"))))
"""The pages that say how the tool is used."""
PAGES = (*TOLD, *(p.relative_to(ROOT).as_posix() for f in FOLDERS[1:] for p in sorted((ROOT / f).rglob("*.md"))))
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read(page: str) -> str:
    """Return the text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def prose(page: str) -> str:
    """Return a page without its code blocks."""
    return _FENCED.sub("", read(page))


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a page in one language."""
    return [code for name, code in _FENCED.findall(read(page)) if name == language]


def console_lines(page: str) -> list[str]:
    """Return the commands that a page shows, without prompts and comments."""
    whole = [re.sub(r"\\\n\s*", "", block) for block in blocks(page, "console")]
    lines = [line for block in whole for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in lines), f"{page}: a console block holds something else than commands"
    return [line[2:].partition(" # ")[0].strip() for line in lines]


def spans(page: str) -> list[str]:
    """Return the words that a page sets in code type."""
    return re.findall(r"`([^`\n]+)`", prose(page))


def links(page: str) -> list[str]:
    """Return the targets of a page's links and pictures."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    return re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text)


def anchors(page: str) -> set[str]:
    """Return what can stand after # in a link to a page: its headings as web pages of repositories name them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def target(page: str, link: str) -> tuple[Path, str]:
    """Return the file that a link means, and the place in it."""
    name, _, place = link.partition("#")
    return ((ROOT / page).parent / name).resolve() if name else ROOT / page, place
