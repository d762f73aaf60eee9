# `make demo` learns a concept and draws it; `make check` passes the tests. Both make the environment
# they need in .venv, both can be repeated.

PYTHON ?= python3
BIN := .venv/bin
DEMO := PRISM_HOME=$(CURDIR)/demo/home $(CURDIR)/$(BIN)/prism

.PHONY: demo check lint test golden lock

demo: .venv/ready
	@echo "-- learning [zuzu] from examples/zuzu on the practice base (1.5 to 2 minutes on two cores)"
	$(DEMO) train examples/zuzu --name zuzu --lora-steps 700 --force
	@echo "-- drawing it"
	$(DEMO) gen "a [zuzu] on a yellow background" -n 4 --seed 1 --out demo --force
	$(DEMO) list
	@echo "-- look at demo/zuzu-1-sheet.png"

check: lint test

lint: .venv/ready
	@echo "-- style and types"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: .venv/ready
	@echo "-- tests"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4

golden: .venv/ready
	$(BIN)/python -m pytest tests/cli --update-golden

# The lock leaves torch out: which build is right depends on the machine, and pyproject.toml has its range.
lock: .venv/ready
	$(BIN)/python -m pip freeze --exclude-editable | grep -viE '^(torch|triton|nvidia|prism)' > requirements-dev.lock

.venv/ready: pyproject.toml requirements-dev.lock
	@echo "-- making the environment in .venv (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit("prism needs Python 3.11 or newer; try: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements-dev.lock -e '.[dev]'
	@touch $@
