"""Routers that read numbers, through the stages: labelled, fitted, swept; another router writes no step anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arbitrage.cli import app
from arbitrage.config.load import write_resolved
from arbitrage.config.study import Study
from arbitrage.engines.scoring.scalar_router import ScalarRouter
from arbitrage.io.tables import read_table, write_table
from tests.support.tiny_models import tiny_study

COLUMNS = {"study": "tiny", "source": "x", "solution": "", "answers": ["1"], "grading": "{}"}
POLICIES = ("scalars", "scalars_prm", "scalars_target", "probe", "scalars_probe")
VARIANTS = {"a": "scalars", "b": "scalars+prm", "c": "scalars+target", "d": "probe", "e": "scalars+probe"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two steps a solution: the oracle meets every node that a policy can."""
    variants = {"default": {}, **{name: {"kind": VARIANTS[name]} for name in VARIANTS}}
    found = tiny_study(
        tmp_path_factory.mktemp("scalars"),
        2,
        dataset={"validation": 0.4},
        router={"seeds": 1, "variants": variants},
        sweep={"shards": 1, "policies": ["oracle", *POLICIES]},
    )
    for name in ("labelling", "lab500"):
        rows = [
            {**COLUMNS, "question_id": f"q{n}", "problem": f"First add {n} and 4.\n\nWhat is it?"} for n in range(16)
        ]
        write_table(Path(found.folder) / "questions" / f"{name}.parquet", "questions", rows)
    return found


def run(study: Study, command: str, out: Path, *words: object) -> dict[str, Any]:
    """Run a stage's command; what its record says the models did."""
    app([command, "--study", str(write_resolved(study)), *map(str, words), "--out", str(out)], standalone_mode=False)
    told: dict[str, Any] = json.loads(out.with_name(f"{out.name}.provenance.json").read_text())
    work: dict[str, Any] = told.get("work", {})
    return work


def swept(study: Study, folder: Path) -> dict[str, Any]:
    """Data, routers and sweep of a study in `folder`, from the labelled steps on; what the sweep's models did."""
    labelled, states, routers = Path(study.folder) / "steps.parquet", Path(study.folder) / "states.parquet", []
    for variant in VARIANTS:
        dataset, router = folder / variant / "dataset", folder / variant / "router"
        given = ("--states", states) if study.router.variants[variant].reads_states else ()
        run(study, "dataset", dataset, "--variant", variant, "--steps", labelled, *given)
        run(study, "router", router, "--variant", variant, "--dataset", dataset)
        routers += ["--router", router]
    questions = Path(study.folder) / "questions" / "lab500.parquet"
    where = ("--pair", "p", "--benchmark", "lab500", "--shard", 0, "--questions", questions)
    return run(study, "sweep", folder / "swept.parquet", *where, *routers)


def test_another_router_has_nothing_written_or_read_anew(study: Study, tmp_path: Path) -> None:
    questions = Path(study.folder) / "questions" / "labelling.parquet"
    label = ("--pair", "p", "--shard", 0, "--questions", questions)
    variants = {name: variant for name, variant in study.router.variants.items() if name != "c"}
    fewer = study.model_copy(update={"router": study.router.model_copy(update={"variants": variants})})
    run(fewer, "label", Path(study.folder) / "without.parquet", *label)
    again = run(study, "label", Path(study.folder) / "steps.parquet", *label)
    rows = read_table(Path(study.folder) / "steps.parquet", "steps")
    assert again["draft"]["tokens"] == again["target"]["tokens"] == again["prm"]["scored"] == 0
    assert again["target"]["read"] == len(rows) == sum(row["target_logprobs"] is not None for row in rows)

    states = ("--pair", "p", "--shard", 0, "--steps", Path(study.folder) / "steps.parquet")
    assert run(study, "states", Path(study.folder) / "states.parquet", *states)["draft"]["read"] == len(rows)
    first = swept(study, tmp_path / "one")
    assert first["draft"]["tokens"] > 0 and first["target"]["read"] > 0 and first["draft"]["read"] > 0
    changed = {
        name: variant.model_copy(update={"loss": "regression", "network": "logistic"} if name in VARIANTS else {})
        for name, variant in study.router.variants.items()
    }
    other = study.model_copy(update={"router": study.router.model_copy(update={"variants": changed})})
    second = swept(other, tmp_path / "two")
    assert second["draft"]["tokens"] == second["target"]["tokens"] == second["prm"]["scored"] == 0
    assert "read" not in second["draft"] and "read" not in second["target"]
    tables = [read_table(tmp_path / name / "swept.parquet", "trajectories") for name in ("one", "two")]
    scores = [
        [(row["policy"], row["router_seed"], [step["policy_score"] for step in row["steps"]]) for row in table]
        for table in tables
    ]
    assert scores[0] != scores[1]
    assert {(policy, seed) for policy, seed, _ in scores[0]} == {("oracle", None), *((name, 0) for name in POLICIES)}
    router = ScalarRouter(tmp_path / "one" / "b" / "router")
    assert "draft_score" in router.names
    assert all(0 < score < 1 for policy, _, each in scores[0] if policy in POLICIES for score in each)
