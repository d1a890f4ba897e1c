"""RSD, reward-guided speculative decoding: accept iff the PRM's score of the draft step exceeds tau."""

from __future__ import annotations

from typing import Any

from arbitrage.speculation.policies.base import Here, Policy


class Rsd(Policy):
    """sd, in (0, 1); the draft's step is accepted above the threshold (section 3, the baseline)."""

    name = "rsd"

    async def score(self, here: Here) -> float:
        (draft_score,) = await here.prm_scores("draft")
        return draft_score

    def from_prm(self, draft_scores: Any, target_scores: Any) -> Any:
        return draft_scores
