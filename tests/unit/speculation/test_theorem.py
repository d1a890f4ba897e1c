"""Theorem B.1: over N independent steps and a budget of B escalations, a threshold on the advantage is optimal."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from arbitrage.speculation.decision import decide
from arbitrage.speculation.policies import POLICIES

SCORE = st.integers(1, 99).map(lambda n: n / 100)
PAIRS = st.lists(st.tuples(SCORE, SCORE), min_size=1, max_size=8)


def total(pairs, escalated):
    return sum(target if place in escalated else draft for place, (draft, target) in enumerate(pairs))


@given(PAIRS)
def test_no_choice_of_as_many_escalations_beats_the_oracle_at_its_threshold(pairs):
    advantages = [target - draft for draft, target in pairs]
    for threshold in [-1.0, *advantages]:
        chosen = {place for place, a in enumerate(advantages) if decide(POLICIES["oracle"], a, threshold)}
        best = max(total(pairs, set(other)) for other in combinations(range(len(pairs)), len(chosen)))
        assert total(pairs, chosen) >= best - 1e-9


@given(PAIRS)
def test_at_threshold_zero_the_oracle_attains_the_best_total_and_wastes_nothing(pairs):
    """Corollary B.3."""
    chosen = {i for i, (d, t) in enumerate(pairs) if decide(POLICIES["oracle"], t - d, 0.0)}
    assert all(pairs[i][1] > pairs[i][0] for i in chosen)
    assert abs(total(pairs, chosen) - sum(max(pair) for pair in pairs)) < 1e-9
