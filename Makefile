# Two commands for a new user: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
.PHONY: install install-services install-ui demo test test-all test-deploy test-deploy-demo test-ui \
	test-faults bench bench-large bench-platform screenshots ui lint clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# What the tests of deployment and of faults need besides.
install-services: $(VENV)/.services

$(VENV)/.services: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,services]'
	touch $@

# What the tests in a browser need besides, and a Chromium.
install-ui: $(VENV)/.ui

$(VENV)/.ui: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,ui]'
	touch $@

# Picks with the network that ships; TRAIN=1 also trains a small one, which takes minutes.
demo: install
	$(BIN)/tomotwin-platform demo $(if $(TRAIN),--train)

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: install
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not deploy and not ui and not faults"

# Needs PostgreSQL and Redis (Debian: apt-get install postgresql redis-server); what is absent is skipped.
test-deploy: install-services
	$(BIN)/python -m pytest -m "not exhaustive" tests/deploy

# The demo through the same services, with the network that ships: some minutes.
test-deploy-demo: install-services
	$(BIN)/python -m pytest -m "deploy and exhaustive" tests/deploy

test-ui: install-ui
	$(BIN)/python -m pytest tests/ui -m ui

test-faults: install-services
	$(BIN)/python -m pytest tests/faults -m faults

bench: install
	$(BIN)/python -m benchmarks

bench-large: install
	$(BIN)/python -m benchmarks --large

bench-platform: install-services install-ui
	PYTHONPATH=.:tests:tests/assets $(BIN)/python -m benchmarks.platform_load

screenshots: install-ui
	PYTHONPATH=.:tests:tests/assets:tests/ui $(BIN)/python docs/screenshots.py

ui: install
	$(BIN)/tomotwin-platform ui

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
