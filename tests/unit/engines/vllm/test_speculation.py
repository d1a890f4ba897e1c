"""Token-level speculative decoding by vLLM: with the lab's pair it writes the text of the target alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arbitrage.config.study import Study
from arbitrage.lab.question_stream import benchmark_questions
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.tree import Question
from arbitrage.stages.solve import open_decoder
from arbitrage.stages.timed_solution import Run, Setting, timed
from tests.support.tiny_models import build_causal, widen_heads

pytestmark = [pytest.mark.extra, pytest.mark.timeout(300)]

ZOO = Path("src/arbitrage/lab/zoo")
TOKENS = 4


def study(draft: Path, target: Path) -> Study:
    running: dict[str, Any] = {"engine": "vllm", "vllm": {"cache_gib": 0.0625}}
    return Study.model_validate(
        {
            "study": "s",
            "models": {"d": {"path": str(draft), **running}, "t": {"path": str(target), **running}},
            "pairs": {"p": {"draft": "d", "target": "t"}},
            "prm": {"path": str(ZOO / "router_start")},
            "generation": {"max_tokens": 400},
            "benchmarks": {"b": {"source": "lab500"}},
        }
    )


def test_texts_are_the_targets_whole_and_step_by_step(tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="needs vLLM's CPU build (make test-all)")
    questions = [Question(row["question_id"], row["problem"]) for row in benchmark_questions("lab500", 6)]
    with open_decoder(study(ZOO / "draft", widen_heads(ZOO / "target", tmp_path)), "p", [], [TOKENS]) as decoder:
        assert decoder.can_check
        for question in questions:
            alone, checked = (
                timed(decoder, Run("b", question, Setting("target_only", None, True, tokens))) for tokens in (0, TOKENS)
            )
            assert checked.text == alone.text and checked.costs.target_tokens == alone.costs.target_tokens > 10
            stepwise, both = (
                decoder.solve(question, POLICIES["random"], 0.5, speculative_tokens=tokens) for tokens in (0, TOKENS)
            )
            assert both.text == stepwise.text


def test_a_pair_of_two_vocabularies_has_no_such_engine(tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="needs vLLM's CPU build (make test-all)")
    other = build_causal(tmp_path / "other", "char", width=128)
    with open_decoder(study(ZOO / "draft", other), "p", [], [TOKENS]) as decoder:
        assert not decoder.can_check
