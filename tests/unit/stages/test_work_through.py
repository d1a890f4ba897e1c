"""The stages that need models: each is loaded once a job, and what it did is told."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from arbitrage.cli import app
from arbitrage.config.load import write_resolved
from arbitrage.config.study import Study
from arbitrage.engines.checkpoints import Checkpoint
from arbitrage.engines.hf.batching import BatchRunner
from arbitrage.engines.hf.kv_cache import BufferCache
from arbitrage.engines.store.chunk_files import StoreError
from arbitrage.engines.store.step_store import StepStore
from arbitrage.io.tables import read_table, write_table
from arbitrage.speculation.steps import AuthoredStep
from arbitrage.speculation.tree import Node, Question
from arbitrage.stages.label import label
from arbitrage.stages.open_models import CachedPair, open_pair_cached
from arbitrage.stages.sweep import sweep
from arbitrage.stages.work_through import PROMPT_TOO_LONG
from tests.support.tiny_models import build_classifier, tiny_study

ROUTER = {"classes": 2, "boundary": 1, "ordinal": False, "annotate": True, "separator": "\n\n"}
COLUMNS = {"study": "tiny", "source": "x", "solution": "", "answers": ["1"], "grading": "{}"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("tiny")
    build_classifier(folder / "router", labels=2, router=ROUTER)
    return tiny_study(folder, 4, sweep={"shards": 1}, latency={"questions": 2, "acceptances": [0.5]})


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
    load = Checkpoint.load

    def counted(checkpoint: Checkpoint, *arguments: Any) -> Any:
        loads[checkpoint.directory.name] += 1
        return load(checkpoint, *arguments)

    monkeypatch.setattr(Checkpoint, "load", counted)
    routed = ["--router", str(Path(study.prm.path).parent / "router")]
    swept = results / "trajectories" / "p" / "lab500.parquet"
    questions = {name: str(results / "questions" / f"{name}.parquet") for name in ("labelling", "lab500")}
    asked = {
        "label": ["--shard", "0", "--questions", questions["labelling"]],
        "sweep": [*routed, "--benchmark", "lab500", "--shard", "0", "--questions", questions["lab500"]],
        "latency": routed,
    }
    outputs = {"label": results / "steps.parquet", "sweep": swept, "latency": results / "latency.parquet"}
    option = ["--study", str(write_resolved(study)), "--pair", "p"]
    for command, more in asked.items():
        loads.clear()
        app([command, *option, *more, "--out", str(outputs[command])], standalone_mode=False)
        routers = [] if command == "label" else ["router"]
        assert loads == Counter(["draft", "target", "prm", *routers])
        assert set(work(outputs[command])) == {"draft", "target", "prm", *routers}
    rows = read_table(outputs["label"], "steps")
    assert work(outputs["label"])["prm"]["scored"] <= 2 * len(rows)
    assert all(told["seconds"] > 0 for told in work(outputs["label"]).values())
    timed = [row for row in read_table(outputs["latency"], "latency") if not row["speculative_tokens"]]
    assert work(outputs["latency"])["draft"]["tokens"] == sum(row["draft_tokens"] for row in timed)


def work(output: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(output.with_name(f"{output.name}.provenance.json").read_text())
    found: dict[str, Any] = told["work"]
    return found


def test_what_a_killed_attempt_did_is_in_the_record_of_the_one_that_ends(
    study: Study, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = results / "questions" / "labelling.parquet"
    steps = study.steps.model_copy(update={"chunk": 2})
    whole, cut = (
        study.model_copy(update={"results": str(tmp_path / name), "steps": steps}) for name in ("whole", "cut")
    )
    _, undisturbed = label(whole, "p", 0, questions, tmp_path / "whole.parquet")
    assert "earlier_attempts" not in undisturbed
    chunks = iter([1])

    def killed(pair: CachedPair) -> None:
        if next(chunks, None) is None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CachedPair, "forget", killed)
        with pytest.raises(KeyboardInterrupt):
            label(cut, "p", 0, questions, tmp_path / "cut.parquet")
    _, report = label(cut, "p", 0, questions, tmp_path / "cut.parquet")
    (attempt,) = report["earlier_attempts"]
    assert attempt["work"]["draft"]["tokens"] > 0 < report["work"]["draft"]["tokens"]
    both = attempt["work"]["draft"]["tokens"] + report["work"]["draft"]["tokens"]
    assert both == undisturbed["work"]["draft"]["tokens"]
    assert "earlier_attempts" not in label(cut, "p", 0, questions, tmp_path / "again.parquet")[1]


def test_two_jobs_of_one_shard_are_kept_apart_and_two_studies_are_not(study: Study, results: Path) -> None:
    other = study.model_copy(update={"study": "other"})
    questions, second = results / "questions" / "labelling.parquet", results / "second.parquet"
    refused = pytest.raises(StoreError, match="tiny-p-shard-0 is being worked on by process")
    with (
        open_pair_cached(study, "label", "p", "labelling", "shard-0"),
        open_pair_cached(other, "label", "p", "labelling", "shard-0"),
        refused,
    ):
        label(study, "p", 0, questions, second)
    assert not second.exists()


def test_a_question_whose_prompt_fills_a_context_is_left_out_and_told(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no room for a step; before, it ended the shard, at every retry."""
    problems = {"q0": "What is 3 + 4?", "q1": "a" * 1100, "q2": "What is 5 + 4?"}
    rows = [{**COLUMNS, "question_id": key, "problem": problem} for key, problem in problems.items()]
    write_table(tmp_path / "questions.parquet", "questions", rows)
    other = study.model_copy(update={"results": str(tmp_path)})
    _, report = label(other, "p", 0, tmp_path / "questions.parquet", tmp_path / "steps.parquet")
    assert report["left_out"] == {"q1": PROMPT_TOO_LONG} and report["work"]["draft"]["tokens"] > 0
    assert {row["question_id"] for row in read_table(tmp_path / "steps.parquet", "steps")} == {"q0", "q2"}
    assert "1 of 3 questions left out" in capsys.readouterr().err
    _, report = sweep(
        other,
        "p",
        "lab500",
        0,
        tmp_path / "questions.parquet",
        [Path(study.prm.path).parent / "router"],
        None,
        tmp_path / "t",
    )
    assert report["left_out"] == {"q1": PROMPT_TOO_LONG}
    assert {row["question_id"] for row in read_table(tmp_path / "t", "trajectories")} == {"q0", "q2"}


