"""A router that reads scalars and what the target makes of the draft's step, which the target reads at every node."""

from __future__ import annotations

from arbitrage.speculation.policies.scalars import Scalars


class ScalarsTarget(Scalars):
    """As `scalars`, with the target's lowest and mean log-probability among them: see `target_likelihood`."""

    name = "scalars_target"
