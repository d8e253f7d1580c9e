"""The Dockerfile does what the README and the Makefile say; nothing is built here."""

import re

import pytest

from jmpose_cli.machine import explain
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """Instructions and their arguments, in order."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "docs/Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def arguments(steps, instruction):
    return [given for name, given in steps if name == instruction]


def test_slim_and_not_root(steps):
    assert "-slim" in arguments(steps, "FROM")[-1]
    names = [name for name, _ in steps]
    assert arguments(steps, "USER") == ["jmpose"]
    assert names.index("USER") < names.index("ENTRYPOINT") and 'ENTRYPOINT ["jmpose"]' in map(" ".join, steps)


def test_packages_are_those_that_the_readme_and_the_errors_name(steps):
    (install,) = (given for given in arguments(steps, "RUN") if "apt-get install" in given)
    packages = set(re.search(r"--no-install-recommends ([^&]+)", install)[1].split())
    named = re.search(r"`apt-get install ([^`]+)`", (ROOT / "README.md").read_text())[1]
    assert packages == set(named.split())
    for name in ("libGL.so.1", "libglib-2.0.so.0"):
        hint = explain(f"ImportError: {name}: cannot open shared object file: No such file or directory").hint
        assert packages - {"make"} <= set(hint.split())


def test_the_steps_are_those_of_the_readme(steps):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = [given.removeprefix("make ") for given in arguments(steps, "RUN") if given.startswith("make ")]
    assert made and set(made) <= set(targets)
    readme = (ROOT / "README.md").read_text()
    for target in made:
        assert f"$ make {target}" in readme
    assert "docs/Dockerfile" in readme and "`jmpose doctor`" in readme
    assert "jmpose doctor" in arguments(steps, "RUN")


def test_what_the_package_needs_is_copied(steps):
    copied = {path for given in arguments(steps, "COPY") for path in given.split()[:-1]}
    assert all((ROOT / path).exists() for path in copied)
    assert {"Makefile", "pyproject.toml", "README.md", "LICENSE", "jmpose_cli", "models", "examples"} == copied
