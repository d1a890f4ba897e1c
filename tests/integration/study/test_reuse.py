"""Another study of the same models generates nothing that was generated before: tokens are counted, and are 0.

On the models of the zoo; the routers are its PRM with heads of their own, as before their training.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arbitrage.config.policies import DEFAULT_POLICIES
from arbitrage.config.study import Study
from arbitrage.io.tables import read_table, write_table
from arbitrage.lab.register import register_sources
from arbitrage.questions.sampling import benchmark_questions, sample_questions
from arbitrage.stages import label as label_stage
from arbitrage.stages import sweep as sweep_stage
from arbitrage.stages.open_models import Work
from tests.support.lab import lab_study
from tests.support.tiny_models import router_from

ROOT = Path(__file__).resolve().parents[3]
ZOO = "src/arbitrage/lab/zoo"

pytestmark = [pytest.mark.models, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder all studies share."""
    register_sources()
    return tmp_path_factory.mktemp("reuse") / "results"


@pytest.fixture
def study(results: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Study]:
    """A study of that name on few questions, with the changes."""
    monkeypatch.chdir(ROOT)

    def made(name: str, **changes: Any) -> Study:
        small: dict[str, Any] = {
            "study": name,
            "results": str(results),
            "questions": {"pool": 40, "sample": 6},
            "benchmarks": {"lab500": {"source": "lab500", "limit": 4}},
            "steps": {"shards": 1},
            "sweep": {"shards": 1, "policies": list(DEFAULT_POLICIES)} | changes.pop("sweep", {}),
            "router": {"variants": {"default": {}}} | changes.pop("router", {}),
            "latency": {"speculative_policies": []},
        }
        return lab_study(**small | changes)

    return made


Counts = dict[str, int]


def counts_of(work: Work) -> Counts:
    """Tokens generated, and steps scored, by all models."""
    return {
        "generated_tokens": sum(int(done.get("tokens", 0)) for done in work.values()),
        "scored": sum(int(done.get("scored", 0)) for done in work.values()),
    }


def label(study: Study, pair: str = "small") -> tuple[Counts, list[dict[str, Any]]]:
    """Sample and label the questions; what was computed, and the rows without the study's and the pair's names."""
    folder = Path(study.folder)
    rows, _ = sample_questions(study.study, study.questions, study.seed, [])
    write_table(folder / "questions.parquet", "questions", rows)
    out = folder / "steps.parquet"
    _, report = label_stage.label(study, pair, 0, folder / "questions.parquet", out)
    return counts_of(report["work"]), [row | {"study": "", "pair": ""} for row in read_table(out, "steps")]


def evaluate(
    study: Study, router: Path, pair: str = "small", benchmark: str = "lab500"
) -> tuple[Counts, list[dict[str, Any]]]:
    """Sweep the benchmark; returns as `label`."""
    folder = Path(study.folder)
    rows = benchmark_questions(study.study, benchmark, study.benchmarks[benchmark], study.seed)
    write_table(folder / f"{benchmark}.parquet", "questions", rows)
    out = folder / "trajectories.parquet"
    routers = [router] if router else []
    _, report = sweep_stage.sweep(study, pair, benchmark, 0, folder / f"{benchmark}.parquet", routers, None, out)
    return counts_of(report["work"]), [
        row | {"study": "", "pair": "", "benchmark": ""} for row in read_table(out, "trajectories")
    ]


OTHER_ROUTER = {"batch_size": 8, "training": {"epochs": 9.0, "learning_rate": 1e-5}}
UNTIMED = {"small": {"draft": "draft", "target": "target", "latency": False}}
RENAMED = {
    "models": {
        "little": {"path": f"{ZOO}/draft"},
        "big": {"path": f"{ZOO}/target"},
    },
    "pairs": {"mine": {"draft": "little", "target": "big"}},
}


def test_labels_are_reused_by_studies_of_other_names_thresholds_and_routers(study: Callable[..., Study]) -> None:
    counts, labels = label(study("first"))
    assert counts["generated_tokens"] > 0 and counts["scored"] > 0
    for other, pair in (
        (study("router", router=OTHER_ROUTER, dataset={"validation": 0.5}), "small"),
        (study("thresholds", sweep={"thresholds": [0.5], "policies": ["rsd"]}, pairs=UNTIMED), "small"),
        (study("names", **RENAMED), "mine"),
    ):
        counts, again = label(other, pair)
        assert (counts["generated_tokens"], counts["scored"]) == (0, 0), other.study
        assert again == labels


def test_trajectories_are_reused_at_other_thresholds_and_under_other_names(
    study: Callable[..., Study], tmp_path: Path
) -> None:
    router = router_from(ROOT / ZOO / "prm", tmp_path / "router", seed=0)
    counts, exact = evaluate(study("exact"), router)
    assert counts["generated_tokens"] > 0
    grid = {"thresholds": [round(0.1 * place, 1) for place in range(11)]}
    counts, listed = evaluate(study("grid", sweep=grid, router=OTHER_ROUTER), router)
    assert (counts["generated_tokens"], counts["scored"]) == (0, 0)
    assert {row["policy"] for row in listed} == {row["policy"] for row in exact}
    assert len(listed) < len(exact)
    renamed = {"benchmarks": {"mine": {"source": "lab500", "limit": 4}}}
    counts, again = evaluate(study("names", **RENAMED, **renamed), router, "mine", "mine")
    assert (counts["generated_tokens"], counts["scored"]) == (0, 0)
    assert again == exact


def test_another_router_costs_only_its_own_scores_and_the_steps_at_nodes_no_policy_has_met(
    study: Callable[..., Study], tmp_path: Path
) -> None:
    first, second = (router_from(ROOT / ZOO / "prm", tmp_path / f"router{seed}", seed) for seed in (0, 1))
    evaluate(study("one"), first)
    others = [policy for policy in DEFAULT_POLICIES if policy != "router"]
    counts, _ = evaluate(
        study("two", sweep={"policies": others}, pairs=UNTIMED),
        second,
    )
    assert (counts["generated_tokens"], counts["scored"]) == (0, 0)
    counts, rows = evaluate(study("three"), second)
    assert counts["scored"] > 0
    assert any(row["policy"] == "router" for row in rows)