@pytest.mark.parametrize("scheduler", ["lockstep", "continuous"])
def test_a_question_that_no_memory_holds_is_left_out_with_the_reason_and_its_shard_goes_on(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    forward = BatchRunner.forward

    def limited(
        runner: BatchRunner, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, cache: BufferCache
    ) -> torch.Tensor:
        if mask.shape[-1] > 300:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(runner, ids, positions, mask, cache)

    monkeypatch.setattr(BatchRunner, "forward", limited)
    problems = {"q0": "What is 3 + 4?", "q1": "a" * 500, "q2": "What is 5 + 4?"}
    rows = [{**COLUMNS, "question_id": key, "problem": problem} for key, problem in problems.items()]
    write_table(tmp_path / "questions.parquet", "questions", rows)
    other = study.model_copy(update={"results": str(tmp_path), "scheduler": scheduler})
    _, report = label(other, "p", 0, tmp_path / "questions.parquet", tmp_path / "steps.parquet")
    assert list(report["left_out"]) == ["q1"] and "out of memory on cpu with one context" in report["left_out"]["q1"]
    assert {row["question_id"] for row in read_table(tmp_path / "steps.parquet", "steps")} == {"q0", "q2"}
    router = Path(study.prm.path).parent / "router"
    _, report = sweep(
        other, "p", "lab500", 0, tmp_path / "questions.parquet", [router, router], None, tmp_path / "swept"
    )
    assert list(report["left_out"]) == ["q1"]
    assert {row["question_id"] for row in read_table(tmp_path / "swept", "trajectories")} == {"q0", "q2"}


def test_a_solution_ends_where_either_models_context_does(study: Study) -> None:
    """At whatever length of the prompt: a context that is full at a separator ended the shard before."""
    with open_pair_cached(study, "label", "p", "labelling", "bounds") as stored:
        bounds, models = stored.models.bounds, stored.models
        room = 1024 - len(models.draft.prompt_ids(""))
        node = Node(Question("q", "a" * (room - 5)))
        assert bounds.step_limit(node) == 5 and not bounds.finished(node)
        full = node.child(AuthoredStep("draft", "b" * 5), "separator")
        assert bounds.finished(full)
        assert not bounds.fits(Question("longer", "a" * room))
        models.target.generator.max_context = 1021  # type: ignore[attr-defined]
        assert bounds.step_limit(node) == 2


Swept = list[tuple[Any, ...]]


def swept_with(study: Study, results: Path, folder: Path, **keys: Any) -> tuple[Swept, dict[str, Any]]:
    """Trajectories of the benchmark with other `keys` and a store in `folder`, and what was done for them."""
    own = study.model_copy(update={"results": str(folder), **keys})
    router, out = Path(study.prm.path).parent / "router", folder / "trajectories.parquet"
    _, report = sweep(own, "p", "lab500", 0, results / "questions" / "lab500.parquet", [router], None, out)
    return [_texts(row) for row in read_table(out, "trajectories")], report


def test_both_schedulers_write_the_same_trajectories_and_labels(study: Study, results: Path, tmp_path: Path) -> None:
    """The same texts: scores may differ in their last bits, for batches differ."""
    one, _ = swept_with(study, results, tmp_path / "lockstep", scheduler="lockstep")
    other, _ = swept_with(study, results, tmp_path / "continuous", scheduler="continuous")
    assert one == other and one
    labelled = []
    for scheduler in ("lockstep", "continuous"):
        own = study.model_copy(update={"results": str(tmp_path / scheduler), "scheduler": scheduler})
        out = tmp_path / f"{scheduler}.parquet"
        label(own, "p", 0, results / "questions" / "labelling.parquet", out)
        labelled.append([(row["draft_step"], row["target_steps"]) for row in read_table(out, "steps")])
    assert labelled[0] == labelled[1] and labelled[0]


@pytest.mark.parametrize("scheduler", ["lockstep", "continuous"])
def test_a_run_that_is_killed_at_a_commit_goes_on_from_there(
    study: Study, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    keys = {"scheduler": scheduler, "sweep": study.sweep.model_copy(update={"chunk": 2})}
    whole, done = swept_with(study, results, tmp_path / "whole", **keys)
    commit = StepStore.commit

    def kill(store: StepStore, name: str) -> None:
        commit(store, name)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StepStore, "commit", kill)
        swept_with(study, results, tmp_path / "killed", **keys)
    assert not (tmp_path / "killed" / "trajectories.parquet").exists()
    rest, report = swept_with(study, results, tmp_path / "killed", **keys)
    assert rest == whole
    assert report["work"]["draft"]["tokens"] < done["work"]["draft"]["tokens"]


def _texts(row: dict[str, Any]) -> tuple[Any, ...]:
    steps = [(step["model"], step["text"], step["draft_tokens"]) for step in row["steps"]]
    return row["question_id"], row["policy"], steps, row["answer"]
