# Everything runs in a virtual environment of its own, made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL ?= longt5
export TF_CPP_MIN_LOG_LEVEL ?= 3
# Programs that tests compile, for the next run of them; `make clean` removes them.
test: export TFMODELS_PROGRAMS ?= $(CURDIR)/out/test-programs
test-%: export TFMODELS_PROGRAMS ?= $(CURDIR)/out/test-programs

# Where transformers writes TensorFlow and Flax files.
WRITERS := .venv-writers
# The lowest Keras that setup.cfg allows.
LOWEST := .venv-lowest
# Where compilers for TPUs and for GPUs are.
TPU := .venv-tpu
GPU := .venv-gpu
# Which part, such as "--only led --lengths 4096".
PARITY ?=
# Which part, such as "--only train --rounds 3".
BENCH ?=
# Which rows, such as '--only "led base encode 4096" --target v5e'.
REPORT ?=

.PHONY: setup demo compatibility test test-tensorflow test-models test-layers test-parity test-export test-rest test-jax test-thorough test-slow \
	test-lowest pretrain parity parity-full lint bench bench-quick bench-gpu tpu-check tpu-report gpu-report install-check wheel-check clean

setup: $(VENV)/.ready

$(VENV)/.ready: setup.cfg pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed')"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/python -m training demo --model $(MODEL)-python

# The small models that come with the package, anew, for hours; the same command goes on where it was stopped.
PRETRAINED ?= longt5-python

pretrain: setup
	$(BIN)/python -m training.demo.pretrain --model $(PRETRAINED)

# Two at a time, the longest first, as each keeps about one core busy; none takes more than 6 GB (docs/testing.md).
PARTS := test-jax test-rest test-models test-export test-layers test-parity
MODELS := tests/modeling
LAYERS := tests/backend tests/layers tests/generation
PARITY_TESTS := tests/parity tests/checkpoints
EXPORT := tests/export

test: lint
	$(MAKE) --jobs 2 --output-sync $(PARTS)

test-tensorflow: test-models test-layers test-rest test-export test-parity

test-models: setup
	$(BIN)/python -m pytest $(MODELS)

test-layers: setup
	$(BIN)/python -m pytest $(LAYERS)

test-parity: setup
	$(BIN)/python -m pytest $(PARITY_TESTS)

test-export: setup
	$(BIN)/python -m pytest $(EXPORT)

# Whatever no other part names: texts, training, benchmarks, documents, examples.
test-rest: setup
	$(BIN)/python -m pytest $(addprefix --ignore=,$(MODELS) $(LAYERS) $(PARITY_TESTS) $(EXPORT))

# Layers, models and generation; tests/conftest.py says which.
test-jax: setup
	KERAS_BACKEND=jax $(BIN)/python -m pytest

parity: setup
	$(BIN)/python -m pytest tests/parity -m "not slow"

# Every case of every test but the long proofs.
test-thorough: setup
	$(BIN)/python -m pytest -m "not slow"

test-slow: setup
	$(BIN)/python -m pytest -m slow

# Layers, models and generation with the lowest Keras that setup.cfg allows.
test-lowest: setup $(LOWEST)/.ready
	PYTHONPATH=$(LOWEST) $(BIN)/python -m pytest tests/backend tests/layers tests/modeling tests/generation

$(LOWEST)/.ready: setup.cfg
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(LOWEST) keras==$(shell sed -n 's/^ *keras>=//p' setup.cfg).0
	touch $@

parity-full: setup $(WRITERS)/.ready
	$(BIN)/python tests/parity/full.py --writers $(WRITERS)/bin/python $(PARITY)

$(WRITERS)/.ready: tests/parity/writers.txt
	test -x $(WRITERS)/bin/python || $(PYTHON) -m venv $(WRITERS)
	$(WRITERS)/bin/python -m pip install --quiet --requirement tests/parity/writers.txt
	touch $@

# Exports of every head on older releases of TensorFlow, each in an environment of its own.
RUNTIMES := 2.18 2.19 2.20

compatibility: setup $(RUNTIMES:%=.venv-tensorflow-%/.ready)
	$(BIN)/python -m tests.compatibility $(RUNTIMES:%=.venv-tensorflow-%/bin/python)

.venv-tensorflow-%/.ready:
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet "tensorflow-cpu~=$*.0" "tensorflow-text~=$*.0"
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m benchmarks $(BENCH)

bench-quick: setup
	$(BIN)/python -m benchmarks --quick $(BENCH)

bench-gpu: setup
	$(BIN)/python -m benchmarks gpu $(BENCH)

# Programs for four TPU chips, compiled without any; nothing of TensorFlow's is needed.
tpu-check: $(TPU)/.ready
	$(TPU)/bin/python -m accelerators check

# By hand: a row takes minutes.
tpu-report: $(TPU)/.ready
	$(TPU)/bin/python -m accelerators report --output out/tpu-report.json $(REPORT)

gpu-report: $(GPU)/.ready
	$(GPU)/bin/python -m accelerators report --target h100 --output out/gpu-report.json $(REPORT)

$(TPU)/.ready: accelerators/tpu.txt
	test -x $(TPU)/bin/python || $(PYTHON) -m venv $(TPU)
	$(TPU)/bin/python -m pip install --quiet --requirement accelerators/tpu.txt
	touch $@

$(GPU)/.ready: accelerators/gpu.txt
	test -x $(GPU)/bin/python || $(PYTHON) -m venv $(GPU)
	$(GPU)/bin/python -m pip install --quiet --no-deps --requirement accelerators/gpu.txt
	touch $@

# The wheel, in an empty environment and outside of the checkout, up to a signed export that answers.
wheel-check: install-check

# Such as "python3.11 python3.12 python3.13", which setup.cfg names.
PYTHONS ?= $(PYTHON)

install-check:
	set -e; for python in $(PYTHONS); do $$python --version; PYTHON=$$python tests/install_check.sh; done

clean:
	rm -rf build out *.egg-info .pytest_cache .mypy_cache .ruff_cache
