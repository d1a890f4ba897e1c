"""What `arbitrage check` says of one thing it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "fault"]


@dataclass(frozen=True)
class Finding:
    """subject: the key of the study looked at; verdict: a `fault` keeps the study from running; detail: what was seen,
    and for anything but `ok` the remedy."""

    subject: str
    verdict: Verdict
    detail: str
