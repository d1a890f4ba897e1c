"""A study's few results with records made by hand: what the descriptions of a bundle are written from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from arbitrage.config.study import Study
from arbitrage.io.tables import write_table
from arbitrage.publishing.croissant import PackedTable
from arbitrage.publishing.jobs import Job, jobs_of
from arbitrage.publishing.software import Software, checkout, software
from arbitrage.runtime.provenance import digest

DATASET, MODEL = "router/small/default/dataset", "router/small/default/seed-0/model"
SHARD = "steps/small/shard-0.parquet"
HISTORY = [{"model": "draft", "text": "3 + 4 = 7\n\n"}]
STEP = {
    "study": "s",
    "pair": "small",
    "question_id": "q1",
    "problem": "What is (3 + 4) * 5?",
    "step_index": 1,
    "history": HISTORY,
    "draft_step": "7 * 5 = 30\n\n",
    "target_steps": ["7 * 5 = 35\n\n"],
    "draft_score": 0.125,
    "target_scores": [0.875],
    "advantage": 0.75,
    "label": 1,
    "draft_confidence": 0.5,
    "draft_logprobs": [-0.25, -0.5],
    "draft_entropies": [0.5, 0.75],
    "target_logprobs": None,
    "tokens_so_far": 12,
}
EXAMPLE = {key: STEP[key] for key in ("study", "pair", "question_id", "step_index", "advantage", "label")}
EXAMPLE |= {"gain": STEP["advantage"]}
EXAMPLE |= {"input_ids": [5, 2, 7], "scalars": None, "draft_score": 0.125, "draft_confidence": 0.5}
SOLUTION = {
    "study": "s",
    "pair": "small",
    "benchmark": "lab500",
    "question_id": "q2",
    "policy": "rsd",
    "router_seed": None,
    "threshold_low": 0.25,
    "threshold_high": float("inf"),
    "prompt_tokens": 9,
    "steps": [
        {
            "model": "target",
            "text": "7 * 5 = 35",
            "draft_step": "7 * 5 = 30",
            "draft_score": 0.125,
            "target_score": None,
            "policy_score": 0.125,
            "draft_tokens": 6,
            "target_tokens": 7,
            "finish_reason": "eos",
        }
    ],
    "answer": "35",
    "correct": True,
}
ROWS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "steps/small.parquet": ("steps", [{**STEP, "step_index": 0, "history": []}, STEP]),
    f"{DATASET}/train.parquet": ("examples", [EXAMPLE]),
    f"{DATASET}/validation.parquet": ("examples", [{**EXAMPLE, "question_id": "q3"}]),
    "trajectories/small/lab500.parquet": ("trajectories", [SOLUTION]),
}


def record(output: str, stage: str, minute: int, seconds: float, *inputs: str) -> dict[str, Any]:
    """The part of a provenance record that is read here; minute: of one hour, when the job began and ended."""
    return {
        "output": output,
        "sha256": f"sha of {output}",
        "stage": stage,
        "command": f"arbitrage {stage}",
        "started": f"2026-01-02T03:{minute:02}:00+00:00",
        "ended": f"2026-01-02T03:{minute:02}:30+00:00",
        "wall_s": seconds,
        "code": {"version": "0.1.0"},
        "inputs": {name: f"sha of {name}" for name in inputs},
    }


RECORDS = [
    record("questions/labelling.parquet", "questions", 1, 2.0),
    record("questions/labelling.json", "questions", 1, 2.0),
    record(SHARD, "label", 2, 40.0, "questions/labelling.parquet", "models/of/mine"),
    record("steps/small.parquet", "steps", 3, 1.0, SHARD),
    record(DATASET, "dataset", 4, 1.5, "steps/small.parquet"),
    record(MODEL, "router", 5, 100.0, f"{DATASET}/train.parquet", "models/of/mine"),
    record("trajectories/small/lab500.parquet", "sweep", 6, 20.0, MODEL),
    record("curves/comparison.csv", "curves", 7, 3.0, "trajectories/small/lab500.parquet"),
    record("figures/fig6.pdf", "figure", 8, 9.0, "steps/small.parquet"),
]


@dataclass(frozen=True)
class Results:
    """A folder with the tables of ROWS, and what is known of them."""

    folder: Path
    study: Study
    tables: list[PackedTable]
    made_by: Software
    jobs: list[Job] = field(default_factory=lambda: jobs_of({each["output"]: each for each in RECORDS}))


def study_with(**sections: Any) -> Study:
    """A small study; sections: in place of its own."""
    content: dict[str, Any] = {
        "study": "s",
        "models": {"d": {"path": "models/d"}, "t": {"path": "models/t"}},
        "pairs": {"small": {"draft": "d", "target": "t"}},
        "prm": {"path": "models/prm"},
        "questions": {"source": "lab"},
        "benchmarks": {"lab500": {"source": "lab500"}},
    }
    return Study.model_validate(content | sections)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    folder = tmp_path / "s"
    tables = []
    for name, (kind, rows) in ROWS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_table(folder / name, kind, rows)
        tables.append(PackedTable(name, kind, digest(folder / name), (folder / name).stat().st_size))
    return Results(folder, study_with(), tables, software(checkout()))
