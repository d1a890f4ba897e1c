"""A probe: a router that reads the draft's hidden state at the end of its step, and nothing else."""

from __future__ import annotations

from arbitrage.speculation.policies.scalars import Scalars


class Probe(Scalars):
    """The number of a router of kind `probe`, in (0, 1).

    The state is the last layer's, at the last token of the step's text. The draft has not read that token yet when the
    step is written, so this takes one pass of it over one token; an accepted step is continued from there.
    """

    name = "probe"
