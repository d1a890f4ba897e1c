"""A router that reads scalars and the draft's hidden state at the end of its step."""

from __future__ import annotations

from arbitrage.speculation.policies.scalars import Scalars


class ScalarsProbe(Scalars):
    """As `scalars`, with the draft's state behind the scalars: see `probe`."""

    name = "scalars_probe"
