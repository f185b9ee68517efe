# Each command makes its own environment in .venv on first use. Needed: make and Python 3.11 or newer.
#   make predict FORMULA=NaCl     predict a crystal structure
#   make test                     run the tests
#   make lint                     run the linters and the type checker
#   make docs                     build the documentation into site
#   make gpaw                     build GPAW, which is optional; docs/oracles.md says what it needs

FORMULA ?=
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin

# The first Python on the path that is new enough.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

.DEFAULT_GOAL := help
.PHONY: help predict formula test lint docs gpaw

help:
	@echo "make predict FORMULA=NaCl     predict the crystal structure of a compound"
	@echo "make test                     run the tests"
	@echo "make lint                     run the linters and the type checker"
	@echo "make docs                     build the documentation into site"
	@echo "make gpaw                     build GPAW, which is optional; docs/oracles.md says what it needs"

formula:
	@test -n "$(strip $(FORMULA))" || { echo "Say which compound: make predict FORMULA=NaCl"; exit 2; }

predict: formula $(VENV)/.ready
	@$(BIN)/lcoms predict $(foreach formula,$(FORMULA),'$(formula)') $(ARGS)

# One process for each core; ARGS="-n 0" keeps all tests in one.
test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.ready-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

# GPAW's own guess at libraries fails on Debian and Ubuntu, so that they are named here.
gpaw: $(VENV)/.ready
	@command -v mpic++ >/dev/null || { echo "First install what GPAW is built with, see docs/oracles.md:"; \
		echo "sudo apt-get install -y libxc-dev libopenblas-dev libopenmpi-dev openmpi-bin libfftw3-dev g++"; exit 2; }
	@printf "mpi = True\ncompiler = 'mpic++'\nfftw = True\nscalapack = False\nlibraries = ['xc', 'openblas', 'fftw3']\n" \
		> $(VENV)/gpaw_siteconfig.py
	GPAW_CONFIG=$(abspath $(VENV))/gpaw_siteconfig.py $(BIN)/python -m pip install gpaw==26.7.0 gpaw-data==1.2.1

# The stamps say what is installed; they are made anew when the list of dependencies changes.
$(VENV)/.ready: pyproject.toml scripts/setup_env.py
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found; install it, or name it: make PYTHON=/path/to/python"; exit 2; }
	@$(PYTHON) scripts/setup_env.py $(VENV) --extra chgnet --wish sevennet
	@touch $@

$(VENV)/.ready-dev: pyproject.toml scripts/setup_env.py
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found; install it, or name it: make PYTHON=/path/to/python"; exit 2; }
	@$(PYTHON) scripts/setup_env.py $(VENV) --extra dev --extra chgnet --wish sevennet
	@touch $(VENV)/.ready $@

$(VENV)/.ready-docs: pyproject.toml scripts/setup_env.py
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found; install it, or name it: make PYTHON=/path/to/python"; exit 2; }
	@$(PYTHON) scripts/setup_env.py $(VENV) --extra docs
	@touch $@
