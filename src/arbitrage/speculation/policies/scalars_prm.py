"""A router that reads scalars and the PRM's score of the draft's step, for which the PRM runs at every node."""

from __future__ import annotations

from arbitrage.speculation.policies.scalars import Scalars


class ScalarsPrm(Scalars):
    """As `scalars`, with sd among the scalars: what RSD decides by alone."""

    name = "scalars_prm"
