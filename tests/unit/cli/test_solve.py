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
        assert (pair, routers) == ("small", [])
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


def swept(policy: str, low: float, high: float, text: str, router_seed: int | None = None) -> dict[str, Any]:
    """A row of `trajectories` for easy-1: one step, which the target writes instead of the draft."""
    step = {"model": "target", "text": text, "draft_step": "A guess.", "draft_score": 0.2, "target_score": 0.9}
    step |= {"policy_score": 0.1234, "draft_tokens": 3, "target_tokens": 5, "finish_reason": "eos"}
    row = {"study": "s", "pair": "small", "benchmark": "easy", "question_id": "easy-1", "policy": policy}
    row |= {"router_seed": router_seed, "threshold_low": low, "threshold_high": high, "prompt_tokens": 9}
    return row | {"steps": [step], "answer": "7", "correct": True}


def test_a_question_that_was_swept_is_replayed_without_a_model(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = StudyPaths.of(study).trajectories("small", "easy")
    rows = [swept("rsd", -float("inf"), 0.3, "Low."), swept("rsd", 0.3, float("inf"), "High.")]
    rows += [swept("router", 0.0, 1.0, f"Training {seed}.", seed) for seed in (1, 0)]
    write_table(table, "trajectories", rows)
    monkeypatch.setattr(solve, "open_decoder", None)
    for options, words in (
        (("rsd", "--threshold", "0.29"), "Low."),
        (("rsd", "--threshold", "0.3"), "High."),
        (("router",), "Training 0."),
    ):
        run(study, monkeypatch, "--question-id", "easy-1", "--policy", *options)
        said = " ".join(capsys.readouterr().out.split())
        assert f"1 target {words} score 0.123 rejected: A guess." in said
        assert f"answer: 7 right; expected 7. From {table}; --live decodes it" in said


@pytest.mark.parametrize("options", [("--live",), ("--speculative-tokens", "4")])
def test_a_question_that_was_swept_is_decoded_where_that_is_asked_for(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    rows = [swept("target_only", -float("inf"), float("inf"), "Swept.")]
    write_table(StudyPaths.of(study).trajectories("small", "easy"), "trajectories", rows)
    monkeypatch.setattr(LiveDecoder, "can_check", True)
    monkeypatch.setattr(LiveDecoder, "checking_target", None)
    run(study, monkeypatch, "--question-id", "easy-1", "--policy", "target_only", *options)
    said = capsys.readouterr().out
    assert "answer: 7" in said and "Swept." not in said and "tok" in said


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
