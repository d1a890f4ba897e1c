"""Mean target likelihood: escalate where the target finds the draft's step as a whole unlikely."""

from __future__ import annotations

import math
from statistics import fmean

from arbitrage.speculation.policies.base import Here, Policy


class TargetMeanLikelihood(Policy):
    """1 - exp(mean log-probability that the target gives the tokens of the draft's step), in [0, 1].

    What `confidence` is of the draft, of the target, which reads the step in one forward pass; see `target_likelihood`.
    """

    name = "target_mean_likelihood"

    async def score(self, here: Here) -> float:
        logprobs = await here.target_logprobs()
        return 1.0 - math.exp(min(0.0, fmean(logprobs))) if logprobs else 0.0
