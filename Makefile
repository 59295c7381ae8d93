PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test test-oldest lint types bench bench-quick bench-publish clean

demo: $(VENV)/.demo
	@$(RUN) -m ratelimit demo $(if $(REDIS_URL),--store '$(REDIS_URL)') $(ARGS)

test: $(VENV)/.dev
	$(RUN) -m pytest --cov --cov-report=term --cov-fail-under=100 $(ARGS)

test-oldest: .venv-oldest/.ready
	.venv-oldest/bin/python -m pytest --noconftest -W default::DeprecationWarning tests/test_fastapi.py tests/test_starlette.py

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
	rm -rf $(VENV) .venv-oldest .venv-peers .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV) || (rm -rf $(VENV); exit 1)

# The oldest FastAPI that is served, with the Starlette that it came with.
.venv-oldest/.ready: $(VENV)/bin/python pyproject.toml
	$(RUN) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[redis]' fastapi==0.115.0 httpx 'pytest>=9'
	touch $@

$(VENV)/.%: $(VENV)/bin/python pyproject.toml
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	touch $@
