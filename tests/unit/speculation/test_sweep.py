import math
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.speculation.continuous import Continuous
from arbitrage.speculation.decision import Interval, branches, decide
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.protocols import ScoreError
from arbitrage.speculation.rows import ScoredSweep, sweep_rows
from arbitrage.speculation.scheduling import Lockstep
from arbitrage.speculation.sweep import sweep
from tests.support.fakes import QUESTIONS, fake_decoder, fake_models

GRID = [round(0.1 * i, 1) for i in range(-10, 11)]
SCORES = st.floats(-1, 1) | st.sampled_from([0.0, 0.5, -0.5])


@pytest.fixture(scope="module", params=[Lockstep, lambda models: Continuous(models, 5)], ids=["lockstep", "continuous"])
def trajectories(request):
    return sweep(fake_models(), QUESTIONS, list(POLICIES), seed=7, scheduler=request.param)


def by_question_and_policy(trajectories):
    grouped = defaultdict(list)
    for trajectory in trajectories:
        grouped[trajectory.node.question.question_id, trajectory.policy.name].append(trajectory)
    return grouped


def test_every_threshold_lies_in_exactly_one_interval(trajectories):
    grouped = by_question_and_policy(trajectories)
    assert len(grouped) == len(QUESTIONS) * len(POLICIES)
    for group in grouped.values():
        edges = [group[0].interval.low] + [t.interval.high for t in group]
        assert (edges[0], edges[-1]) == (-math.inf, math.inf)
        assert all(left.interval.high == right.interval.low for left, right in pairwise(group))
        assert all(low < high for low, high in pairwise(edges))


@pytest.mark.parametrize("policy", POLICIES)
def test_the_sweep_gives_the_trajectory_of_plain_decoding_at_every_threshold(trajectories, policy):
    decoder, grouped = fake_decoder(seed=7), by_question_and_policy(trajectories)
    for question in QUESTIONS:
        group = grouped[question.question_id, policy]
        edges = [t.interval.low for t in group if math.isfinite(t.interval.low)]
        for threshold in [*GRID, *edges]:  # the edges are scores: the strict comparison decides
            (swept,) = [t for t in group if threshold in t.interval]
            live = decoder.solve(question, POLICIES[policy], threshold)
            assert [(s.author, s.chosen.text) for s in live.steps] == [(s.model, s.text) for s in swept.node.steps]


def test_a_list_of_thresholds_keeps_their_trajectories_and_drops_the_others(trajectories):
    thresholds = [0.25, 0.5]
    listed = dict.fromkeys(POLICIES, thresholds)
    pruned = by_question_and_policy(sweep(fake_models(), QUESTIONS, list(POLICIES), 7, listed))
    whole = by_question_and_policy(trajectories)
    for key, group in pruned.items():
        assert len(group) <= len(thresholds)
        for threshold in thresholds:
            (kept,) = [t for t in group if threshold in t.interval]
            (same,) = [t for t in whole[key] if threshold in t.interval]
            assert kept.node == same.node


def test_the_target_writes_only_where_a_policy_escalates_or_always_asks_it(trajectories):
    for trajectory in trajectories:
        for visit in trajectory.visits:
            assert (visit.target is not None) == (visit.escalated or "target" in trajectory.policy.needs)


def test_identical_steps_have_an_advantage_of_exactly_zero(trajectories):
    same = [
        visit
        for t in trajectories
        if t.policy.name == "oracle"
        for visit in t.visits
        if visit.draft and visit.target and visit.draft.text == visit.target.text
    ]
    assert same and all(visit.policy_score == 0.0 for visit in same)


def test_the_oracle_at_zero_wastes_nothing():
    """Corollary B.3: with tau = 0 an escalated step is strictly better than the draft's."""
    course = ScoredSweep(["oracle"], seed=7)
    rows = sweep_rows(fake_models(), QUESTIONS, course, lambda question_id, solution: (None, False))
    (at_zero, escalated) = (0, 0)
    for row in rows:
        if row["policy"] == "oracle" and row["threshold_low"] <= 0.0 < row["threshold_high"]:
            at_zero += 1
            for step in row["steps"]:
                if step["model"] == "target":
                    escalated += 1
                    assert step["target_score"] > step["draft_score"]
    assert at_zero == len(QUESTIONS) and escalated > 0


def test_records_score_every_written_step_and_nothing_else(trajectories):
    course = ScoredSweep(list(POLICIES), seed=7)
    rows = sweep_rows(fake_models(), QUESTIONS, course, lambda question_id, solution: (solution[-1], True))
    assert [(row["question_id"], row["policy"], row["threshold_low"]) for row in rows] == [
        (each.node.question.question_id, each.policy.name, each.interval.low) for each in trajectories
    ]
    for row in rows:
        for step in row["steps"]:
            assert (step["draft_score"] is None) == (step["draft_step"] is None) == (row["policy"] == "target_only")
            assert (step["target_score"] is None) == (step["target_tokens"] == 0)


@given(score=SCORES, low=SCORES, width=st.floats(1e-3, 2), threshold=SCORES)
def test_branches_agree_with_decide_everywhere(score, low, width, threshold):
    interval = Interval(low, low + width)
    for policy in POLICIES.values():
        found = branches(policy, score, interval)
        if threshold in interval:
            (escalate,) = [escalate for escalate, side in found if threshold in side]
            assert escalate == decide(policy, score, threshold)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, None])
def test_a_score_that_is_not_finite_is_refused(score):
    with pytest.raises(ScoreError, match="finite"):
        branches(POLICIES["rsd"], score, Interval())


def test_strict_comparison_on_a_tie_rejects_for_rsd_and_accepts_for_the_others():
    assert decide(POLICIES["rsd"], 0.5, 0.5) is True
    others = [policy for policy in POLICIES.values() if policy.has_threshold and not policy.accept_above]
    assert others and all(decide(policy, 0.5, 0.5) is False for policy in others)
