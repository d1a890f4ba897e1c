"""Target only: every step is the target's."""

from __future__ import annotations

from arbitrage.speculation.policies.base import Here, Policy


class TargetOnly(Policy):
    """Always escalates."""

    name = "target_only"

    async def score(self, here: Here) -> None:
        return None
