"""Draft confidence: escalate where the draft was unsure of its step as a whole."""

from __future__ import annotations

import math

from arbitrage.speculation.policies.base import Here, Policy
from arbitrage.speculation.steps import GeneratedStep


class Confidence(Policy):
    """1 - exp(mean token log-probability) of the draft step, in [0, 1)."""

    name = "confidence"

    async def score(self, here: Here) -> float:
        return confidence_score(await here.draft())


def confidence_score(draft: GeneratedStep) -> float:
    """1 - exp(mean token log-probability) of the draft step, in [0, 1): high where the draft was unsure."""
    return 1.0 - math.exp(min(0.0, draft.mean_logprob))
