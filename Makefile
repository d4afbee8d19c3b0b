# `make test` and `make demo` are all a newcomer needs; both build .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help venv test lint demo bench validate clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP)  ## create .venv with the pinned dependencies and an editable install

# The build backend is installed first, so that it too is the pinned one.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt hatchling editables
	$(BIN)/python -m pip install -c constraints.txt --no-build-isolation -e ".[dev]"
	@touch $@

# Two processes, each with whole files: tests of a file share scenes, runs and datasets.
test: lint  ## lint, then run every test that is not slow
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(STAMP)  ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

demo: $(STAMP)  ## run the demo
	$(BIN)/python examples/demo.py

bench: $(STAMP)  ## measure speed on this machine
	$(BIN)/simenv bench

validate: $(STAMP)  ## run every test that is slow: long physics cases and learning
	$(BIN)/python -m pytest -m slow

clean:  ## remove the virtual environment, caches and build outputs
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
