# make test | test-all | lint | check | statements | demo | bench | torture | torture-consumer | clean    another interpreter: make test PYTHON=python3.13
PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: test test-all lint check statements demo bench torture torture-consumer clean

# Four processes on two cores, each with its own server, because tests also wait. In this process: ARGS="-n 0 tests/unit"
PYTEST := $(BIN)/pytest --numprocesses=4 --dist=worksteal

# Tests start hundreds of interpreters. Without bytecode each would compile the package again, and each process of pytest
# would rewrite the assertions of every test, which takes it four seconds.
unexport PYTHONDONTWRITEBYTECODE
COMPILE := $(BIN)/python -m compileall -q src tests/torture

test: $(STAMP)
	@$(COMPILE)
	$(PYTEST) $(ARGS)

# Every case of every test, on every version; tests/thoroughness.py says what `make test` leaves out.
test-all: export DUPE_AUDIT_TEST_THOROUGH ?= 1
test-all: $(STAMP)
	@$(COMPILE)
	$(BIN)/python tests/servers.py .servers $(PYTEST) $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

check: $(STAMP)
	$(BIN)/dupe-audit check --writers src --squawk $(ARGS)

# The SQL of every step as it is sent for one example key; some of it: ARGS="lock_rows move_rows"
statements: $(STAMP)
	@$(BIN)/python tests/statements.py $(ARGS)

demo: $(STAMP)
	$(BIN)/dupe-audit demo $(ARGS)

bench: $(STAMP)
	PYTHONPATH=benchmarks $(BIN)/python -m migration $(ARGS)

torture: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m torture $(ARGS)

torture-consumer: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m torture.consumer $(ARGS)

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an installation that was interrupted is tried again.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "dupe-audit needs Python 3.11 or newer, and '$(PYTHON)' is not that." >&2; \
	  echo "Name another interpreter: make $(or $(MAKECMDGOALS),test) PYTHON=python3.13" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@
