#!/usr/bin/env bash
# The lab on one GPU, from models trained from nothing to its summary (studies/lab-gpu.yaml, docs/lab.md).
#
#   scripts/gpu_lab.sh wheels          where there is a package index: what the GPU machine lacks, into wheels/
#   scripts/gpu_lab.sh [overlay ...]   on the GPU machine, which needs no network; studies laid over lab-gpu.yaml
#
# The second works for nine minutes at most (GPU_LAB_SECONDS). It ends with status 0 and "finished", or with 124 and is to be
# given again: Snakemake's rules know what is finished, and every training goes on from its last checkpoint. Hence
# Snakemake is carried along, and nothing of the study's order is written a second time here.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C.UTF-8 PYTHONUTF8=1 PYTHONNOUSERSITE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1

LIMIT=${GPU_LAB_SECONDS:-515} # 20 more for jobs to end
VENV=.venv-gpu                # beside .venv: it has the machine's own torch

if [[ ${1:-} == wheels ]]; then
    exec python3 -m pip download --no-deps --only-binary :all: --python-version 3.12 \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
        --constraint requirements.lock --requirement envs/gpu-lab.txt --dest wheels
fi

# A command, for what is left of this call's time.
within() {
    local left=$((LIMIT - SECONDS)) status=0
    if ((left > 0)); then
        timeout --signal=INT --kill-after=20 "$left" "$@" || status=$?
    fi
    if ((left <= 0 || status == 124 || status == 137)); then
        echo "not finished after $SECONDS s: give the same command again"
        exit 124
    fi
    return "$status"
}

if ! command -v snakemake >/dev/null; then
    if [[ ! -e $VENV/.ready ]]; then
        python3 -m venv --system-site-packages "$VENV"
        offline=("$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps)
        "${offline[@]}" --find-links wheels --requirement envs/gpu-lab.txt
        "${offline[@]}" --no-build-isolation --editable .
        touch "$VENV/.ready"
    fi
    export PATH="$PWD/$VENV/bin:$PATH"
fi

study=(studies/lab-gpu.yaml "$@")
within snakemake --cores all --snakefile rules/zoo.smk --configfile "${study[@]}" -- models
within snakemake --cores all --configfile "${study[@]}" -- figures report

folder=$(python3 - "${study[@]}" <<'END'
import sys
from arbitrage.config.load import read_study

print(read_study(sys.argv[1:]).folder)
END
)
# What is worth keeping: all but weights and the larger tables.
(cd "$folder" && find . -type f -size -512k -print0) | tar --directory "$folder" --create --gzip --null --files-from - \
    --file "$folder-small.tar.gz"
echo "finished: read $folder/summary.md; $folder-small.tar.gz has what is small of it"
