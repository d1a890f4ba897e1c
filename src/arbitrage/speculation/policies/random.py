"""Random escalation, the control that every curve needs."""

from __future__ import annotations

import hashlib

from arbitrage.speculation.policies.base import Here, Policy


class Random(Policy):
    """A uniform number in [0, 1) hashed from the seed and the node (question, texts and authors of its steps)."""

    name = "random"

    async def score(self, here: Here) -> float:
        key = (here.seed, here.node.question.question_id, here.node.path)
        return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:7], "big") / 2**56
