"""The stages that generate and evaluate: how steps are written, labelled, swept, timed and drawn."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from arbitrage.config.policies import DEFAULT_POLICIES, PolicyName, ThresholdPolicy
from arbitrage.config.section import Count, Section, Share


class Generation(Section):
    """How steps are written (paper: greedy, at most 100 steps and 4,096 tokens)."""

    separator: str = Field("\n\n", min_length=1, description="Text that ends a step")
    max_steps: Count = Field(100, description="Steps of a solution")
    max_tokens: Count = Field(4096, description="Tokens of a solution, prompt not counted")
    max_step_tokens: Count = Field(
        4096, description="Tokens of one step; a step that reaches them is cut off there and ends the solution"
    )


class Sharded(Section):
    """A stage that is cut into jobs: `shards` of them, or as many as `questions_per_job` makes."""

    shards: Count = Field(2, description="Jobs the questions are cut into, where there are as many questions")
    questions_per_job: Count | None = Field(
        None, description="Instead of `shards`: the most questions a job works on; the number of jobs follows"
    )

    def shards_of(self, questions: int) -> int:
        """Number of jobs for `questions` questions (>= 1), >= 1: none without a question."""
        return math.ceil(questions / self.questions_per_job) if self.questions_per_job else min(self.shards, questions)


class Steps(Sharded):
    """Labelling (paper, section 4.2): paired steps along the oracle's own path at threshold 0."""

    chunk: Count = Field(250, description="Questions finished whole, or redone whole, within a shard")
    target_samples: Count = Field(1, description="Target steps a context; their mean score sets the label")
    temperature: float = Field(0.0, ge=0.0, le=2.0, description="Of the samples after the greedy one")

    @model_validator(mode="after")
    def _samples_need_temperature(self) -> Steps:
        if self.target_samples > 1 and self.temperature == 0.0:
            raise ValueError("target_samples > 1 needs temperature > 0 (equal samples carry no information)")
        return self


class Sweep(Sharded):
    """Evaluation trajectories."""

    policies: list[PolicyName] = Field(list(DEFAULT_POLICIES), min_length=1, description="Policies to evaluate")
    thresholds: Literal["exact", "quantiles"] | list[float] = Field(
        "exact",
        description="`exact`: every distinct trajectory; `quantiles`: those at thresholds even in acceptance, of each "
        "policy's own scores on the labelling questions, besides 0, 0.1 ... 1; a list: only those a listed threshold "
        "yields",
    )
    quantiles: Count = Field(40, ge=25, description="Thresholds a policy, where they are `quantiles`")
    chunk: Count = Field(
        50, description="Questions finished whole, or redone whole, within a shard; of look-ahead labels too"
    )

    @property
    def listed(self) -> tuple[float, ...]:
        """The thresholds that are listed; none where they are `exact` or `quantiles`."""
        return () if isinstance(self.thresholds, str) else tuple(self.thresholds)


class Latency(Section):
    """Wall-clock measurements with the live decoder, batch 1."""

    questions: Count = Field(50, description="Timed questions a benchmark")
    acceptances: list[Share] = Field(
        [0.1, 0.3, 0.5, 0.7, 0.9], min_length=1, description="Where timed policies with a threshold are timed"
    )
    warmup: int = Field(1, ge=0, description="Solutions of every policy decoded before the clock counts")
    speculative_tokens: list[Count] = Field(
        [4, 8],
        description="Draft tokens a round with which token-level speculative decoding of the target is timed, on vLLM "
        "by an engine each; or []",
    )
    speculative_policies: list[ThresholdPolicy] = Field(
        [],
        description="Policies that are also timed with their escalated steps written by token-level speculative "
        "decoding, the most of `speculative_tokens` a round",
    )
    eager_cuda: bool = Field(
        False,
        description="Time models that transformers runs on a GPU all the same: a token's time is mostly starting "
        "kernels there and follows the number of layers, not the size of the model, so no verdict on speed is given",
    )
    heldout: float = Field(0.25, gt=0.0, lt=1.0, description="Share of timed questions kept from the cost model's fit")


class Curves(Section):
    """Bootstrap and curves."""

    resamples: Count = Field(1000, description="Bootstrap resamples over questions")
    confidence: float = Field(0.95, gt=0.0, lt=1.0, description="Of the intervals")
    points: Count = Field(200, description="Most points a curve is written with, besides the paper's grid 0, 0.1 ... 1")


class Figures(Section):
    """What the figures show beyond the curves."""

    example_acceptance: Share = Field(0.8, description="Fig. 6: acceptance rate of both policies (paper: 0.8)")
    dpi: int = Field(150, ge=50, le=600, description="Of the PNG files")
