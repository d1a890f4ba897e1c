"""What `arbitrage verify` says of one thing it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from arbitrage.errors import UserError

Kind = Literal["missing", "foreign", "changed", "stale", "broken", "code"]

MEANINGS: dict[Kind, str] = {
    "missing": "not there, though the study should have it",
    "foreign": "not made by this study, or nothing says by what",
    "changed": "not as it was when it was made",
    "stale": "made from something that has since changed",
    "broken": "cannot be read as what it should be",
    "code": "made by other code than is here; no fault, for much code changes no result",
}


@dataclass(frozen=True)
class Finding:
    """subject: a path in the study's folder; detail: what was seen and what was expected."""

    kind: Kind
    subject: str
    detail: str

    @property
    def is_fault(self) -> bool:
        """Whether the results are not to be relied on before this is settled."""
        return self.kind != "code"


class VerifyError(UserError, ValueError):
    """There is nothing that could be verified; the message says what was expected there."""


class ExportError(UserError, ValueError):
    """Results that are not fit to be published; the message says why, and how to see more."""
