"""Lowest token log-probability: escalate where the draft was unsure of a single token of its step."""

from __future__ import annotations

import math

from arbitrage.speculation.policies.base import Here, Policy


class MinLogprob(Policy):
    """1 - exp(lowest token log-probability) of the draft step, in [0, 1): one minus its least likely token's share."""

    name = "min_logprob"

    async def score(self, here: Here) -> float:
        draft = await here.draft()
        return 1.0 - math.exp(min(0.0, *draft.logprobs))
