PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_STAMP := $(VENV)/.demo
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Thread pools of BLAS and XLA contend on few cores; tests run one process a core.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

# A file's tests stay in one process, which shares compiled programs; files come in their order,
# so that no long one is left for the end.
PYTEST ?= $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Small tests spend most of their time in compilation. These settings of XLA make it four times as
# fast; the programs run more slowly.
QUICK_COMPILER := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1

.PHONY: demo test test-medium test-bits test-all test-newest test-newest-jax release-check lint docs gallery bench bench-accuracy fuzz clean

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit("Ritz needs Python >= 3.11, and $(PYTHON) is %d.%d: make PYTHON=python3.11 ..." % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# What the demo needs; everything that is needed to develop comes with $(STAMP).
$(DEMO_STAMP): pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP_INSTALL) --editable '.[all]'
	@touch $@

$(STAMP): pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(DEMO_STAMP)

demo: $(DEMO_STAMP)
	$(BIN)/ritz demo

test: $(STAMP)
	XLA_FLAGS="$(QUICK_COMPILER) $$XLA_FLAGS" $(PYTEST)

# What a change must pass besides; `test` leaves it out to be quick.
test-medium: $(STAMP)
	XLA_FLAGS="$(QUICK_COMPILER) $$XLA_FLAGS" $(PYTEST) -m 'medium and not slow'

# Tests that compare bits, with programs compiled as they are for users; `test-all` has the slow ones.
test-bits: $(STAMP)
	$(PYTEST) -m 'bits and not slow'

test-all: $(STAMP)
	$(PYTEST) -m ''

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Executes the notebooks of the gallery and writes their pages, outputs and pictures into docs/gallery.
gallery: $(STAMP)
	$(BIN)/python examples/gallery/render.py

bench: $(STAMP)
	$(BIN)/python -m benchmarks

bench-accuracy: $(STAMP)
	$(BIN)/python -m benchmarks.accuracy

fuzz: $(STAMP)
	$(BIN)/python -m fuzz

# The loop, update rules, molecules and the benchmark of GPUs, without NetKet, with the newest jax
# that installs.
test-newest-jax:
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/pip install --quiet --disable-pip-version-check --upgrade jax flax pytest pytest-timeout pytest-xdist hypothesis --editable '.[hdf5,tensorboard,wandb,mlflow,cli,molecule]'
	.venv-newest/bin/python -c 'import jax; print("jax", jax.__version__)'
	.venv-newest/bin/python -m pytest -n 2 tests/driver tests/callbacks tests/loggers tests/updates tests/samplers tests/estimators tests/molecule tests/test_gpu_benchmark.py -m 'not slow and not netket'

# The quick tests with the newest versions that pip finds, without constraints.
test-newest:
	$(PYTHON) -m venv .venv-newest-all
	.venv-newest-all/bin/pip install --quiet --disable-pip-version-check --upgrade --editable '.[test]'
	.venv-newest-all/bin/pip list --format=freeze | grep -E '^(jax|jaxlib|numpy|netket|flax|optax|ase|pandas|orbax-checkpoint)=='
	XLA_FLAGS="$(QUICK_COMPILER) $$XLA_FLAGS" .venv-newest-all/bin/python -m pytest -n 2 --dist loadfile

# What is released, built and used with each of PYTHONS in environments of its own.
PYTHONS ?= $(PYTHON)
release-check:
	$(PYTHON) -m tools.release_check $(PYTHONS)

clean:
	rm -rf .venv .venv-newest .venv-newest-all site build *.egg-info
