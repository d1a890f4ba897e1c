"""The live decoder (paper, Algorithm 1): one question, batch 1, no look-ahead, nothing kept but the models' caches.

Draft step -> score -> accept, or the target writes the step again from the same prefix -> append -> until it ends.
Draft, target, PRM and router each keep their key-value cache across steps: a call with new ids keeps the common prefix,
drops the rest (a rejected step) and reads only what is new. So the target catches up on accepted steps only when it is
asked, in one pass. Latency is measured with it; its text equals the sweep's trajectory at the same threshold.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields

from arbitrage.config.pipeline import Generation
from arbitrage.speculation.policies import Policy, confidence_score, decide, random_score
from arbitrage.speculation.protocols import (
    Author,
    AuthoredStep,
    GeneratedStep,
    IncrementalGenerator,
    IncrementalScorer,
)
from arbitrage.speculation.tree import Bounds, Contexts, Node, Question


@dataclass(slots=True)
class Costs:
    """Seconds and counts of one solution, or of one step of it."""

    draft_s: float = 0.0
    score_s: float = 0.0
    target_s: float = 0.0
    catch_up_s: float = 0.0
    draft_tokens: int = 0
    target_tokens: int = 0
    catch_up_tokens: int = 0
    score_calls: int = 0
    score_tokens: int = 0

    def add(self, other: Costs) -> None:
        """Add another step's costs to these."""
        for cost in fields(self):
            setattr(self, cost.name, getattr(self, cost.name) + getattr(other, cost.name))


@dataclass(frozen=True, slots=True)
class LiveStep:
    """One decided step: what was written, what the policy saw, and what it cost."""

    draft: GeneratedStep | None
    target: GeneratedStep | None
    policy_score: float | None
    author: Author
    costs: Costs

    @property
    def chosen(self) -> GeneratedStep:
        """The step that joined the solution."""
        step = self.target if self.author == "target" else self.draft
        assert step is not None
        return step


@dataclass(frozen=True, slots=True)
class LiveSolution:
    """A whole solution with its wall-clock time in seconds, from the question's text to the last step's."""

    steps: list[LiveStep]
    wall_s: float
    costs: Costs = field(default_factory=Costs)

    @property
    def text(self) -> str:
        """The solution."""
        return "".join(step.chosen.text for step in self.steps)


@dataclass
class LiveDecoder:
    """Decodes one question at a time. `prm` and `router` may be None where no policy asked for needs them."""

    draft: IncrementalGenerator
    target: IncrementalGenerator
    prm: IncrementalScorer | None
    router: IncrementalScorer | None
    generation: Generation
    seed: int

    def solve(self, question: Question, policy: Policy, threshold: float | None) -> LiveSolution:
        """Decode to the end. Caches are empty at the start, so that every question pays for its own prompt."""
        start = time.perf_counter()
        steps = list(self.stream(question, policy, threshold))
        solution = LiveSolution(steps, time.perf_counter() - start)
        for step in steps:
            solution.costs.add(step.costs)
        return solution

    def stream(self, question: Question, policy: Policy, threshold: float | None) -> Iterator[LiveStep]:
        """The same, one decided step at a time, as soon as it is decided.

        Raises ValueError where the policy needs a threshold and none is given.
        """
        if policy.has_threshold and threshold is None:
            raise ValueError(f"policy {policy.name!r} needs a threshold; give one, such as 0.5")
        for engine in (self.draft, self.target, self.prm, self.router):
            if engine is not None:
                engine.reset()
        draft_contexts, target_contexts = Contexts(self.draft), Contexts(self.target)
        bounds = Bounds(self.generation, draft_contexts)
        node = Node(question)
        while not bounds.finished(node):
            limit, costs = bounds.step_limit(node), Costs()
            draft = self._draft(draft_contexts, node, limit, costs) if policy.asks_draft else None
            target = None
            if policy.asks_target_always:
                target = self._target(target_contexts, node, limit, costs)
            score = self._score(policy, node, draft, target, costs)
            escalate = decide(policy, score, threshold if threshold is not None else 0.0)
            if escalate and target is None:
                target = self._target(target_contexts, node, limit, costs)
            step = LiveStep(draft, target, score, "target" if escalate else "draft", costs)
            yield step
            node = node.child(AuthoredStep(step.author, step.chosen.text), step.chosen.finish_reason)

    def _draft(self, contexts: Contexts, node: Node, limit: int, costs: Costs) -> GeneratedStep:
        start = time.perf_counter()
        step = self.draft.generate_one(contexts.ids(node), limit)
        costs.draft_s += time.perf_counter() - start
        costs.draft_tokens += step.tokens
        return step

    def _target(self, contexts: Contexts, node: Node, limit: int, costs: Costs) -> GeneratedStep:
        start = time.perf_counter()
        step = self.target.generate_one(contexts.ids(node), limit)
        costs.target_s += time.perf_counter() - start - self.target.last_prefill_s
        costs.catch_up_s += self.target.last_prefill_s
        costs.catch_up_tokens += self.target.last_prefill_tokens
        costs.target_tokens += step.tokens
        return step

    def _score(
        self, policy: Policy, node: Node, draft: GeneratedStep | None, target: GeneratedStep | None, costs: Costs
    ) -> float | None:
        if policy.name == "random":
            return random_score(self.seed, node)
        if draft is None or not policy.has_threshold:
            return None
        if policy.name == "confidence":
            return confidence_score(draft)
        scorer = self.router if policy.name == "router" else self.prm
        if scorer is None:
            raise ValueError(
                f"policy {policy.name!r} needs a {'router' if policy.name == 'router' else 'PRM'}; load one"
            )
        draft_score = self._judge(scorer, node, AuthoredStep("draft", draft.text), costs)
        if target is None:
            return draft_score
        if target.text == draft.text:
            return 0.0  # the same text has one score; reading it twice could differ in the last bit
        return self._judge(scorer, node, AuthoredStep("target", target.text), costs) - draft_score

    @staticmethod
    def _judge(scorer: IncrementalScorer, node: Node, step: AuthoredStep, costs: Costs) -> float:
        start = time.perf_counter()
        score = scorer.score_one(scorer.input_ids(node.question.problem, node.steps, step))
        costs.score_s += time.perf_counter() - start
        costs.score_calls += 1
        costs.score_tokens += scorer.last_tokens
        return score
