"""The planner's arithmetic: scaling by questions, intervals, speeds at other batch sizes, bounds."""

import math
from typing import Any

import numpy as np
import pytest

from arbitrage.cli.amounts import shown
from arbitrage.config.study import Study
from arbitrage.planning.estimates import Cost, Speeds, bounds, relative_error, scaled, seconds_at, sum_of
from arbitrage.planning.pilot import Measured
from arbitrage.planning.plan import round_limits, spread

SPEEDS = Speeds(
    start_s=10.0, alone={"draft": 0.1, "target": 0.2, "prm": 0.3}, full=dict.fromkeys(("draft", "target", "prm"), 0.01)
)


def study(**sections: Any) -> Study:
    base: dict[str, Any] = {
        "study": "lab",
        "models": {"d": {"path": "d", "batch_size": 16}, "t": {"path": "t", "device": "cuda:1"}},
        "pairs": {"p": {"draft": "d", "target": "t"}},
        "prm": {"path": "prm"},
        "benchmarks": {"b": {"source": "math500", "limit": 200}},
        "questions": {"sample": 1000},
        "steps": {"shards": 4},
        "generation": {"max_tokens": 100, "max_steps": 10},
    }
    return Study.model_validate(base | sections)


def test_amounts_grow_with_the_questions_and_starting_with_the_jobs() -> None:
    job = Measured(
        10, 60.0, {"draft": 500, "prm": 20}, {"draft": 30.0, "prm": 5.0}, lengths=[4.0] * 10, disk=100, memory=7
    )
    cost = scaled(study(), "p", "label", job, SPEEDS)
    assert (cost.stage, cost.jobs, cost.gpus, cost.questions, cost.memory) == ("label p", 4, 1, 10, 7)
    assert cost.units == {"draft": 50_000, "prm": 2_000} and cost.disk == 10_000
    assert cost.high_s == 100 * (60 - 10) + 4 * 10 and cost.start_s == 10  # as the pilot, and four starts
    assert cost.low_s == 0.01 * (50_000 + 2_000) + 4 * 10  # all batches full
    assert cost.error == 0.0  # every question took the same


def test_jobs_of_several_rounds_count_together_and_each_of_their_starts_once() -> None:
    first = Measured(2, 30.0, {"draft": 10}, {"draft": 3.0}, [1.0, 3.0], disk=5, memory=9)
    both = first + Measured(6, 70.0, {"draft": 30, "router": 4}, {"draft": 9.0}, [2.0] * 6, disk=15, memory=8)
    assert (both.questions, both.disk, both.memory, both.jobs) == (8, 20, 9, [(2, 30.0), (6, 70.0)])
    assert both.units == {"draft": 40, "router": 4} and len(both.lengths) == 8
    cost = scaled(study(), "p", "sweep b", both, SPEEDS)
    assert cost.high_s == 200 / 8 * (100 - 2 * 10) + 2 * 10  # two jobs in the study, too
    assert cost.error == pytest.approx(relative_error(both.lengths, 200))


def test_every_training_of_the_router_scores_in_the_sweep() -> None:
    job = Measured(10, 60.0, {"draft": 500, "router": 90}, {"draft": 30.0, "router": 9.0}, lengths=[4.0] * 10)
    one, three = (scaled(study(router={"seeds": seeds}), "p", "sweep b", job, SPEEDS) for seeds in (1, 3))
    assert (one.units["router"], three.units["router"]) == (20 * 90, 3 * 20 * 90)
    assert three.high_s - one.high_s == pytest.approx(2 * 20 * 9.0)


def test_a_router_is_as_large_however_many_steps_it_was_trained_on() -> None:
    job = Measured(10, 20.0, model_s={"router": 10.0}, lengths=[1.0] * 10, disk=700)
    variants = study(router={"variants": {"default": {}, "other": {"balance": False}}, "seeds": 1})
    cost = scaled(variants, "p", "router", job, SPEEDS)
    assert (cost.jobs, cost.disk) == (2, 2 * 700)
    assert cost.high_s == cost.low_s == 2 * 100 * 20  # of a single round: in proportion, its start too


def test_a_training_costs_what_it_costs_to_start_and_a_part_for_each_question_up_to_its_most_examples() -> None:
    jobs = [Measured(n, 20.0 + 2.0 * n, lengths=[1.0] * n, examples=5 * n) for n in (2, 6, 22)]
    both = jobs[0] + jobs[1] + jobs[2]
    assert scaled(study(router={"seeds": 1}), "p", "router", both, SPEEDS).high_s == pytest.approx(2020.0)
    capped = study(router={"seeds": 3}, dataset={"max_examples": 500})  # of 100 questions
    assert scaled(capped, "p", "router", both, SPEEDS).high_s == pytest.approx(3 * 220.0)
    assert seconds_at([(4, 30.0)], 40) == 300.0 and seconds_at([(4, 30.0), (8, 29.0)], 100) == 29.5


