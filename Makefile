# `make demo` and `make test` are all a newcomer needs: each sets up .venv on its first run.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test bench lint format lock clean

# The first Python on the path that is new enough; PYTHON=... chooses another.
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))
BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command 'make lock'

help:  ## print this
	@sed -n 's/^\([a-z]*\):.*  ## \(.*\)/make \1	\2/p' Makefile

demo: $(READY)  ## run the whole thing on this machine, in under a minute
	@$(BIN)/cachectl demo

test: lint  ## everything that a change must pass
	$(BIN)/pytest

bench: $(READY)  ## measure it beside its peers; ARGS='--quick' is shorter
	@$(BIN)/python -m tests.perf.bench $(ARGS)

lint: $(READY)  ## style, types and import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## put the code into the house style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Two steps: a few dependencies come as source, and what builds them is locked as well.
$(READY): pyproject.toml requirements-build.lock requirements-dev.lock
	@test -n '$(PYTHON)' || { echo 'cachectl needs Python 3.11 or newer; none is on the path.' >&2; exit 1; }
	@echo 'Setting up .venv; this takes a minute or two, once.'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(PIP) --require-hashes -r requirements-build.lock
	@$(PIP) --require-hashes --no-build-isolation --use-pep517 -r requirements-dev.lock
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

lock: $(READY)  ## renew both locks from pyproject.toml
	$(COMPILE) --upgrade --extra controller --group dev pyproject.toml --output-file requirements-dev.lock
	$(COMPILE) --group build --constraints requirements-dev.lock --output-file requirements-build.lock
	touch $(READY)

clean:  ## remove .venv and everything that was built
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
