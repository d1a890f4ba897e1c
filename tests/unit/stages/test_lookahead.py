"""Look-ahead labels of the tiny study: from labelled steps, through the command, out of the step store."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from arbitrage.cli import app
from arbitrage.config.load import write_resolved
from arbitrage.config.study import Study
from arbitrage.engines.store.step_store import StepStore
from arbitrage.io.tables import read_table, write_table
from arbitrage.questions.normal_form import QuestionError
from arbitrage.stages.label import label
from arbitrage.stages.lookahead import lookahead
from tests.support.tiny_models import tiny_study

COLUMNS = {"study": "tiny", "source": "x", "solution": "", "answers": ["1"], "grading": "{}"}
ASKED = 6


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """With labelled steps; the answer to question q<n> is n."""
    folder = tmp_path_factory.mktemp("tiny")
    variants = {"default": {}, "ahead": {"kind": "scalars", "labels": "lookahead"}}
    found = tiny_study(folder, 3, router={"seeds": 1, "variants": variants}, sweep={"chunk": 2})
    write_questions(questions(found), [{"answers": [str(number)]} for number in range(ASKED)])
    label(found, "p", 0, questions(found), steps(found))
    return found


def write_questions(table: Path, changes: list[dict[str, Any]]) -> Path:
    rows = [
        {**COLUMNS, "question_id": f"q{n}", "problem": f"First add {n} and 4.\n\nWhat is it?", **changed}
        for n, changed in enumerate(changes)
    ]
    write_table(table, "questions", rows)
    return table


def questions(study: Study) -> Path:
    return Path(study.folder) / "questions.parquet"


def steps(study: Study) -> Path:
    return Path(study.folder) / "steps.parquet"


def elsewhere(study: Study, folder: Path, scheduler: str = "auto") -> Study:
    """The study with a step store of its own, in which its labelling is."""
    own = study.model_copy(update={"results": str(folder), "scheduler": scheduler})
    label(own, "p", 0, questions(study), folder / "steps.parquet")
    return own


class Verdicts:
    """A grader of its own: right, wrong or ungraded by a solution's length. solutions: those graded, by gold answer."""

    def __init__(self) -> None:
        self.solutions: dict[str, list[str]] = defaultdict(list)

    def __call__(self, solution: str, gold: Sequence[str], grading: str) -> tuple[str | None, bool | None]:
        self.solutions[gold[0]].append(solution)
        return None, self.of(solution)

    @staticmethod
    def of(solution: str) -> bool | None:
        return (True, False, None)[len(solution) % 3]


def test_every_labelled_step_has_a_row_and_nothing_is_written_twice(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    grader = Verdicts()
    monkeypatch.setattr("arbitrage.stages.lookahead.grade", grader)
    work, tables = [], []
    words = ["--pair", "p", "--shard", "0", "--questions", questions(study), "--steps", steps(study)]
    for name in ("first", "second"):
        out = Path(study.folder) / f"{name}.parquet"
        command = ["lookahead", "--study", write_resolved(study), *words, "--out", out]
        app([str(word) for word in command], standalone_mode=False)
        record = json.loads(out.with_name(f"{out.name}.provenance.json").read_text())
        assert {Path(path).name for path in record["inputs"]} >= {"questions.parquet", "steps.parquet"}
        work.append(record["work"])
        tables.append(out.read_bytes())
    assert work[0]["target"]["tokens"] > 0
    assert work[0]["draft"]["tokens"] == work[0]["prm"]["scored"] == 0
    assert all(did.get("tokens", did.get("scored")) == 0 for did in work[1].values())
    assert tables[0] == tables[1]

    rows = read_table(Path(study.folder) / "first.parquet", "lookahead")
    labelled = read_table(steps(study), "steps")
    key = ("study", "pair", "question_id", "step_index")
    assert [[row[name] for name in key] for row in rows] == [[row[name] for name in key] for row in labelled]
    graded = {f"q{gold}": iter(solutions) for gold, solutions in grader.solutions.items()}
    seen = set()
    for row, step in zip(rows, labelled, strict=True):
        if row["same_text"]:
            assert step["draft_step"] == step["target_steps"][0]
            assert row["right_after_draft"] is row["right_after_target"] is None
            continue
        before = "".join(each["text"] for each in step["history"])
        for side, text in (("draft", step["draft_step"]), ("target", step["target_steps"][0])):
            solution = next(graded[row["question_id"]])
            assert solution.startswith(before + text)
            assert row[f"right_after_{side}"] is Verdicts.of(solution)
            seen.add(Verdicts.of(solution))
    assert seen == {True, False, None}


@pytest.mark.parametrize("scheduler", ["lockstep", "continuous"])
def test_a_killed_run_goes_on_from_its_last_commit(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    def run(own: Study) -> tuple[bytes, int]:
        out = Path(own.results) / "lookahead.parquet"
        _, report = lookahead(own, "p", 0, questions(study), steps(study), out)
        return out.read_bytes(), report["work"]["target"]["tokens"]

    whole, tokens = run(elsewhere(study, tmp_path / "whole", scheduler))
    cut = elsewhere(study, tmp_path / "cut", scheduler)
    commit = StepStore.commit

    def kill(store: StepStore, name: str) -> None:
        commit(store, name)
        if store.generated_tokens:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StepStore, "commit", kill)
        run(cut)
    again, rest = run(cut)
    assert again == whole and rest < tokens


def test_the_answer_may_be_boxed_in_the_solution_and_without_any_the_stage_refuses(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grader = Verdicts()
    monkeypatch.setattr("arbitrage.stages.lookahead.grade", grader)
    bare = {"answers": [], "solution": "By inspection."}
    table = write_questions(tmp_path / "questions.parquet", [bare | {"solution": "So \\boxed{9}."}, *[bare] * 5])
    lookahead(study, "p", 0, table, steps(study), tmp_path / "one.parquet")
    assert set(grader.solutions) == {"9"}
    rows = read_table(tmp_path / "one.parquet", "lookahead")
    assert len(rows) == len(read_table(steps(study), "steps"))
    others = [row for row in rows if row["question_id"] != "q0" and not row["same_text"]]
    assert others and all(row["right_after_draft"] is row["right_after_target"] is None for row in others)
    table = write_questions(tmp_path / "questions.parquet", [bare] * 6)
    with pytest.raises(QuestionError, match=r"none of the 6 questions of shard 0 has an answer.*columns\.solution"):
        lookahead(study, "p", 0, table, steps(study), tmp_path / "none.parquet")
    assert not (tmp_path / "none.parquet").exists()
