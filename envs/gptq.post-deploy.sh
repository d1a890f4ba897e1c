#!/usr/bin/env bash
# Snakemake runs this in the new environment, from the repository's root: the package itself, without dependencies.
set -euo pipefail
python -m pip install --no-deps --no-build-isolation --editable .
