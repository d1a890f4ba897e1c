"""Nothing heavy is imported before it is needed: neither for `--help` nor for what only computes on tables."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest

from arbitrage.config.load import write_resolved
from arbitrage.io.tables import write_table
from arbitrage.runtime.outputs import FIGURES, TABLES, CurveKind
from tests.conftest import World
from tests.support import synthetic

MODELS = ("torch", "transformers", "accelerate", "tokenizers")
SCRIPT = """
import json, sys
for name in {blocked!r}:
    sys.modules[name] = None  # importing it is an ImportError from here on
from arbitrage.cli import app
for command in json.loads({commands!r}):
    app(command, standalone_mode=False)
"""


def run_without(blocked: Sequence[str], commands: list[list[str]]) -> None:
    """Run `arbitrage` with each of `commands`, in a process where the modules `blocked` cannot be imported."""
    script = SCRIPT.format(blocked=tuple(blocked), commands=json.dumps(commands))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-3000:]


def test_help_needs_neither_models_nor_tables() -> None:
    run_without([*MODELS, "pandas", "pyarrow", "matplotlib", "scipy", "snakemake"], [["--help"], ["label", "--help"]])


@pytest.fixture
def study(world: World) -> list[str]:
    """The option that names the simulated study, whose questions are added."""
    for benchmark in synthetic.BENCHMARKS:
        rows = [
            {"study": "s", "question_id": question, "source": "x", "problem": "What is x?", "solution": ""}
            | {"answers": ["1"], "grading": "{}"}
            for question in synthetic.questions_of(benchmark, 40)
        ]
        write_table(world.folder / "questions" / f"{benchmark}.parquet", "questions", rows)
    return ["--study", str(write_resolved(world.study))]


def test_figures_tables_curves_and_the_summary_do_without_torch(world: World, study: list[str], tmp_path: Path) -> None:
    swept, heldout = ([str(path) for path in world.tables[name]] for name in ("trajectories", "heldout"))
    out = {
        name: str(tmp_path / name)
        for name in ("a", "b", "merged", "cost", "quality", "lengths", "latency", "speedup", "summary", "calibrated")
    }
    place = ["--pair", "small", "--benchmark", "lab500"]
    timed = [*study, "--latency", str(world.tables["latency"][0])]
    commands = [
        *(["figure", name, *study, "--pdf", out["a"] + ".pdf", "--png", out["b"] + ".png"] for name in FIGURES),
        *(["table", name, *study, "--csv", out["a"], "--md", out["b"]] for name in TABLES),
        *(["curves", *study, "--kind", kind, "--out", out["a"], *swept] for kind in get_args(CurveKind)),
        ["cost-model", *timed, "--out", out["cost"], *swept[:2]],
        ["accuracy-latency", *study, "--out", out["latency"], "--speedup", out["speedup"]],
        ["router-quality", *study, "--out", out["quality"], *heldout],
        ["router-details", "lengths", *study, "--out", out["lengths"]],
        ["trajectories", *study, "--out", out["merged"], swept[0]],
        ["calibrate", *study, *place, "--acceptance", "0.8", "--out", out["calibrated"]],
        ["report", *study, "--out", out["summary"]],
    ]
    run_without(MODELS, commands)
    assert all((tmp_path / name).is_file() for name in ("a.pdf", "b.png", "merged", "lengths", "speedup", "summary"))
