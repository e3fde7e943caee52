# Set-up, demonstration, tests and checks. Needs only Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Benchmarks run beside their peers, which the package never depends on, without settings that slow NumPy's products.
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed
BENCH_PYTHON := env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BENCH_VENV)/bin/python

# Processes that run the cells of the long jobs.
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)

# The day whose quarter of the slow tests `make test-day` runs, and the minutes in which it begins tests.
DAY ?= $(shell date -u +%F)
MINUTES ?= 60

.PHONY: help setup demo why posterior test test-day test-slow test-all coverage mutation check format lock schema lab notebooks notebooks-data bench bench-quick bench-setup clean

help:
	@echo "make demo       set up, then compare EM, gradient ascent and NUTS on Old Faithful"
	@echo "make test       set up, then run the tests"
	@echo "make why        judge the claims about direct maximum likelihood, each by its study; under an hour on two cores"
	@echo "make posterior  what the third notebook reads: labels, exact posteriors, calibration, how many components"
	@echo "make setup      prepare $(VENV) with the workbench command in it"
	@echo "make test-slow  the tests marked slow"
	@echo "make test-all   all tests"
	@echo "make test-day   the slow tests of the day: one quarter, another each day"
	@echo "make coverage   the tests, and which lines of the package they run"
	@echo "make mutation   changes the code in 60 small ways and counts how many the tests notice; half an hour"
	@echo "make check      lint, format and type checks"
	@echo "make lab        install JupyterLab and open the notebooks; the first runs live in under a minute"
	@echo "make notebooks-data  small variants of what the notebooks read, in results/quick; minutes"
	@echo "make notebooks  run all studies and then the notebooks again, and store their output; an hour"
	@echo "make bench-quick  time an EM iteration beside scikit-learn, gmmx and pomegranate; a minute after the set-up"
	@echo "make bench      all benchmarks, and the tables of benchmarks/README.md; 20 minutes"
	@echo "make schema     write experiments/schema.json again"
	@echo "make lock       resolve the dependencies again (needs uv)"

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: setup
	$(BIN)/workbench run experiments/old_faithful.toml

why: setup
	$(BIN)/workbench claims --jobs $(JOBS)
	$(BIN)/workbench atlas experiments/galaxies.toml --methods em
	$(BIN)/workbench run experiments/coordinates.toml --quiet

posterior: setup
	$(BIN)/workbench run experiments/two_labelings.toml --quiet
	$(BIN)/workbench run experiments/collapsed_ridge.toml --quiet
	$(BIN)/workbench run experiments/two_overlapping.toml --quiet
	$(BIN)/workbench run experiments/calibration.toml --quiet
	$(BIN)/workbench run experiments/standard_errors.toml --quiet
	$(BIN)/workbench run experiments/coverage.toml --quiet
	$(BIN)/workbench select experiments/galaxies.toml --set prior.family=conjugate --components 1:9

test: setup
	$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: setup
	$(BIN)/python -m pytest -m slow -n auto --dist loadfile

test-all: setup
	$(BIN)/python -m pytest -m "slow or not slow" -n auto --dist loadfile

test-day: setup
	$(BIN)/python -m pytest -m slow --slow-part $(DAY) --slow-minutes $(MINUTES) \
	  -n auto --dist loadfile --no-loadscope-reorder

coverage: setup
	$(BIN)/python -m pytest -n auto --dist loadfile --cov --cov-report=term

mutation: setup
	$(BIN)/python tests/mutation.py --sample 60 --seed 0

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: setup
	$(BIN)/workbench schema > experiments/schema.json

lab: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[lab]'
	$(BIN)/jupyter lab notebooks

# Small variants of what the notebooks read, in results/quick, where notebooks/stored.py looks when the full ones are missing.
notebooks-data: setup
	$(BIN)/workbench run experiments/old_faithful.toml --quiet
	$(BIN)/workbench claims --quick --jobs $(JOBS)
	$(BIN)/workbench atlas experiments/galaxies.toml --methods em --starts 200 --out results/quick/galaxies
	$(BIN)/workbench run experiments/coordinates.toml --set restarts=2 --out results/quick/coordinates --quiet \
	  --set "methods={ em = { tolerance = 1e-13 }, lbfgs = { method = 'ascent', gradient_tolerance = 1e-8 }, newton = {} }"
	$(BIN)/workbench run experiments/two_overlapping.toml --set methods.gibbs.num_samples=1000 \
	  --set methods.symmetric.of.num_samples=1000 --out results/quick/two_overlapping --quiet
	$(BIN)/workbench select experiments/galaxies.toml --set prior.family=conjugate --components 1:5 --out results/quick/galaxies

notebooks: why posterior
	$(BIN)/workbench run experiments/old_faithful.toml --quiet
	$(BIN)/jupytext --to ipynb notebooks/0*.py
	$(BIN)/jupyter-execute --inplace notebooks/*.ipynb

bench-setup: $(BENCH_STAMP)

$(BENCH_STAMP): requirements.lock pyproject.toml benchmarks/requirements.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	for peer in $$(grep -v '^#' benchmarks/requirements.txt); do \
	  $(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $$peer \
	    || echo "$$peer does not install here and is left out"; done
	@touch $(BENCH_STAMP)

bench-quick: bench-setup
	$(BENCH_PYTHON) benchmarks/em.py --quick

bench: bench-setup
	$(BENCH_PYTHON) benchmarks/em.py --minutes 2.5 --json benchmarks/results/em.json
	$(BENCH_PYTHON) benchmarks/restarts.py --json benchmarks/results/restarts.json
	$(BENCH_PYTHON) benchmarks/memory.py --json benchmarks/results/memory.json
	$(BENCH_PYTHON) benchmarks/start.py --rounds 2 --json benchmarks/results/start.json
	$(BENCH_PYTHON) benchmarks/samplers.py --json benchmarks/results/samplers.json
	$(BENCH_PYTHON) benchmarks/tables.py

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra dev --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) $(BENCH_VENV) build dist results .pytest_cache .mypy_cache .ruff_cache
