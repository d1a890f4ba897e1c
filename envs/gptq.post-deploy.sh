#!/usr/bin/env bash
# Snakemake runs this in the new environment, from the repository's root: the package itself, without dependencies.
set -euo pipefail
export LC_ALL=C.UTF-8 PYTHONUTF8=1 # paths may hold any letter
python -m pip install --no-deps --no-build-isolation --editable .
python envs/relative_path.py
