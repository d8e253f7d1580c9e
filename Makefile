# `make install` makes .venv and installs; `make demo` also runs the main job on the example; `make test` runs lint, types, layers and tests,
# `make test-slow` the tests that take minutes and 12 GB of memory; `make wheel-test` builds a wheel, installs it into an empty environment
# and uses it there, which also takes minutes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install demo test test-slow wheel-test lint clean

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jmpose needs Python 3.11 or newer; say which: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(VENV)/.installed $@

install: $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/jmpose infer examples/street.mp4 --out out --overwrite

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -n 2 --dist worksteal

test-slow: $(VENV)/.installed-dev
	$(BIN)/pytest -m slow

wheel-test: $(BIN)/python
	$(BIN)/python tests/installed_wheel.py

clean:
	rm -rf $(VENV) out
