"""The card of a router that reads numbers says which, and how wide a state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arbitrage.config.study import Study
from arbitrage.publishing.router_cards import router_card

FORM = {"kind": "scalars+probe", "network": "mlp", "loss": "weighted", "names": ["tokens", "mean_logprob"]}
TRAINING = {"examples": 300, "updates": 70, "seed": 42, "parameters": 2145, "loss": "weighted"}
PART = {"examples": 300, "questions": 40, "shares": [0.75, 0.25], "shares_before": [0.75, 0.25]}
RECORD = {"study_hash": "abc", "code": {"commit": "1234567", "dirty": False, "sha256": "f" * 64, "version": "1"}}
RECORD |= {"started": "1", "ended": "2", "hardware": {"cpu": "a CPU", "gpus": []}, "sha256": "0"}


@pytest.mark.parametrize(
    ("changes", "told", "untold"),
    [
        (
            {"state_width": 64},
            "2 scalars (tokens, mean_logprob), then the draft's hidden state of 64 numbers",
            "of 0 numbers",
        ),
        ({"state_width": 64, "names": [], "kind": "probe"}, "It reads the draft's hidden state of 64", "scalars ("),
        ({"kind": "scalars"}, "It reads 2 scalars (tokens, mean_logprob), was trained", "hidden state"),
    ],
)
def test_it_names_what_the_router_reads(changes: dict[str, Any], told: str, untold: str, tmp_path: Path) -> None:
    study = Study.model_validate(
        {
            "study": "s",
            "models": {"d": {"path": "d"}, "t": {"path": "t"}},
            "pairs": {"p": {"draft": "d", "target": "t"}},
            "prm": {"path": "prm"},
            "benchmarks": {"b": {"source": "lab500"}},
            "router": {"variants": {"default": {}, "mine": {"kind": (FORM | changes)["kind"]}}},
        }
    )
    model, data = tmp_path / "router/p/mine/seed-0/model", tmp_path / "router/p/mine/dataset"
    for folder in (model, data):
        folder.mkdir(parents=True)
    (model / "router.json").write_text(json.dumps(FORM | changes))
    (model / "training.json").write_text(json.dumps(TRAINING))
    (data / "report.json").write_text(json.dumps({"train": PART, "validation": PART, "balance": False}))
    (tmp_path / "router" / "quality.csv").write_text("pair,ranking,trained\n")
    card = " ".join(router_card(tmp_path, study, "router/p/mine/seed-0/model", RECORD).split())
    assert told in card and untold not in card.replace("scalars in their order", "")
    assert "router.format.width" in card and "2,145 parameters" in card
