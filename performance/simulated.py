"""A simulated pair whose scores are uniform and independent: the exact sweep's worst case, at any length."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from arbitrage.config.pipeline import Generation
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.steps import GREEDY, AuthoredStep, GeneratedStep, Ids, Sampling


def simulated_models(steps: int) -> PairModels:
    """Models that cost nothing: every solution has `steps` steps of ten tokens, the two models never write the same.

    Scores are uniform and independent: every node of the tree splits the thresholds somewhere, the exact sweep's worst
    case.
    """
    generation = Generation(max_steps=steps, max_tokens=10**9, max_step_tokens=100)
    draft, target, scorer = SimulatedGenerator("draft"), SimulatedGenerator("target"), SimulatedScorer("prm")
    return PairModels(draft, target, scorer, SimulatedScorer("router"), generation)


class SimulatedGenerator:
    """Writes a step that names the model and the place (`protocols.Generator`)."""

    def __init__(self, name: str) -> None:
        self.identity, self.max_context = name, 2**20

    def prompt_ids(self, problem: str) -> Ids:
        return (len(problem),)

    def step_ids(self, text: str) -> Ids:
        return (ord(text[0]),)

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        step = GeneratedStep(self.identity[0], "separator", (-0.1,) * 10)
        return [step] * len(contexts)


class SimulatedScorer:
    """A number in (0, 1) hashed from what is judged (`protocols.Scorer`)."""

    def __init__(self, name: str) -> None:
        self.identity = name

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        return (len(problem), *(ord(each.text[0]) for each in (*history, step)))

    def score(self, inputs: Sequence[Ids]) -> list[float]:
        return [
            (int.from_bytes(hashlib.blake2b(f"{self.identity}{ids}".encode(), digest_size=6).digest(), "big") + 0.5)
            / 2**48
            for ids in inputs
        ]
