"""Draft only: every step is the draft's."""

from __future__ import annotations

from arbitrage.speculation.policies.base import Here, Policy


class DraftOnly(Policy):
    """Never escalates."""

    name = "draft_only"

    async def score(self, here: Here) -> None:
        return None
