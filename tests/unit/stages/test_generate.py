"""The stages that need models: each is loaded once a job, and what it did is told."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from arbitrage.cli import app
from arbitrage.config.load import write_resolved
from arbitrage.config.study import Study
from arbitrage.engines import checkpoints
from arbitrage.engines.store.chunk_files import StoreError
from arbitrage.io.tables import TableError, read_table, write_table
from arbitrage.report.times import elapsed, rule_times, sum_of
from arbitrage.stages.generate import label_steps, open_cast
from tests.support.tiny_models import build_causal, build_classifier

ROUTER = {"classes": 2, "boundary": 1, "ordinal": False, "annotate": True, "separator": "\n\n"}
COLUMNS = {"study": "tiny", "source": "x", "solution": "", "answers": ["1"], "grading": "{}"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("tiny")
    build_causal(folder / "draft", seed=3)
    build_causal(folder / "target", seed=4)
    build_classifier(folder / "prm")
    build_classifier(folder / "router", labels=2, router=ROUTER)
    return Study.model_validate(
        {
            "study": "tiny",
            "results": str(folder / "results"),
            "models": {name: {"path": str(folder / name)} for name in ("draft", "target")},
            "pairs": {"p": {"draft": "draft", "target": "target"}},
            "prm": {"path": str(folder / "prm")},
            "benchmarks": {"lab500": {"source": "lab500"}},
            "generation": {"max_steps": 4, "max_tokens": 60, "max_step_tokens": 12},
            "steps": {"shards": 1},
            "sweep": {"shards": 1},
            "latency": {"questions": 2, "acceptances": [0.5]},
        }
    )


@pytest.fixture(scope="module")
def results(study: Study) -> Path:
    """The questions, where the pipeline has them."""
    folder = Path(study.folder)
    for name in ("labelling", "lab500"):
        rows = [
            {**COLUMNS, "question_id": f"q{n}", "problem": f"First add {n} and 4.\n\nWhat is it?"} for n in range(5)
        ]
        write_table(folder / "questions" / f"{name}.parquet", "questions", rows)
    return folder


def test_each_job_loads_each_of_its_models_once_and_tells_their_work(
    study: Study, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: Counter[str] = Counter()
    load = checkpoints.load_model

    def counted(path: str, *arguments: Any) -> Any:
        loads[Path(path).name] += 1
        return load(path, *arguments)

    monkeypatch.setattr(checkpoints, "load_model", counted)
    routed = ["--router", str(Path(study.prm.path).parent / "router")]
    swept = results / "trajectories" / "p" / "lab500.parquet"
    questions = {name: str(results / "questions" / f"{name}.parquet") for name in ("labelling", "lab500")}
    asked = {
        "steps": ["--shard", "0", "--questions", questions["labelling"]],
        "trajectories": [*routed, "--benchmark", "lab500", "--shard", "0", "--questions", questions["lab500"]],
        "latency": routed,
    }
    outputs = {"steps": results / "steps.parquet", "trajectories": swept, "latency": results / "latency.parquet"}
    option = ["--study", str(write_resolved(study, Path(study.results))), "--pair", "p"]
    for command, more in asked.items():
        loads.clear()
        app([command, *option, *more, "--out", str(outputs[command])], standalone_mode=False)
        routers = [] if command == "steps" else ["router"]
        assert loads == Counter(["draft", "target", "prm", *routers])
        assert set(work(outputs[command])) == {"draft", "target", "prm", *routers}
    rows = read_table(outputs["steps"], "steps")
    assert work(outputs["steps"])["prm"]["scored"] <= 2 * len(rows)
    assert all(told["seconds"] > 0 for told in work(outputs["steps"]).values())
    timed = read_table(outputs["latency"], "latency")
    assert work(outputs["latency"])["draft"]["tokens"] == sum(row["draft_tokens"] for row in timed)


def work(output: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(output.with_name(f"{output.name}.provenance.json").read_text())
    found: dict[str, Any] = told["work"]
    return found


def test_times_are_summed_by_rule_with_what_was_inside_the_models(tmp_path: Path) -> None:
    def job(rule: str, name: str, seconds: float, **told: Any) -> None:
        benchmark = tmp_path / "benchmarks" / rule / f"{name}.tsv"
        benchmark.parent.mkdir(parents=True, exist_ok=True)
        benchmark.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:09\t-\n")
        record = {"stage": rule, "started": "2026-01-01T10:00:00+00:00", "ended": f"2026-01-01T10:0{name}:00+00:00"}
        (tmp_path / f"{rule}-{name}.parquet.provenance.json").write_text(json.dumps(record | told))

    with pytest.raises(TableError, match="no job of this study has run"):
        rule_times(tmp_path)
    job("steps", "1", 10.0, work={"draft": {"seconds": 4.0, "tokens": 100}, "prm": {"seconds": 2.0, "scored": 7}})
    job("steps", "2", 20.0, work={"draft": {"seconds": 6.0, "tokens": 50}})
    job("figure", "5", 3.0)
    steps, figure = rule_times(tmp_path)
    assert (steps.rule, steps.jobs, steps.seconds, steps.model_s) == ("steps", 2, 30.0, 12.0)
    assert steps.units == {"draft": 150, "prm": 7}
    assert (figure.rule, figure.jobs, figure.model_s) == ("figure", 1, 0.0)
    assert sum_of([steps, figure]).seconds == 33.0 and elapsed(tmp_path) == 300.0


def test_two_jobs_of_one_shard_are_kept_apart_and_two_studies_are_not(study: Study, results: Path) -> None:
    other = study.model_copy(update={"study": "other"})
    questions, second = results / "questions" / "labelling.parquet", results / "second.parquet"
    refused = pytest.raises(StoreError, match="tiny-p-shard-0 is being worked on by process")
    with (
        open_cast(study, "p", "labelling", "shard-0", None),
        open_cast(other, "p", "labelling", "shard-0", None),
        refused,
    ):
        label_steps(study, "p", 0, questions, second)
    assert not second.exists()
