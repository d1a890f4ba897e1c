"""On which GPUs the models of a job are: the `placement` section of a study's configuration.

Where a model runs changes no result that is not a time, and no rule's `params` hold it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from arbitrage.config.section import Section

Layout = Literal["together", "apart"]


class Placement(Section):
    """By stage: `together`, all models of a job that name a GPU on as few as the widest is cut over, so that many jobs
    run side by side; `apart`, each on the device it names. Models on the CPU stay there."""

    label: Layout = Field("together", description="Labelling")
    lookahead: Layout = Field("together", description="Look-ahead labels")
    sweep: Layout = Field("together", description="The sweep")
    latency: Layout = Field("apart", description="Timing of a pair, as in the paper")
