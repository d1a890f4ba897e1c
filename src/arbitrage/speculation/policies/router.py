"""The Arbitrage router: escalate iff the predicted probability of an advantage exceeds tau (section 4, Algorithm 1)."""

from __future__ import annotations

from arbitrage.speculation.policies.base import Here, Policy


class Router(Policy):
    """The router's scalar for context and draft step, in (0, 1) (paper, section 4)."""

    name = "router"

    async def score(self, here: Here) -> float:
        return await here.router_score()
