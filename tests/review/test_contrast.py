"""Text of the page can be read in both themes: contrasts as WCAG 2 counts them, from the style sheet."""

import re
from importlib.resources import files

import pytest

PAGE = files("jmpose_cli.review").joinpath("page")
STYLE = PAGE.joinpath("style.css").read_text()
LEAST = 4.5
TEXTS = ("text", "faint", "accent", "mark", "good")
"""Variables in which text is written, in the style sheet or on the canvases."""


def variables(theme):
    """The colours of a theme, by name."""
    (block,) = re.findall(rf':root\[data-theme="{theme}"\] {{(.*?)}}', STYLE, re.S)
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))


def luminance(colour):
    """Relative luminance, 0 to 1."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    """From 1, alike, to 21, black on white."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrasts_are_counted_as_they_should():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_text_stands_out_from_what_is_behind_it(theme):
    found = variables(theme)
    low = {
        (text, behind): contrast(found[text], found[behind])
        for text in TEXTS
        for behind in ("back", "panel")
        if contrast(found[text], found[behind]) < LEAST
    }
    assert low == {}


def test_the_light_theme_of_the_system_is_the_light_one():
    (block,) = re.findall(r":root:not\(\[data-theme\]\) {(.*?)}", STYLE, re.S)
    assert dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) == variables("light")


def test_ids_stand_out_from_their_labels():
    # Labels are nearly black over any picture: over a white one, 0xd of 15 parts black.
    safe = re.findall(r'"(#[0-9a-f]{6})"', PAGE.joinpath("colours.js").read_text())
    behind = "#" + f"{round(255 * 2 / 15):02x}" * 3
    assert (
        len(safe) == 8
        and {colour: contrast(colour, behind) for colour in safe if contrast(colour, behind) < LEAST} == {}
    )
