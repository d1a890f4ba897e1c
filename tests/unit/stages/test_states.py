"""The draft's hidden states after labelled steps: through the command, each read once, and with a kill in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from arbitrage.cli import app
from arbitrage.config.load import write_resolved
from arbitrage.config.study import Study
from arbitrage.engines import factory
from arbitrage.engines.store.step_store import StepStore
from arbitrage.io.tables import read_table, write_table
from arbitrage.runtime import resources
from arbitrage.speculation.protocols import EngineError
from arbitrage.stages.label import label
from arbitrage.stages.states import states
from tests.support.tiny_models import tiny_study

COLUMNS = {"study": "tiny", "source": "x", "solution": "", "answers": ["1"], "grading": "{}"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    variants = {"default": {}, "mine": {"kind": "probe"}}
    found = tiny_study(
        tmp_path_factory.mktemp("tiny"), 3, steps={"shards": 1, "chunk": 2}, router={"variants": variants}
    )
    rows = [{**COLUMNS, "question_id": f"q{n}", "problem": f"First add {n} and 4.\n\nWhat is it?"} for n in range(6)]
    questions = Path(found.folder) / "questions.parquet"
    write_table(questions, "questions", rows)
    label(found, "p", 0, questions, Path(found.folder) / "steps.parquet")
    rows = read_table(Path(found.folder) / "steps.parquet", "steps")
    later = [  # behind each first step one more, as if it had been accepted
        {**row, "step_index": 1, "history": [{"model": "draft", "text": row["draft_step"]}], "draft_step": "So 7.\n\n"}
        for row in rows
        if row["step_index"] == 0
    ]
    rows = sorted([*(row for row in rows if row["step_index"] == 0), *later], key=lambda row: row["question_id"])
    write_table(Path(found.folder) / "steps.parquet", "steps", rows)
    return found


def run(study: Study, out: Path) -> dict[str, Any]:
    """Run the command; its provenance record."""
    words = ["states", "--study", write_resolved(study), "--pair", "p", "--shard", 0, "--out", out]
    app([*map(str, words), "--steps", str(Path(study.folder) / "steps.parquet")], standalone_mode=False)
    record: dict[str, Any] = json.loads(out.with_name(f"{out.name}.provenance.json").read_text())
    return record


def test_every_labelled_step_has_the_state_that_transformers_gives_and_is_read_once(
    study: Study, tmp_path: Path
) -> None:
    first, second = run(study, tmp_path / "first.parquet"), run(study, tmp_path / "second.parquet")
    rows = read_table(tmp_path / "first.parquet", "states")
    labelled = read_table(Path(study.folder) / "steps.parquet", "steps")
    key = ("study", "pair", "question_id", "step_index")
    assert [[row[name] for name in key] for row in rows] == [[row[name] for name in key] for row in labelled]
    draft = factory.load_generator(study, "draft")
    assert first["models"] == {"draft": draft.identity}
    different = {(step["question_id"], tuple(map(str, step["history"])), step["draft_step"]) for step in labelled}
    assert first["work"]["draft"]["read"] == len(different) and first["work"]["draft"]["tokens"] == 0
    assert second["work"]["draft"]["read"] == second["work"]["draft"]["calls"] == 0
    assert (tmp_path / "first.parquet").read_bytes() == (tmp_path / "second.parquet").read_bytes()
    for row, step in zip(rows, labelled, strict=True):
        texts = [*(each["text"] for each in step["history"]), step["draft_step"]]
        ids = [*draft.prompt_ids(step["problem"]), *(each for text in texts for each in draft.step_ids(text))]
        with torch.inference_mode():
            output = draft.model(torch.tensor([ids]), output_hidden_states=True)  # type: ignore[union-attr]
        assert np.allclose(row["state"], output.hidden_states[-1][0, -1], atol=1e-5)


def test_a_killed_run_goes_on_from_its_last_commit(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(name: str) -> tuple[bytes, int]:
        own = study.model_copy(update={"results": str(tmp_path / name)})
        _, report = states(own, "p", 0, Path(study.folder) / "steps.parquet", tmp_path / name / "states.parquet")
        return (tmp_path / name / "states.parquet").read_bytes(), report["work"]["draft"]["read"]

    whole, read = begin("whole")
    commit = StepStore.commit

    def kill(store: StepStore, name: str) -> None:
        commit(store, name)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StepStore, "commit", kill)
        begin("cut")
    assert not (tmp_path / "cut" / "states.parquet").exists()
    again, rest = begin("cut")
    assert again == whole and 0 < rest < read


def test_a_damaged_draft_is_named_and_nothing_is_written(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = study.model_copy(update={"results": str(tmp_path)})
    loaded = factory.load_generator(study, "draft")
    with torch.no_grad():
        loaded.model.base_model.norm.weight[3] = torch.nan  # type: ignore[union-attr]
    monkeypatch.setattr(factory, "load_generator", lambda *arguments: loaded)
    with pytest.raises(EngineError, match=r"draft: a number of the hidden state after the ids .* is not finite.*dtype"):
        states(own, "p", 0, Path(study.folder) / "steps.parquet", tmp_path / "states.parquet")
    assert not (tmp_path / "states.parquet").exists()


def test_the_job_has_the_draft_alone(study: Study) -> None:
    changes = {"draft": {"device": "cuda:2"}, "target": {"device": "cuda:1"}}
    models = {name: model.model_copy(update=changes[name]) for name, model in study.models.items()}
    on_gpus = study.model_copy(update={"models": models})
    assert resources.gpus(on_gpus, "states", "p") == 1 and resources.gpus(on_gpus, "label", "p") == 1
    needed = [resources.resources(study, stage, "p")["mem_mb"] for stage in ("states", "label")]
    assert needed[0] <= needed[1]  # type: ignore[operator]
