"""First-token entropy: escalate where the draft hardly knew how to begin its step."""

from __future__ import annotations

from arbitrage.speculation.policies.base import Here, Policy
from arbitrage.speculation.protocols import EngineError


class FirstTokenEntropy(Policy):
    """Entropy in nats of the draft's distribution of the step's first token, in [0, ln(vocabulary)].

    A lower bound of it where the draft's engine reports only the most likely tokens (`models.<name>.top_logprobs`).
    """

    name = "first_token_entropy"

    async def score(self, here: Here) -> float:
        draft = await here.draft()
        if draft.entropies is None:
            raise EngineError(
                "policy 'first_token_entropy' needs the entropies of the draft's tokens, and its engine reported none; "
                "set top_logprobs of the draft in `models` to 20, or leave the policy out of sweep.policies"
            )
        return draft.entropies[0]
