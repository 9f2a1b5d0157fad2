# Two commands on a fresh machine with git, make and Python 3.11 or newer: make demo, make test.

PYTHON ?= python3
# Extra arguments for pip, such as another index for a CPU build of torch (see the README).
PIP_ARGS ?=
# The versions this release was tested with; CONSTRAINTS= takes the newest that fit.
CONSTRAINTS ?= -c constraints.txt
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) $(CONSTRAINTS)

.PHONY: demo test lint types contract check docs clean

demo: $(VENV)/.installed
	$(BIN)/erde run digits

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal \
	  --cov --cov-report=term-missing:skip-covered

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

contract: $(VENV)/.installed-dev
	$(BIN)/lint-imports

check: test lint types contract

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "erde needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) -e '.[onnx]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) -e '.[onnx,dev]'
	@touch $@

docs: $(VENV)/.installed
	$(BIN)/python -c 'from erde_cli.core.recipe.reference import reference as r; print(r(), end="")' \
	  > docs/recipes.md
	$(BIN)/erde recipes schema > recipes/recipe.schema.json

clean:
	rm -rf $(VENV) runs build dist .coverage* .mypy_cache .pytest_cache .ruff_cache
