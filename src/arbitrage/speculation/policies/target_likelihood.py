"""Target likelihood: escalate where the target finds a single token of the draft's step unlikely."""

from __future__ import annotations

import math

from arbitrage.speculation.policies.base import Here, Policy


class TargetLikelihood(Policy):
    """1 - exp(lowest log-probability that the target gives a token of the draft's step), in [0, 1].

    The target reads the step in one forward pass; no PRM and no router is needed. Its cache then holds the step, so an
    accepted one costs it nothing more, and an escalation starts at once. A step that ends the solution is read with its
    end. 0 for a step without a token.

    The lowest, not the mean (`target_mean_likelihood`): a step goes wrong at one token, a digit or an operator, and a
    mean hides that one behind the many that any model would write. In a trial with the lab's models it was the best of
    all signals that need no training.
    """

    name = "target_likelihood"

    async def score(self, here: Here) -> float:
        return 1.0 - math.exp(min((0.0, *await here.target_logprobs())))
