"""The default router on the shipped models: its scores must follow the advantage on questions held out from it."""

from pathlib import Path

import pytest
from scipy.stats import spearmanr

from arbitrage.config.load import load_study
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.factory import load_router
from arbitrage.io.tables import write_table
from arbitrage.questions.sampling import sample_questions
from arbitrage.routing.dataset import build_dataset
from arbitrage.routing.heldout import heldout_rows
from arbitrage.routing.inputs import encoding
from arbitrage.routing.train import train_router
from arbitrage.stages.label import label

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.models
@pytest.mark.timeout(900)
def test_the_default_routers_scores_follow_the_advantage_on_held_out_questions(tmp_path, monkeypatch):
    from arbitrage.lab.register import register_sources

    monkeypatch.chdir(ROOT)
    overrides = {
        "results": str(tmp_path),
        "questions": {"pool": 1000, "sample": 200},
        "steps": {"shards": 1},
        "dataset": {"validation": 0.4, "max_examples": 600},
    }
    study = load_study([ROOT / "config.yaml"], overrides)
    register_sources()
    questions, _ = sample_questions(study.study, study.questions, study.seed, [])
    write_table(tmp_path / "questions.parquet", "questions", questions)
    label(study, "small", 0, tmp_path / "questions.parquet", tmp_path / "steps.parquet")
    build_dataset(
        tmp_path / "steps.parquet",
        study.router.variants["default"],
        study.dataset,
        encoding(study, study.router.variants["default"], tmp_path / "steps.parquet"),
        study.seed,
        tmp_path / "dataset",
    )
    settings = study.router.training
    train_router(
        tmp_path / "dataset",
        resolve(*study.router_init),
        settings,
        seed=study.seed,
        device="cpu",
        out_dir=tmp_path / "router",
    )
    rows = heldout_rows(tmp_path / "dataset", load_router(study, tmp_path / "router"), "default")
    rho = spearmanr([row["router_score"] for row in rows], [row["advantage"] for row in rows]).statistic
    assert rho > 0, rho
