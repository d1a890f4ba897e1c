"""The planner's arithmetic: sums over questions, their intervals, and seconds at another batch size."""

import numpy as np
import pytest

from arbitrage.cli.plan import shown
from arbitrage.planning.estimates import Amount, Speed, total, units_by_problem
from arbitrage.planning.plan import spread
from arbitrage.planning.recording import Call, RecordedGenerator, RecordedScorer
from arbitrage.speculation.labelling import paired_steps
from arbitrage.speculation.pair import Cast
from tests.support.fakes import GENERATION, QUESTIONS, FakeGenerator, FakeScorer


def test_a_sample_that_is_all_there_is_leaves_no_doubt() -> None:
    assert total([3.0, 5.0, 10.0], 3) == Amount(18.0, 0.0)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    population = random.gamma(2.0, 100.0, 500)
    trials = [total(list(random.choice(population, 30, replace=False)), 500) for _ in range(400)]
    held = np.mean([abs(each.value - population.sum()) <= each.error for each in trials])
    assert 0.9 < held < 0.98


def test_errors_of_stages_that_share_questions_add_up() -> None:
    assert Amount(10, 1) + Amount(20, 3).times(2) == Amount(50, 7)
    assert Amount(10, 1).share == 0.1 and Amount().share == 0.0


def test_units_go_to_the_questions_they_were_for_and_none_is_left_out() -> None:
    draft, target = RecordedGenerator(FakeGenerator("draft")), RecordedGenerator(FakeGenerator("target"))
    prm = RecordedScorer(FakeScorer("prm"))
    rows = paired_steps(Cast(draft, target, prm, None, GENERATION), QUESTIONS, 1, 0.0, 3)
    problems = [question.problem for question in QUESTIONS]
    by_question = units_by_problem(draft.calls, problems)
    for question, tokens in zip(QUESTIONS, by_question, strict=True):
        assert tokens == sum(len(row["draft_step"]) for row in rows if row["question_id"] == question.question_id)
    assert units_by_problem(prm.calls, [*problems, "never asked"])[-1] == 0
    assert sum(units_by_problem(prm.calls, problems)) == 2 * len(rows)


def test_seconds_are_found_again_and_carried_to_fuller_batches() -> None:
    """A model that takes 20 ms a pass and 1 ms a token, at batches of 64."""
    random = np.random.default_rng(0)

    def call(inputs: int) -> Call:
        units = random.integers(5, 30, inputs).tolist()
        passes = max(max(units), sum(units) / 64)
        return Call([str(n) for n in range(inputs)], units, 0.02 * passes + 0.001 * sum(units))

    calls = [call(inputs) for inputs in (12, 30, 28, 11, 5, 2, 1)]
    speed = Speed.fitted(calls, 64)
    assert (speed.pass_s, speed.unit_s) == pytest.approx((0.02, 0.001))
    assert speed.seconds(calls, 1.0) == pytest.approx(sum(each.seconds for each in calls))
    assert speed.seconds(calls, 2.0) < 2 * speed.seconds(calls, 1.0)
    many = speed.seconds(calls, 1000.0) / 1000.0
    assert many == pytest.approx(sum(sum(each.units) for each in calls) * (0.02 / 64 + 0.001), rel=0.01)


def test_a_chunk_of_more_questions_has_longer_tails() -> None:
    """Only the pass counts here. A question of 2 rounds and one of 4: of the double, tails grow as from one to two."""
    calls = [Call(["a", "b"], [1, 1], 1.0), Call(["a", "b"], [1, 1], 1.0), *[Call(["b"], [1], 1.0)] * 2]
    speed = Speed(64, 1.0, 0.0)
    assert speed.seconds(calls, 1.0) == 4.0
    assert speed.seconds(calls, 2.0) == pytest.approx(4.0 * 4.0 / 3.0)  # from 2 and 4 passes, 3 on average, to 4


def test_a_model_that_was_never_asked_takes_no_time() -> None:
    assert Speed.fitted([], 64).seconds([], 10.0) == 0.0


def test_calibration_questions_are_spread_over_the_sources_and_never_twice_the_same() -> None:
    rows = [{"question_id": f"q{n}", "source": "abc"[n % 3]} for n in range(60)]
    chosen = spread(rows, 6, seed=1)
    assert sorted(row["source"] for row in chosen) == ["a", "a", "b", "b", "c", "c"]
    assert len({row["question_id"] for row in chosen}) == 6
    assert spread(rows, 6, seed=2) != chosen == spread(rows[::-1], 6, seed=1)
    assert len(spread(rows, 100, seed=1)) == 60


def test_numbers_are_shown_with_three_digits() -> None:
    assert [shown(value) for value in (0, 0.0123, 99, 999.6, 17_900, 1e6, 3.2e9)] == [
        "", "0.0123", "99", "1k", "17.9k", "1M", "3.2G",
    ]  # fmt: skip
