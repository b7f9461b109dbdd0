# Each target sets up what it needs: a virtual environment in .venv, from Python and make alone.
PYTHON ?= python3
# More arguments for pip when it installs torch, such as the index of another build.
TORCH_ARGS ?=
# Of pytest.
WORKERS ?= 2
BIN := .venv/bin
# Every process would compile torch and Lightning anew where Python may not keep what it has compiled.
unexport PYTHONDONTWRITEBYTECODE
# Of fig4, fig5, table and maps: the scene, and how often and how thoroughly; ARGS takes more options of every run.
DATASET ?= indian_pines
SEEDS ?= 0
PROTOCOL ?= paper
EFFORT ?= paper
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo label-demo test pytest test-fast fig4 fig5 table maps results bench docs lint type format check build clean

help:  ## Show this list
	@grep -hE '^[a-z0-9 -]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-21s %s\n", $$1, $$2}'

setup: .venv/.ok  ## Create .venv with everything

.venv/.ok: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' \
	  || { echo "hsi_al needs Python 3.10 to 3.13; this is $$($(PYTHON) --version). Use make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt $(TORCH_ARGS) torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	@touch $@

demo: .venv/.ok  ## Active learning on Indian Pines: 3 to 7 minutes on two CPU cores
	$(BIN)/python -m hsi_al.run experiment=demo
	$(BIN)/python -m hsi_al.run experiment=demo learner=profile_trees \
	  acquisition=margin acquisition.subset=null acquisition.min_distance=8
	@$(BIN)/python -m hsi_al.report compare outputs/demo/indian_pines --output outputs/demo/comparison | sed -n '1,8p'
	@echo outputs/demo/comparison/comparison.png

label-demo: .venv/.ok  ## The labelling page on Indian Pines, in the browser; Ctrl-C ends
	$(BIN)/python -m hsi_al.label indian_pines --session outputs/label-demo \
	  --classes "Corn-notill,Corn-mintill,Grass-pasture,Grass-trees,Hay,Soybean-notill,Soybean-mintill,Soybean-clean,Woods"

test: lint type pytest  ## Lint, types and all tests; make -j2 test at once

pytest: .venv/.ok
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-fast: .venv/.ok  ## About a minute: the tests that need neither the command line nor a process of their own
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m 'not slow'

fig4 fig5 table maps: .venv/.ok  ## The paper's: make fig4 DATASET=salinas SEEDS=0,1,2 PROTOCOL=short EFFORT=short
	$(BIN)/python -m experiments.paper $@ dataset=$(DATASET) $(ARGS) --seeds $(SEEDS) --protocol $(PROTOCOL) --effort $(EFFORT)

results: .venv/.ok  ## Build docs/results.md from the recorded runs
	$(BIN)/python -m experiments.paper.results

bench: .venv/.ok  ## Speed and memory as ratios, half an hour or more on an idle machine
	$(BIN)/python -m experiments.benchmarks

docs: .venv/.ok  ## The documentation as a site in site/, links checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lint: .venv/.ok  ## ruff: style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: .venv/.ok  ## mypy --strict
	$(BIN)/mypy

format: .venv/.ok  ## Let ruff format and fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

build: .venv/.ok  ## A wheel and a source archive in dist/
	$(BIN)/python -m build

clean:  ## Remove caches and builds; outputs/ and .venv stay
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
