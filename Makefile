# make test, make demo: all that a newcomer needs. Each sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup test demo lint chart compose benchmark stream-peers image kafka lock clean

help:  ## this list
	@sed -nE 's/^([a-z-]+):.*  ## (.*)/  make \1\t\2/p' Makefile | expand -t 16

setup: $(READY)  ## .venv with the locked dependencies and the package

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

test: $(READY)  ## all tests with coverage; PYTEST_ARGS goes to pytest
	$(BIN)/python -m pytest -rs --cov=stream_allocator --cov-report=term:skip-covered $(PYTEST_ARGS)

demo: $(READY)  ## the whole stream on this machine; DEMO_ARGS goes to the demo
	$(BIN)/stream-allocator demo $(DEMO_ARGS)

lint: $(READY)  ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

chart: $(READY)  ## lint, render and validate the Helm chart
	BIN=$(BIN) .ci/chart

compose:  ## validate docker-compose.yml
	.ci/compose

benchmark: $(READY)  ## one benchmark beside its peers: make benchmark NAME=bocpd ARGS=--quick
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/benchmark.txt
	$(if $(filter stream,$(NAME)),$(MAKE) stream-peers)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.$(NAME) $(ARGS)

stream-peers: build/peers/.ready  ## Quix Streams and Faust for make benchmark NAME=stream, in build/peers

# Quix Streams pins other versions of the Kafka client than the package, so its environment is one of its own.
build/peers/.ready: requirements/stream-peers.txt
	rm -rf build/peers && $(PYTHON) -m venv build/peers
	build/peers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

image:  ## the service's container image
	docker build -t stream-allocator:0.1.0 .

kafka: $(READY)  ## a Kafka broker for this machine, until interrupted
	$(BIN)/python -m benchmarks.brokers serve

# uv is a tool of this target alone, so it has a place of its own under build/. Extras stay in the pins: without
# them pip takes the newest coverage[toml], finds that it is not the pinned coverage, and refuses to install.
lock:  ## renew requirements/*.txt
	test -x build/uv/bin/uv || { $(PYTHON) -m venv build/uv && build/uv/bin/pip install --quiet uv; }
	build/uv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-strip-extras --quiet --output-file requirements/runtime.txt
	build/uv/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-strip-extras --quiet --output-file requirements/dev.txt
	build/uv/bin/uv pip compile pyproject.toml --extra dev --extra benchmark --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-strip-extras --quiet --output-file requirements/benchmark.txt
	build/uv/bin/uv pip compile requirements/stream-peers.in --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-strip-extras --quiet --output-file requirements/stream-peers.txt

clean:  ## everything that can be made again
	rm -rf $(VENV) build out .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
