"""Verdicts: one a claim, corrected for the number of claims, and none where the data cannot carry one."""

import numpy as np
import pytest

from arbitrage.report.verdicts import AGREES, DIFFERS, INCONCLUSIVE, Evidence, verdicts


def evidence(supports: float, contradicts: float = 1.0, obstacle: str = "") -> Evidence:
    return Evidence("the paper says so", "1.0 [0.5, 1.5]", supports, contradicts, obstacle)


@pytest.mark.parametrize(
    ("supports", "contradicts", "verdict"),
    [(0.02, 0.98, AGREES), (0.98, 0.02, DIFFERS), (0.03, 0.97, INCONCLUSIVE), (0.6, 0.4, INCONCLUSIVE)],
)
def test_one_claim_is_judged_at_half_the_error_rate_a_side(supports: float, contradicts: float, verdict: str) -> None:
    (only,) = verdicts([evidence(supports, contradicts)], 0.95)
    assert only.verdict == verdict


def test_more_claims_ask_for_more_and_stop_at_the_first_that_fails() -> None:
    found = verdicts([evidence(0.02), evidence(0.006), evidence(0.012), evidence(0.5)], 0.95)
    assert [one.verdict for one in found] == [INCONCLUSIVE, AGREES, INCONCLUSIVE, INCONCLUSIVE]
    assert "not among 4 claims" in found[0].sentence


def test_an_obstacle_forbids_a_verdict_and_does_not_count_as_a_claim() -> None:
    found = verdicts([evidence(0.02), evidence(0.0001, obstacle="16 questions are too few")], 0.95)
    assert [one.verdict for one in found] == [AGREES, INCONCLUSIVE]
    assert "16 questions are too few" in found[1].sentence


def test_no_interval_is_no_verdict() -> None:
    (only,) = verdicts([evidence(float("nan"), float("nan"))], 0.95)
    assert only.verdict == INCONCLUSIVE


def test_of_true_nulls_hardly_any_study_has_a_wrong_verdict() -> None:
    """31 claims without any truth in them: at 95 % a claim alone, most studies would have a wrong one."""
    generator = np.random.default_rng(3)
    wrong = uncorrected = 0
    for _ in range(400):
        p = generator.random(31)
        found = verdicts([evidence(value, 1 - value) for value in p], 0.95)
        wrong += any(one.verdict != INCONCLUSIVE for one in found)
        uncorrected += bool((np.minimum(p, 1 - p) < 0.025).any())
    assert wrong / 400 < 0.09
    assert uncorrected / 400 > 0.7
