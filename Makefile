# Each target makes its environment in .venv when it has to. Needed beforehand: Python >= 3.11, git and make.
# `make demo PYTHON=python3.12` chooses the interpreter, `make test UV=` does without uv, ARGS go to the program.

BIN := .venv/bin
PY := $(BIN)/python
STAMP := .venv/.complete
UV ?= $(shell command -v uv 2>/dev/null)
ARGS ?=
# Tests run side by side, for many of them wait most of their time; then those which nothing may run beside.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
BESIDE = $(PY) -m pytest -n $(WORKERS) --maxprocesses 8 -m "not alone"
ALONE = $(PY) -m pytest -m alone
DENIED = $(PY) tests/security/denying.py $(if $(filter 0,$(shell id -u)),container,user)

# The first that starts (a pyenv shim may not), is new enough, and can make an environment where uv is not there to.
usable = import sys; sys.version_info >= (3, 11) or sys.exit(1)$(if $(UV),,; import ensurepip, venv)
python = $(or $(shell for each in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
  "$$each" -c '$(usable)' >/dev/null 2>&1 && echo "$$each" && break; done),$(error \
  No usable Python >= 3.11 found. Name one with PYTHON=..., or on Debian and Ubuntu: apt install python3-venv))

.PHONY: help env demo test test-denied test-long check format bench bench-mirror lock clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: env  ## the main job, from an empty workspace to a served application that survives its sandbox
	$(BIN)/vaporform-mcp demo $(ARGS)

test: env  ## all tests that CI runs
ifeq ($(ARGS),)
	$(BESIDE)
	$(ALONE)
else
	$(PY) -m pytest $(ARGS)
endif

test-denied: env  ## the demo and the tests from end to end, where namespaces are denied: for root in a kind of container
	$(DENIED) $(BIN)/vaporform-mcp demo
	$(DENIED) $(PY) -m pytest tests/e2e $(ARGS)

test-long: env  ## the same tests and the long ones, with real limits and more rounds
	TEST_LONG=1 $(PY) -m pytest --timeout=3600 $(ARGS)

check: env  ## format, lint, strict types, import layers
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m pyright
	$(BIN)/lint-imports --no-logo

format: env  ## mend what `check` can mend by itself
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

bench: env  ## speed and memory beside a bare server
	$(PY) benchmarks/run.py $(ARGS)

bench-mirror: env  ## the mirror beside git, rsync and restic
	$(PY) benchmarks/mirror.py $(ARGS)

# Needs uv. Hashes without addresses, for every platform and every Python from 3.11 on, so that any index can serve it.
lock:  ## renew requirements.lock from pyproject.toml; ARGS=--upgrade takes the newest versions
	$(or $(UV),$(error make lock needs uv: https://docs.astral.sh/uv/)) pip compile pyproject.toml --group dev \
	  --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
	  --custom-compile-command 'make lock' --quiet --output-file requirements.lock $(ARGS)

clean:  ## remove the environment and everything else that these targets make
	rm -rf .venv .hypothesis .import_linter_cache .pytest_cache .ruff_cache build dist
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# Compiled by name, since PYTHONDONTWRITEBYTECODE may be set: a server that starts uncompiled takes twice as long.
env: $(STAMP)
	@$(PY) -m compileall -q src

# No build isolation: the build backend is in the lock, so nothing is installed that has no hash there.
# Some packages ship files for other Pythons, which do not compile or warn; they are never imported.
$(STAMP): requirements.lock pyproject.toml
ifneq ($(UV),)
	@$(PY) -c '' 2>/dev/null || $(UV) venv --quiet --clear --python $(python) .venv
	$(UV) pip sync --quiet --python $(PY) --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable .
else
	@$(PY) -m pip --version >/dev/null 2>&1 || $(python) -m venv --clear .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
endif
	@$(PY) -W ignore -m compileall -qq -j0 .venv/lib || true
	@touch $@
