"""What scores steps: the process reward model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from arbitrage.sections.base import Count, Section


class Prm(Section):
    """The process reward model: a sequence- or token-classification checkpoint scored at the step's last token."""

    path: str = Field(description="Local directory, or hub id")
    revision: str | None = Field(None, description="Commit of the hub repository; required for a hub id")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="Type of weights and activations")
    device: str = Field("cpu", description="torch device")
    batch_size: Count = Field(64, description="Steps scored together")
