PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test lint types bench bench-quick bench-publish clean

demo: $(VENV)/.demo
	@$(RUN) -m ratelimit demo $(if $(REDIS_URL),--store '$(REDIS_URL)') $(ARGS)

test: $(VENV)/.dev
	$(RUN) -m pytest --cov --cov-report=term --cov-fail-under=100 $(ARGS)

lint: $(VENV)/.dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/.dev
	$(RUN) -m mypy

bench: $(VENV)/.bench
	$(RUN) -m benchmarks --peers $(ARGS)

bench-quick: $(VENV)/.bench
	$(RUN) -m benchmarks --quick $(ARGS)

bench-publish: $(VENV)/.bench
	$(RUN) -m benchmarks --peers --json benchmarks/results/full.json --plots docs/images
	$(RUN) -m benchmarks pages

clean:
	rm -rf $(VENV) .venv-peers .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV) || (rm -rf $(VENV); exit 1)

$(VENV)/.%: $(VENV)/bin/python pyproject.toml
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	touch $@
