# One runner, one line a verb. Everything is installed into .venv by `setup`, which the verbs call.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Three at a time on two cores: a session waits a good part of its time, for its workers and its disk.
SUITE := $(BIN)/python -m pytest --timeout=120 --durations=20 -n 3 --dist loadfile --no-loadscope-reorder

# Without byte code every session that the suite starts would compile its plugins anew.
unexport PYTHONDONTWRITEBYTECODE
# pyright and the JavaScript that it needs are packages of PyPI; it is not to ask for newer ones.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: setup fmt lint types test docs bench check demo modal-secrets modal-deploy modal-serve
.DEFAULT_GOAL := check

setup: $(VENV)/ready        ## make .venv with all that the verbs need; quick the second time
fmt: setup                  ## rewrite the code as `lint` wants it
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .
lint: setup                 ## ruff, and the floors of ARCHITECTURE.md
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-logo
types: setup                ## mypy, strict, and pyright over code as users write it
	$(BIN)/mypy && $(BIN)/pyright
docs: setup                 ## run every code block of the docs
	$(SUITE) tests/test_docs*.py
check: lint types           ## all of CI: lint, types, and the suite with branch coverage
	$(SUITE) --cov --cov-report=term:skip-covered
test: check                 ## the same, under the name people type first
demo: setup                 ## train, judge and report the experiments and the stage that ship
	$(BIN)/pytest experiments/
	$(BIN)/pytest experiments/ --stage stages/spectral.yaml
bench: $(VENV)/ready-bench  ## time this plugin beside its peers
	$(BIN)/python -m bench

modal-secrets: setup        ## put the secrets of the environment on Modal
	$(BIN)/gpuexp secrets
modal-deploy: modal-secrets ## put the app on Modal, secrets first
	$(BIN)/gpuexp deploy
modal-serve: modal-secrets  ## the same until Ctrl-C, anew with each change
	$(BIN)/gpuexp serve

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("pytest-gpuexp needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 setup" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@echo 'Installing into $(VENV); the first time takes a minute or two'
	$(INSTALL) -e '.[experiments,hydra,lint,modal,stats,test,tigris,xdist]'
	@touch $@
$(VENV)/ready-bench: $(VENV)/ready
	$(INSTALL) -e '.[bench]'
	@touch $@
