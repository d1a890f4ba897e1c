"""`arbitrage solve` with a question of a benchmark: decoded at the asked policy and threshold, and graded."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from arbitrage import cli
from arbitrage.config.load import write_resolved
from arbitrage.config.study import Study
from arbitrage.io.tables import write_table
from arbitrage.runtime.paths import StudyPaths
from arbitrage.speculation.decoder import LiveDecoder
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.tree import Question
from arbitrage.stages import solve
from tests.support.fakes import FakeGenerator, fake_decoder

PROBLEM = "What is 3 + 4?"


class Boxing(FakeGenerator):
    """Ends every solution at once, with an answer."""

    def _step(self, ids: Any, sampling: Any) -> Any:
        step = super()._step(ids, sampling)
        return type(step)("So \\boxed{7}.", "eos", step.logprobs)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    @contextmanager
    def opened(study: Study, pair: str, routers: Sequence[Path], tokens: Sequence[int]) -> Iterator[LiveDecoder]:
        assert (pair, routers, tokens) == ("small", [], [])
        decoder = fake_decoder(seed=7)
        decoder.target = Boxing("target")
        yield decoder

    monkeypatch.setattr(solve, "open_decoder", opened)
    study = Study.model_validate(
        {
            "study": "s",
            "results": str(tmp_path),
            "models": {"d": {"path": "d"}, "t": {"path": "t"}},
            "pairs": {"small": {"draft": "d", "target": "t"}},
            "prm": {"path": "prm"},
            "benchmarks": {"easy": {"source": "lab500"}, "hard": {"source": "lab500"}},
        }
    )
    for name, answer in (("easy", "7"), ("hard", "8")):
        row = {"study": "s", "question_id": f"{name}-1", "source": "x", "problem": PROBLEM, "solution": ""}
        rows = [row | {"answers": [answer], "grading": "{}"}]
        write_table(StudyPaths.of(study).questions(name), "questions", rows)
    return study


def run(study: Study, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["arbitrage", "solve", "--study", str(write_resolved(study)), *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    if ended.value.code:
        raise AssertionError(ended.value.code)


@pytest.mark.parametrize(("name", "verdict"), [("easy-1", "right; expected 7"), ("hard-1", "wrong; expected 8")])
def test_a_question_of_a_benchmark_is_solved_and_graded(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, verdict: str
) -> None:
    run(study, monkeypatch, "--question-id", name, "--policy", "target_only")
    said = capsys.readouterr().out
    assert "answer: 7" in said and verdict in said


def test_a_random_decision_is_that_of_the_sweep_for_this_question(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The number is hashed from the question's name, which a replay must keep."""
    run(study, monkeypatch, "--question-id", "easy-1", "--policy", "random", "--threshold", "0.5")
    (first, *_) = fake_decoder(seed=7).stream(Question("easy-1", PROBLEM), POLICIES["random"], 0.5)
    assert f"score {first.policy_score:.3f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--question-id", "easy-2"], "hard.parquet has no such question"),
        (["--question", "1?", "--question-id", "easy-1"], "give one of --question and --question-id"),
        ([], "give one of --question and --question-id"),
    ],
)
def test_a_question_that_is_not_there_or_given_twice_is_refused(
    study: Study,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    words: str,
) -> None:
    with pytest.raises(AssertionError):
        run(study, monkeypatch, *options)
    assert words in " ".join(capsys.readouterr().err.replace("│", " ").split())
