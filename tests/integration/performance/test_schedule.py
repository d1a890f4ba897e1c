"""The schedulers on a virtual clock, at a small size."""

from __future__ import annotations

import pytest
from performance import schedule
from performance.virtual import Clock, SimulatedGenerator, SimulatedScorer, lognormal, quantile, steps_of, uniform

from arbitrage.speculation.labelling import Labelling
from arbitrage.speculation.sweep import Sweep


def test_lengths_are_what_the_docstring_says() -> None:
    tokens = [lognormal(34, 0.75, uniform(7, number)) for number in range(20_000)]
    assert sorted(tokens)[10_000] == pytest.approx(34, abs=1)
    assert sum(tokens) / 20_000 == pytest.approx(34 * 2.718281828 ** (0.75**2 / 2), rel=0.02)
    steps = [steps_of(number) for number in range(20_000)]
    assert sorted(steps)[10_000] == 11 and steps.count(100) / 20_000 == pytest.approx(0.015, abs=0.003)
    assert quantile(2047) == pytest.approx(0, abs=1e-3)


def test_a_call_takes_its_passes_and_a_free_row_is_filled_again() -> None:
    clock = Clock()
    engine = SimulatedGenerator("target", clock, 2)
    first, second, third = steps = engine.generate([(1,), (2,), (3,)], [4096] * 3)
    assert engine.tokens == sum(step.tokens for step in steps) and clock.now == engine.busy_s
    short, long = sorted((first.tokens, second.tokens))
    end = max(long, short + third.tokens)
    both = short + min(long - short, third.tokens)  # passes over two rows, then over one
    assert clock.now == pytest.approx(both * engine.pass_s(2) + (end - both) * engine.pass_s(1))


def test_a_score_costs_the_tokens_of_its_step() -> None:
    scorer = SimulatedScorer("prm", Clock(), 64)
    assert scorer.seconds([(5, 1000), (6, 3000)]) == pytest.approx(5e-3 + 4000 * 2 * 1.5e9 / 200e12)


def test_continuous_is_nearer_to_the_bound_and_does_the_same_work() -> None:
    findings, runs = schedule.compare("labelling", Labelling(1, 0.0, 0), 120, [(60, 64, 2), (120, 256, 1)])
    lockstep, wide, continuous = runs.values()
    assert lockstep["tokens"] == wide["tokens"] == continuous["tokens"]
    assert continuous["seconds"] < wide["seconds"] <= lockstep["seconds"]
    values = {each.measure: each.value for each in findings}
    assert values["labelling of 120 questions: first lockstep / continuous"] > 3
    assert values["labelling of 120 questions: continuous / bound"] >= 1
    assert max(continuous["busy"].values()) <= continuous["seconds"] + 1e-6


def test_chunks_that_are_left_out_count_too() -> None:
    course = Labelling(1, 0.0, 0)
    every, half = (schedule.lockstep(course, 80, 20, 64, sampled) for sampled in (4, 2))
    assert half.seconds == pytest.approx(every.seconds, rel=0.6) and half.own_s < every.own_s


def test_a_sweep_runs_too() -> None:
    run = schedule.continuous(Sweep(schedule.POLICIES, 0, dict.fromkeys(schedule.POLICIES, (0.25, 0.75))), 4, 64)
    assert run.seconds >= max(run.busy.values()) > 0 and run.tokens["router"] > 0
