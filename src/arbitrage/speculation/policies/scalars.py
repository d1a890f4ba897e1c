"""A router that reads scalars: escalate iff the number it makes of the draft's token statistics exceeds tau."""

from __future__ import annotations

from arbitrage.speculation.policies.base import Here, Policy
from arbitrage.speculation.scalars import Signals


class Scalars(Policy):
    """The number of a router of the policy's kind (`router.variants.<name>.kind`), in (0, 1).

    The models that its kind reads a signal of are asked here, at every node.
    """

    name = "scalars"

    async def score(self, here: Here) -> float:
        entry = self.entry
        assert entry.router is not None
        draft_score = (await here.prm_scores("draft"))[0] if "prm" in entry.needs else None
        target_logprobs = await here.target_logprobs() if entry.target_reads else None
        draft_state = await here.draft_state() if "states" in entry.reports else ()
        return await here.scalar_score(entry.router, Signals(draft_score, target_logprobs, draft_state))
