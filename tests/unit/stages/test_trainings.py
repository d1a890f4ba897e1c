"""A sweep over several trainings of a router: each alone in memory, and swept as if there were no other."""

from __future__ import annotations

import json
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from arbitrage.config.study import Study
from arbitrage.engines import factory
from arbitrage.io.tables import read_table, write_table
from arbitrage.stages.sweep import sweep
from tests.support.tiny_models import TWO_CLASSES, build_classifier, tiny_study

COLUMNS = {"study": "tiny", "source": "x", "solution": "", "answers": ["1"], "grading": "{}"}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    found = tiny_study(tmp_path, 2, sweep={"shards": 1, "policies": ["rsd", "router"]})
    rows = [{**COLUMNS, "question_id": f"q{n}", "problem": f"First add {n} and 4.\n\nWhat is it?"} for n in range(6)]
    write_table(Path(found.folder) / "questions.parquet", "questions", rows)
    return found


@pytest.fixture
def routers(tmp_path: Path) -> list[Path]:
    return [build_classifier(tmp_path / f"r{n}", seed=7 + n, labels=2, router=TWO_CLASSES) for n in range(3)]


def swept(study: Study, name: str, routers: Sequence[Path]) -> tuple[list[dict[str, Any]], Any, Any]:
    """Rows of a sweep with a step store of its own, and what its models are and did."""
    own = study.model_copy(update={"results": f"{study.results}/{name}"})
    out = Path(study.folder) / f"{name}.parquet"
    identities, report = sweep(own, "p", "lab500", 0, Path(study.folder) / "questions.parquet", routers, None, out)
    return read_table(out, "trajectories"), identities, report["work"]


def test_a_training_is_gone_from_memory_when_the_next_one_comes(
    study: Study, routers: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load, loaded = factory.load_router, []
    alive: list[int] = []

    def noting(own: Study, directory: Path, share: float) -> Any:
        alive.append(sum(model() is not None for model in loaded))
        scorer = load(own, directory, share)
        loaded.extend((weakref.ref(scorer), weakref.ref(scorer.model), weakref.ref(scorer.model.score.weight)))
        return scorer

    monkeypatch.setattr(factory, "load_router", noting)
    swept(study, "all", routers)
    assert alive == [0, 0, 0] and all(model() is None for model in loaded)


def test_each_training_is_swept_as_if_it_were_alone_and_what_it_did_is_told(study: Study, routers: list[Path]) -> None:
    rows, identities, work = swept(study, "all", routers)
    assert list(work) == list(identities) == ["draft", "target", "prm", "router", "router-1", "router-2"]
    chosen = set()
    for number, directory in enumerate(routers):
        alone, own_identities, own_work = swept(study, f"alone-{number}", [directory])
        name = f"router-{number}" if number else "router"
        assert identities[name] == own_identities["router"]
        assert work[name]["scored"] == own_work["router"]["scored"] > 0
        own = [row for row in rows if row["policy"] == "router" and row["router_seed"] == number]
        routed = [row | {"router_seed": 0} for row in own]
        assert routed == [row for row in alone if row["policy"] == "router"] != []
        chosen.add(json.dumps([[step["model"] for step in row["steps"]] for row in routed]))
        if number == 0:
            assert [row for row in rows if row["policy"] == "rsd"] == [row for row in alone if row["policy"] == "rsd"]
    assert len(chosen) == 3  # the trainings differ
