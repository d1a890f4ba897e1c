"""One solution against the clock: by a policy, by one model alone, or by token-level speculative decoding."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass

from arbitrage.speculation.decoder import LiveDecoder, LiveSolution, LiveStep
from arbitrage.speculation.live_here import Costs
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.steps import Author
from arbitrage.speculation.tree import Question


@dataclass(frozen=True)
class Setting:
    """What is timed: a policy, and its threshold where it has one.

    uninterrupted: draft or target alone, in one generation. speculative_tokens: a round, proposed by the draft and
    checked by the target, where the target writes by token-level speculative decoding; else 0.
    """

    policy: str
    threshold: float | None
    uninterrupted: bool = False
    speculative_tokens: int = 0


@dataclass(frozen=True)
class Run:
    """One solution to be timed."""

    benchmark: str
    question: Question
    setting: Setting

    @property
    def asked(self) -> tuple[str, Question]:
        """The question, and whose it is: an id is unique in its benchmark only."""
        return self.benchmark, self.question


def timed(decoder: LiveDecoder, run: Run) -> LiveSolution:
    """One solution, with nothing in the way of the clock."""
    gc.collect()
    gc.disable()  # a collection in the middle of one solution would be charged to it
    try:
        setting = run.setting
        if setting.uninterrupted:
            return _checked(decoder, run) if setting.speculative_tokens else _in_one_go(decoder, run)
        return decoder.solve(run.question, POLICIES[setting.policy], setting.threshold, setting.speculative_tokens)
    finally:
        gc.enable()


def _in_one_go(decoder: LiveDecoder, run: Run) -> LiveSolution:
    """Draft or target alone, as anybody would run it: one generation from the prompt to the end."""
    start, costs = time.perf_counter(), Costs()
    author: Author = POLICIES[run.setting.policy].always or "target"
    model = decoder.draft if author == "draft" else decoder.target
    model.reset()
    step = model.generate_whole(model.prompt_ids(run.question.problem), decoder.generation.max_tokens)
    seconds = time.perf_counter() - start
    if author == "draft":
        costs.draft_s, costs.draft_tokens = seconds, step.tokens
        solution = LiveStep(step, None, None, author, costs)
    else:
        costs.target_s, costs.catch_up_s = seconds - model.last_prefill_s, model.last_prefill_s
        costs.target_tokens, costs.catch_up_tokens = step.tokens, model.last_prefill_tokens
        solution = LiveStep(None, step, None, author, costs)
    return LiveSolution([solution], seconds, costs)


def _checked(decoder: LiveDecoder, run: Run) -> LiveSolution:
    """The target alone, its tokens proposed by the draft; reading the prompt is part of the target's time."""
    start, costs = time.perf_counter(), Costs()
    decoder.draft.reset()
    decoder.target.reset()
    prompt = decoder.target.prompt_ids(run.question.problem)
    checked = decoder.checking_target.check_whole(
        decoder.draft, prompt, decoder.generation.max_tokens, run.setting.speculative_tokens
    )
    seconds = time.perf_counter() - start
    costs.draft_s, costs.draft_tokens = checked.proposing_s, checked.proposed
    costs.target_s, costs.target_tokens = seconds - checked.proposing_s, checked.step.tokens
    return LiveSolution([LiveStep(None, checked.step, None, "target", costs)], seconds, costs)
