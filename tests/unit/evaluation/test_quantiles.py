"""Thresholds at quantiles of a policy's own scores: even in acceptance, whatever the scores' scale."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arbitrage.evaluation.curves import PAPER_GRID
from arbitrage.evaluation.quantiles import even_thresholds, quantile_thresholds, write_quantiles
from arbitrage.io.tables import TableError, write_table
from tests.support import synthetic

GENERATOR = np.random.default_rng(0)
CROWDED = 1 / (1 + np.exp(-GENERATOR.normal(3, 0.5, 4000)))  # nearly all above 0.9, where the paper's grid has one


def _acceptance(scores: np.ndarray, thresholds: list[float]) -> np.ndarray:
    return np.array([(scores <= tau).mean() for tau in thresholds])


def test_crowded_scores_get_thresholds_even_in_acceptance_where_the_grid_has_a_hole() -> None:
    thresholds = even_thresholds(CROWDED, np.ones(len(CROWDED)), 40)
    assert len(thresholds) == 40
    assert np.diff(_acceptance(CROWDED, thresholds)).max() < 0.03
    assert np.diff(_acceptance(CROWDED, list(PAPER_GRID))).max() > 0.3


def test_a_question_counts_once_however_long_it_is() -> None:
    steps = pd.DataFrame({"question_id": ["a"] * 98 + ["b"] * 2, "draft_score": [0.2] * 98 + [0.8, 0.9]})
    steps = steps.assign(advantage=0.0, draft_confidence=0.5)
    (thresholds,) = quantile_thresholds(steps, pd.DataFrame(), {"rsd": None}, 40)["rsd"]
    assert {0.5, 0.85} <= set(thresholds)  # between the scores


def test_many_equal_scores_give_one_threshold_between_each_two() -> None:
    scores = np.repeat([0.1, 0.5, 0.9], [10, 80, 10])
    assert even_thresholds(scores, np.ones(100), 40) == pytest.approx([0.3, 0.7, 0.9])


def test_the_oracles_begin_at_zero_and_the_papers_grid_is_always_there() -> None:
    rows = pd.DataFrame(synthetic.heldout({"default": 3.0}, 60, trainings=2))
    policies = ["draft_only", "rsd", "oracle", "router", "random", "confidence"]
    variants = dict.fromkeys(policies) | {"router": "default"}
    found = quantile_thresholds(rows[rows["router_seed"] == 0], rows, variants, 30)
    assert set(found) == set(policies) - {"draft_only"}
    assert min(found["oracle"][0]) == 0
    assert [len(lists) for lists in found.values()] == [1, 1, 2, 1, 1]
    assert all(set(PAPER_GRID) <= set(thresholds) for lists in found.values() for thresholds in lists)
    assert found["router"][0] != found["router"][1]


def test_no_step_is_refused_with_the_remedy() -> None:
    with pytest.raises(TableError, match=r"raise questions\.sample"):
        even_thresholds(np.empty(0), np.empty(0), 40)


def test_the_file_is_what_the_sweep_reads(tmp_path: Path) -> None:
    rows = synthetic.heldout({"default": 3.0}, 20)
    write_table(tmp_path / "h.parquet", "heldout", rows)
    steps = [
        {
            "study": "s",
            "pair": "p",
            "problem": "",
            "history": [],
            "draft_step": "",
            "target_steps": [],
            "target_scores": [],
            **{name: row[name] for name in ("question_id", "step_index", "advantage", "label", "draft_score")},
            "draft_confidence": row["draft_confidence"],
            "draft_logprobs": [-0.5],
            "tokens_so_far": 0,
        }
        for row in rows
    ]
    write_table(tmp_path / "s.parquet", "steps", steps)
    variants = {"rsd": None, "router": "default"}
    write_quantiles(tmp_path / "s.parquet", [tmp_path / "h.parquet"], variants, 25, tmp_path / "q.json")
    found = json.loads((tmp_path / "q.json").read_text())
    assert {name: len(lists) for name, lists in found.items()} == {"rsd": 1, "router": 1}
    assert len(found["router"][0]) >= 25