def test_speeds_are_carried_to_full_batches_by_a_part_a_pass_and_a_part_a_row() -> None:
    """A pass that takes 50 ms and 2 ms a row; steps of 60 tokens."""

    def timed(rows: int) -> Measured:
        seconds = 60 * (0.05 + 0.002 * rows)
        units = {"draft": 60 * rows, "target": 60 * rows, "prm": 60 * rows}
        return Measured(rows, seconds * 3 + 7, units, dict.fromkeys(units, seconds))

    speeds = Speeds.of(study(), "p", timed(1), timed(8))
    assert speeds.start_s == pytest.approx(7.0)
    assert speeds.alone["draft"] == pytest.approx(0.052)
    assert speeds.full["draft"] == pytest.approx((0.05 + 0.002 * 16) / 16)  # its batch_size
    assert speeds.full["target"] == pytest.approx((0.05 + 0.002 * 64) / 64)
    assert Speeds.of(study(), "p", timed(1), timed(1)).full == speeds.alone


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    population = random.gamma(2.0, 100.0, 500)
    held = []
    for _ in range(400):
        sample = list(random.choice(population, 30, replace=False))
        estimate = 500 * float(np.mean(sample))
        held.append(abs(estimate - population.sum()) <= relative_error(sample, 500) * estimate)
    assert 0.9 < np.mean(held) < 0.98


def test_a_sample_that_is_all_there_is_leaves_no_doubt_and_a_single_question_every_doubt() -> None:
    assert relative_error([3.0, 5.0, 10.0], 3) == 0.0
    assert relative_error([3.0], 2) == math.inf


def test_a_bound_has_every_solution_at_its_longest_and_an_exact_sweep_has_none() -> None:
    (steps,) = bounds(study(), "p", SPEEDS)
    assert steps.units == {"draft": 100_000, "target": 100_000, "prm": 20_000} and steps.questions == 0
    assert steps.low_s == pytest.approx(0.01 * 220_000 + 40)
    assert steps.high_s == pytest.approx(10_000 + 20_000 + 6_000 + 40)
    listed = study(sweep={"thresholds": [0.2, 0.8], "policies": ["draft_only", "rsd", "oracle"]})
    swept = {cost.stage: cost for cost in bounds(listed, "p", SPEEDS)}["sweep b p"]
    assert swept.units["draft"] == 200 * (1 + 2 + 2) * 100


def test_the_whole_is_the_sum_and_its_error_the_mean_by_time() -> None:
    costs = [
        Cost("a", 2, {"draft": 5.0}, 1.0, 30.0, error=0.1, questions=4),
        Cost("b", 1, {"prm": 2.0}, 5.0, 10.0, error=0.5),
    ]
    whole = sum_of(costs)
    assert (whole.jobs, whole.low_s, whole.high_s, whole.questions) == (3, 6.0, 40.0, 0)
    assert whole.error == pytest.approx(0.2)
    assert (whole.units["draft"], whole.units["prm"], whole.units["router"]) == (5.0, 2.0, 0.0)


@pytest.mark.parametrize("questions", [2, 3, 8, 9, 30, 100])
def test_rounds_begin_with_two_questions_grow_and_take_each_question_once(questions: int) -> None:
    limits = round_limits(questions)
    assert [number for start, stop in limits for number in range(start, stop)] == list(range(questions))
    assert limits[0] == (0, 2) and all(stop > start for start, stop in limits)


def test_the_pilots_questions_are_spread_over_the_sources_and_never_twice_the_same() -> None:
    rows = [{"question_id": f"q{n}", "source": "abc"[n % 3]} for n in range(60)]
    chosen = spread(rows, 6, seed=1)
    assert sorted(row["source"] for row in chosen) == ["a", "a", "b", "b", "c", "c"]
    assert len({row["question_id"] for row in chosen}) == 6
    assert spread(rows, 6, seed=2) != chosen == spread(rows[::-1], 6, seed=1)
    assert len(spread(rows, 100, seed=1)) == 60


def test_numbers_are_shown_with_so_many_digits() -> None:
    assert [shown(value) for value in (0, 0.0123, 99, 999.6, 17_900, 1e6, 3.2e9)] == [
        "", "0.0123", "99", "1k", "17.9k", "1M", "3.2G",
    ]  # fmt: skip
    assert [shown(value, 2) for value in (0.125, 9.96, 104, 996)] == ["0.12", "10", "100", "1k"]
