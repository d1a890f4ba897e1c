"""What the live decoder has its models read: each keeps its cache across steps, rolls back, reads only what is new."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch

from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.config.prm import Prm
from arbitrage.config.router import Router
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.hf.generator import TransformersGenerator
from arbitrage.engines.hf.incremental import LiveGenerator, LiveScorer
from arbitrage.engines.hf.kv_cache import BufferCache
from arbitrage.engines.scoring.scorers import PrmScorer, RouterScorer
from arbitrage.speculation.decoder import LiveDecoder
from arbitrage.speculation.live_here import Costs
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.tree import Question
from tests.support.fakes import fake_decoder
from tests.support.tiny_models import build_causal, build_classifier

GENERATION = Generation(max_steps=8, max_tokens=300, max_step_tokens=40)
ROUTER = {"classes": 2, "boundary": 1, "ordinal": False, "annotate": True, "separator": "\n\n"}
QUESTIONS = [Question(f"q{n}", f"First we add {n} and 4. What is it?") for n in range(12)]


@dataclass
class Watched:
    """A model's forward passes, and what its cache holds after them."""

    passes: int = 0
    read: int = 0  # ids in all passes
    starts: int = 0  # passes that began with nothing held
    again: int = 0  # of these, ids that the cache held already, the last one of a call excepted
    rolled_back: int = 0  # passes before which ids were dropped
    holds: list[int] = field(default_factory=list)

    def over(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """`forward`, watched."""

        def watched(ids: torch.Tensor, positions: Any, mask: Any, cache: BufferCache, *count: int) -> Any:
            held, new = cache.length, ids[0].tolist()
            before = self.holds if held else []  # a new question
            self.holds = before[:held] + new
            pairs = enumerate(zip(before, self.holds[:-1], strict=False))
            shared = next((place for place, (old, now) in pairs if old != now), min(len(before), len(self.holds) - 1))
            self.starts += held == 0
            self.passes, self.read = self.passes + 1, self.read + len(new)
            self.again += shared - held
            self.rolled_back += held < len(before)
            return forward(ids, positions, mask, cache, *count)

        return watched


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("zoo")
    build_causal(root / "draft", "bpe", seed=3)
    build_causal(root / "target", "bpe", seed=4)
    build_classifier(root / "prm", "bpe")
    build_classifier(root / "router", "bpe", labels=2, router=ROUTER)
    return root


def watched_decoder(zoo: Path) -> tuple[LiveDecoder, dict[str, Watched]]:
    draft, target = (
        TransformersGenerator(resolve(zoo / name), Model(path=str(zoo / name)), GENERATION)
        for name in ("draft", "target")
    )
    prm = PrmScorer(resolve(zoo / "prm"), Prm(path=str(zoo / "prm")), GENERATION.separator)
    router = RouterScorer(resolve(zoo / "router"), Router())
    watched = {}
    for name, engine in (("draft", draft), ("target", target), ("prm", prm), ("router", router)):
        watched[name] = Watched()
        engine.forward = watched[name].over(engine.forward)  # type: ignore[method-assign]
    target.logits_after = watched["target"].over(target.logits_after)  # type: ignore[method-assign]
    live = LiveDecoder(
        LiveGenerator(draft), LiveGenerator(target), LiveScorer(prm), LiveScorer(router), GENERATION, seed=0
    )
    return live, watched


@pytest.mark.parametrize(("policy", "threshold"), [("rsd", 0.5), ("oracle", 0.0), ("router", 0.5)])
def test_each_model_goes_on_from_its_cache_and_reads_nothing_twice(zoo: Path, policy: str, threshold: float) -> None:
    decoder, watched = watched_decoder(zoo)
    costs, authors, asked = Costs(), set(), 0
    for question in QUESTIONS:
        solution = decoder.solve(question, POLICIES[policy], threshold)
        costs.add(solution.costs)
        authors |= {step.author for step in solution.steps[1:]}
        asked += any(step.target for step in solution.steps)
    assert authors == {"draft", "target"}
    scorer, other = ("router", "prm") if policy == "router" else ("prm", "router")
    assert watched["draft"].passes == costs.draft_tokens  # one a token: what is new is read with the first
    assert watched["target"].passes == costs.target_tokens
    assert watched[scorer].passes == costs.score_calls and watched[other].passes == 0
    assert watched[scorer].read == costs.score_tokens
    assert [watched[name].starts for name in ("draft", scorer, "target")] == [len(QUESTIONS), len(QUESTIONS), asked]
    assert {name: each.again for name, each in watched.items()} == dict.fromkeys(watched, 0)
    rejecting = ["draft", scorer, *(["target"] if policy == "oracle" else [])]
    assert all(watched[name].rolled_back for name in rejecting)


@pytest.mark.parametrize(
    ("policy", "threshold"), [("rsd", 0.5), ("router", 0.5), ("target_only", None), ("target_likelihood", -4.0)]
)
def test_escalated_steps_by_token_level_speculation_are_the_same(
    zoo: Path, policy: str, threshold: float | None
) -> None:
    decoder, _ = watched_decoder(zoo)
    plain, costs = Costs(), Costs()
    for question in QUESTIONS:
        expected = decoder.solve(question, POLICIES[policy], threshold)
        solution = decoder.solve(question, POLICIES[policy], threshold, speculative_tokens=4)
        assert solution.text == expected.text
        assert [step.author for step in solution.steps] == [step.author for step in expected.steps]
        plain.add(expected.costs)
        costs.add(solution.costs)
    assert costs.target_tokens == plain.target_tokens > 0
    assert costs.draft_tokens > plain.draft_tokens  # what it proposed counts as its own
    assert costs.score_calls == plain.score_calls


def test_a_target_that_cannot_check_says_what_it_needs() -> None:
    with pytest.raises(ValueError, match="one vocabulary on one engine, transformers or vllm"):
        fake_decoder(0).solve(QUESTIONS[0], POLICIES["rsd"], 0.5, speculative_tokens=4)


def test_the_target_reads_accepted_steps_only_when_it_is_asked_and_in_one_pass(zoo: Path) -> None:
    decoder, watched = watched_decoder(zoo)
    target, caught_up = watched["target"], 0
    for question in QUESTIONS:
        accepted, passes, read = 0, target.passes, target.read
        for step in decoder.stream(question, POLICIES["router"], 0.5):
            if step.target is None:
                assert target.passes == passes
                accepted += len(decoder.target.step_ids(step.chosen.text))
            else:
                caught_up += accepted > 0
                assert target.passes - passes == step.target.tokens  # the first of them reads what is missing
                assert target.read - read == step.costs.catch_up_tokens + step.target.tokens - 1
                assert step.costs.catch_up_tokens >= accepted
                accepted = 0
            passes, read = target.passes, target.read
    assert caught_up > 0


def test_a_target_that_judges_reads_each_draft_step_in_one_pass_and_writes_on_from_there(zoo: Path) -> None:
    decoder, watched = watched_decoder(zoo)
    target, policy = watched["target"], POLICIES["target_likelihood"]
    accepted = [step for each in QUESTIONS for step in decoder.stream(each, policy, 1.0)]
    threshold = median(step.policy_score for step in accepted if step.policy_score is not None)
    escalated = 0
    for question in QUESTIONS:
        unread: int | None = len(decoder.target.prompt_ids(question.problem))
        passes, read, again = target.passes, target.read, target.again
        for step in decoder.stream(question, policy, threshold):
            assert step.draft is not None
            judged = len(decoder.target.step_ids(step.draft.text)) + (step.draft.finish_reason == "eos")
            if (
                unread is None
            ):  # of its own step at least the last token; more, where the text has other ids than it wrote
                unread = max(1, step.costs.score_tokens - judged)
            assert (step.costs.score_calls, step.costs.score_tokens) == (1, unread + judged)
            assert step.costs.catch_up_tokens == 0
            written = step.target.tokens - 1 if step.target else 0  # the first follows from what was read
            assert target.passes - passes == 1 + written
            assert target.read - read == unread + judged + written
            escalated += step.target is not None
            unread = None if step.target else 0
            passes, read = target.passes, target.read
        assert target.again == again
    assert 0 < escalated < len(accepted)
    assert watched["prm"].passes == watched["router"].passes == 0
