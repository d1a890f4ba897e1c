"""Verdicts on the paper's claims: one a claim, corrected for their number, and none where the data cannot carry it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan

AGREES, DIFFERS, INCONCLUSIVE = "agrees", "differs", "inconclusive"


@dataclass(frozen=True)
class Evidence:
    """What a study says to one claim, over all its panels.

    text: what the paper says, and how we read it. ours: our number with its interval. supports, contradicts: one-sided
    p values of the claim's being true and of its being false, NaN where there is none. obstacle: why the data allow no
    verdict whatever the p values, or "". panels: (where, our number there). data: the CSV file that holds our number,
    in the study's folder.
    """

    text: str
    ours: str
    supports: float
    contradicts: float
    obstacle: str = ""
    panels: list[tuple[str, str]] = field(default_factory=list)
    data: str = ""

    @property
    def testable(self) -> bool:
        """Whether the data allow a verdict."""
        return not self.obstacle and not isnan(_least(self))


@dataclass(frozen=True)
class Verdict:
    """verdict: AGREES, DIFFERS or INCONCLUSIVE; sentence: what it means, and what it rests on."""

    evidence: Evidence
    verdict: str
    sentence: str


def verdicts(claims: Sequence[Evidence], confidence: float) -> list[Verdict]:
    """One verdict a claim, in their order, by Holm's step-down over all claims whose data allow one.

    Each claim has two sides, which share its error rate of 1 - confidence.
    """
    tested = [index for index, claim in enumerate(claims) if claim.testable]
    ordered = sorted(tested, key=lambda index: _least(claims[index]))
    decided: set[int] = set()
    for rank, index in enumerate(ordered):
        if _least(claims[index]) > (1 - confidence) / 2 / (len(ordered) - rank):
            break
        decided.add(index)
    return [_verdict(claim, index in decided, len(ordered), confidence) for index, claim in enumerate(claims)]


def _least(claim: Evidence) -> float:
    return min(claim.supports, claim.contradicts)  # both are numbers, or neither is


def _verdict(claim: Evidence, decided: bool, count: int, confidence: float) -> Verdict:
    level = f"{100 * confidence:g} %"
    if claim.obstacle:
        return Verdict(claim, INCONCLUSIVE, f"No verdict: {claim.obstacle}.")
    if not claim.testable:
        return Verdict(claim, INCONCLUSIVE, "No verdict: there is no interval to judge by.")
    p = f"p {_p(_least(claim))} on one side"
    if decided and claim.supports < claim.contradicts:
        sentence = f"The data support the claim as we read it, at {level} over all {count} claims together ({p})."
        return Verdict(claim, AGREES, sentence)
    if decided:
        sentence = f"The data contradict the claim as we read it, at {level} over all {count} claims together ({p})."
        return Verdict(claim, DIFFERS, sentence)
    side = "for" if claim.supports < claim.contradicts else "against"
    if _least(claim) <= (1 - confidence) / 2:
        sentence = f"Taken alone the data would speak {side} the claim ({p}), but not among {count} claims."
    else:
        sentence = f"The data are compatible with the claim and with its opposite ({p}, {side} it)."
    return Verdict(claim, INCONCLUSIVE, sentence)


def _p(value: float) -> str:
    return f"= {value:.3f}" if value >= 0.0015 else f"= {value:.1g}"
