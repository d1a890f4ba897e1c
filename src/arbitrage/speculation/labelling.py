"""Labelling: draft and target continue the same context, the PRM scores both (paper, section 4.2).

The path that continues is the oracle's own at threshold 0 (as in the authors' release): the better-scored step, the
draft's on ties. Further target samples refine the label only: sample 0 is the greedy one, and the only one that may
continue.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Sequence
from statistics import fmean
from typing import Any

from arbitrage.speculation.algorithm1 import Trajectory, algorithm1
from arbitrage.speculation.decision import Interval
from arbitrage.speculation.here import ScheduledHere
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.policies.confidence import confidence_score
from arbitrage.speculation.scalars import LEAST
from arbitrage.speculation.scheduling import Lockstep, MakeScheduler, Progress, Scheduler
from arbitrage.speculation.steps import Author, GeneratedStep, Sampling
from arbitrage.speculation.tree import Node, Question

Rows = list[dict[str, Any]]


class Labelling:
    """The course (`scheduling.Course`) along the oracle's path; its result: rows of the `steps` table.

    samples: target steps a context, >= 1; the advantage is mean(st) - sd over them, the label y = 1 where it is > 0.
    reads: whether the target reads the draft's steps, for routers that learn from what it makes of them.
    """

    def __init__(self, samples: int, temperature: float, seed: int, reads: bool = False) -> None:
        self._samplings = [Sampling(temperature, seed, sample) for sample in range(1, samples)]
        self._seed, self._reads = seed, reads

    def begin(self, number: int, question: Question, scheduler: Scheduler) -> Iterable[Coroutine[Any, Any, Rows]]:
        """The oracle's trajectory at threshold 0, a row a step. Raises EngineError for lack of a model."""
        oracle = POLICIES["oracle"]
        scheduler.models.require(oracle)
        if self._reads:
            scheduler.models.require_reading("a router variant of kind scalars+target")
        yield self._follow(Trajectory(oracle, Interval.at(0.0), Node(question), order=(number,)), scheduler)

    async def _follow(self, trajectory: Trajectory, scheduler: Scheduler) -> Rows:
        reached: list[SampledHere] = []
        rows: Rows = []

        def at(trajectory: Trajectory) -> SampledHere:
            reached.append(SampledHere(trajectory, scheduler, self._seed, self._samplings))
            return reached[-1]

        def fork(other: Trajectory) -> None:
            raise AssertionError("one threshold is never split")

        async for _ in algorithm1(trajectory, scheduler.models.bounds, at, fork):
            rows.append(await _row(reached[-1], self._reads))
        return rows

    async def conclude(self, number: int, question: Question, parts: list[Rows], scheduler: Scheduler) -> Rows:
        """The rows of a question, in the order of its steps."""
        return parts[0]


class SampledHere(ScheduledHere):
    """A node where the target writes further samples, which the PRM scores too (section 4.2: several, averaged)."""

    def __init__(self, trajectory: Trajectory, scheduler: Scheduler, seed: int, samplings: Sequence[Sampling]) -> None:
        super().__init__(trajectory, scheduler, seed)
        self._samples = [self._sampled("target", sampling) for sampling in samplings]

    async def samples(self) -> list[GeneratedStep]:
        """The target's further steps."""
        return [await step for step in self._samples]

    async def sample_scores(self) -> list[float]:
        """The PRM's scores of these."""
        pending = [
            self._score("target", step.text, number) for number, step in enumerate(await self.samples(), start=1)
        ]
        return [await score for score in pending]

    async def prm_scores(self, *authors: Author) -> list[float]:
        """As always; the samples are scored beside."""
        pending = [self._score(author, (await self._step(author)).text) for author in authors]
        await self.sample_scores()
        return [await score for score in pending]


async def _row(here: SampledHere, reads: bool) -> dict[str, Any]:
    draft, targets = await here.draft(), [await here.target(), *await here.samples()]
    draft_score, greedy_score = await here.prm_scores("draft", "target")
    target_scores = [greedy_score, *await here.sample_scores()]
    advantage = fmean(target_scores) - draft_score
    return {
        "question_id": here.node.question.question_id,
        "problem": here.node.question.problem,
        "step_index": len(here.node.steps),
        "history": [{"model": step.model, "text": step.text} for step in here.node.steps],
        "draft_step": draft.text,
        "target_steps": [step.text for step in targets],
        "draft_score": draft_score,
        "target_scores": target_scores,
        "advantage": advantage,
        "label": int(advantage > 0),
        "draft_confidence": confidence_score(draft),
        "draft_logprobs": draft.logprobs,
        "draft_entropies": draft.entropies,
        "target_logprobs": [max(each, LEAST) for each in await here.target_logprobs()] if reads else None,
        "tokens_so_far": here.tokens_so_far,
    }


def label(
    models: PairModels,
    questions: Sequence[Question],
    samples: int,
    temperature: float,
    seed: int,
    scheduler: MakeScheduler = Lockstep,
    progress: Progress = lambda finished, alive: None,
    reads: bool = False,
) -> Rows:
    """Rows of the `steps` table (section 4.2; without study and pair), sorted by (question_id, step_index).

    reads: as of `Labelling`. progress: told the number of finished and of open questions. Raises EngineError.
    """
    rows: Rows = []

    def finished(question: Question, own: Rows) -> None:
        rows.extend(own)

    scheduler(models).run(questions, Labelling(samples, temperature, seed, reads), finished, progress)
    return sorted(rows, key=lambda row: (row["question_id"], row["step_index"]))
