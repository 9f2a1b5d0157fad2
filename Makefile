# Two commands on a fresh machine with git, make and Python 3.11 or newer: make demo, make test.

PYTHON ?= python3
# Extra arguments for pip, such as another index for a CPU build of torch (see the README).
PIP_ARGS ?=
# The versions this release was tested with; CONSTRAINTS= takes the newest that fit.
CONSTRAINTS ?= -c constraints.txt
VENV := .venv
BIN := $(VENV)/bin
# Tests whose results come from the processor: those of the core that import torch or check networks
# of its libraries, the convolutions, training of the shipped recipes, and two whole commands. Other
# tests are left out of test-avx2, because what it sets changes torch alone.
NUMERIC = $(shell grep -lrE --include='test_*.py' '^(import|from) torch' tests/core) \
  tests/core/models/library/test_families.py tests/gradients tests/test_recipes.py \
  tests/commands/test_run.py tests/commands/test_export.py
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) $(CONSTRAINTS)

.PHONY: demo test test-slow test-avx2 test-openvino coverage lint types contract check audit docs clean

demo: $(VENV)/.installed
	$(BIN)/erde run digits

# numpy multiplies matrices in one thread: the processes of the tests already use every core.
test coverage test-slow test-avx2: export OPENBLAS_NUM_THREADS := 1

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

# The same tests, and which lines they do not run: it fails under 90 %. They take a third longer.
coverage: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal \
	  --cov --cov-report=term-missing:skip-covered

# The tests marked slow, which `make test` leaves out. One needs a package index.
test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal -m slow \
	  tests/core/models tests/test_runtime.py tests/commands/test_several_processes.py

# What computes, once more as on an x86 processor without AVX512 (ONNX Runtime is not emulated).
test-avx2: $(VENV)/.installed-dev
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 $(BIN)/python -m pytest \
	  -n auto --maxprocesses 8 --dist worksteal $(NUMERIC)

# Float and int8 stages in the newest OpenVINO, which gets a venv of its own.
test-openvino: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.runtimes --only openvino-newest --forms stages "stages, int8"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

contract: $(VENV)/.installed-dev
	$(BIN)/lint-imports

check: test test-slow test-avx2 test-openvino lint types contract

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

# Known holes in what is installed, as PyPI tells them. What it cannot tell of is a failure, so that
# nothing passes where the service cannot be reached; builds such as torch+cpu go by their release.
audit: $(VENV)/.installed-audit
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+[^ ]*$$//' > $(VENV)/audited.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip --progress-spinner off \
	  --requirement $(VENV)/audited.txt

$(VENV)/.installed-audit: $(VENV)/.installed-dev
	$(INSTALL) -e '.[onnx,dev,audit]'
	@touch $@

docs: $(VENV)/.installed
	$(BIN)/python -c 'from erde_cli.core.recipe.reference import reference as r; print(r(), end="")' \
	  > docs/recipes.md
	$(BIN)/erde recipes schema > recipes/recipe.schema.json

clean:
	rm -rf $(VENV) runs build dist .coverage* .mypy_cache .pytest_cache .ruff_cache
