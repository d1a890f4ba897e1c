"""The Arbitrage oracle: escalate iff the target's step scores better than the draft's by more than tau (eq. 4.4)."""

from __future__ import annotations

from typing import Any

from arbitrage.speculation.policies.base import Here, Policy


class Oracle(Policy):
    """The advantage st - sd, in (-1, 1), of section 4.1; exactly 0 where both write the same."""

    name = "oracle"

    async def score(self, here: Here) -> float:
        draft_score, target_score = await here.prm_scores("draft", "target")
        return target_score - draft_score

    def from_prm(self, draft_scores: Any, target_scores: Any) -> Any:
        return target_scores - draft_scores
