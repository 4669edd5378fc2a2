# make search   install, search for a loss on the digits, export the best: no download, a few minutes
# make test     install, run every gate; each gate can be run alone: lint types layers unit docs wheel
# make clean    remove what these made

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
# Processes that tests start, hundreds of them, find modules compiled, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE
ifndef SIDE_BY_SIDE
.NOTPARALLEL:
endif
.PHONY: help install search test lint types layers compiled unit docs wheel try-wheel clean
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WHEEL_VENV := $(abspath .venv-wheel)
FULLY_COVERED := lossml/program/*,lossml/algebra/*,lossml/evolve/*

# The lines of a gate stay together, where make can do that.
TOGETHER := $(if $(filter output-sync,$(.FEATURES)),--output-sync)

# uv resolves and installs several times faster; where it cannot be had, pip does the same.
INSTALL = @install_into() { python=$$1; shift; \
	if [ -x $(BIN)/uv ]; then $(BIN)/uv pip install --quiet --compile-bytecode --python $$python "$$@"; \
	else $$python -m pip install --quiet "$$@"; fi; }; install_into

help:
	@sed -n 's/^# make/make/p' Makefile

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "LossML needs Python 3.11 or later; name one: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	$(BIN)/python -m pip install --quiet uv || echo "uv cannot be had here; installing with pip"

# Stamps: an environment is installed once, and again when the requirements change.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing LossML and torch into $(VENV): some gigabytes, some minutes the first time"
	$(INSTALL) $(BIN)/python -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	@echo "Installing LossML, torch and the test tools into $(VENV): some gigabytes, some minutes the first time"
	$(INSTALL) $(BIN)/python -e '.[test,docs]'
	@touch $@ $(VENV)/.installed

install: $(VENV)/.installed

search: $(VENV)/.installed
	$(BIN)/lossml search --dataset digits --budget 60
	$(BIN)/lossml export best --format torch -o my_loss.py

# What takes one core runs side by side; tests take all cores themselves.
test: $(VENV)/.installed-test
	$(MAKE) --no-print-directory --jobs 2 $(TOGETHER) SIDE_BY_SIDE=yes lint types layers compiled wheel
	$(MAKE) --no-print-directory unit docs
	@echo "Every gate passed."

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/pyright

layers: $(VENV)/.installed-test
	$(BIN)/lint-imports --no-cache

# The machine in both precisions, which processes of tests that begin together would each compile.
# Its cache looks at kernel.py alone.
compiled: $(VENV)/.installed-test
	@for source in elementary bytecode; do \
		find lossml/backend/__pycache__ -name '*.nb?' ! -newer lossml/backend/$$source.py -delete 2>/dev/null || true; done
	$(BIN)/python -c 'import torch; from lossml.backend import ProgramLoss, stack; \
	run = stack([ProgramLoss("-y*logp")]); label = torch.zeros(1, 1, dtype=torch.long); \
	[run(torch.zeros(1, 1, 2, dtype=kind), label) for kind in (torch.float32, torch.float64)]'

unit: $(VENV)/.installed-test
	rm -f .coverage .coverage.*
	$(BIN)/pytest --ignore=tests/test_docs.py -n 2 --durations=10 --cov --cov-report=
	$(BIN)/coverage report --include='$(FULLY_COVERED)' --fail-under=100
	$(BIN)/coverage report --fail-under=90

docs: $(VENV)/.installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site
	LOSSML_SITE=build/site $(BIN)/pytest -n 2 tests/test_docs.py

# The wheel in an environment of its own, away from the checkout, as a user gets it.
wheel: $(VENV)/.installed-test
	rm -rf dist $(WHEEL_VENV)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	trap 'rm -rf $(WHEEL_VENV)' EXIT; $(MAKE) --no-print-directory try-wheel

try-wheel:
	$(PYTHON) -m venv $(WHEEL_VENV)
	$(INSTALL) $(WHEEL_VENV)/bin/python dist/lossml-*.whl
	cd "$$(mktemp -d)"; PATH=$(WHEEL_VENV)/bin:$$PATH; set -x; \
	lossml --version; \
	python -c 'from lossml.resources import recipe_names as names; assert names(), "no recipe in the wheel"'; \
	lossml search --dataset digits --budget 4 --seed 1

clean:
	rm -rf $(VENV) $(WHEEL_VENV) build dist site .coverage .coverage.* .pytest_cache .ruff_cache .hypothesis
