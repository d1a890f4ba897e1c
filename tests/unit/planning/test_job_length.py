"""Cuts into jobs of a wanted length: by arithmetic that is known, and by estimates made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arbitrage.config.load import read_study
from arbitrage.config.study import Study
from arbitrage.planning.estimates import Cost, Speeds, scaled
from arbitrage.planning.job_length import Cut, cut
from arbitrage.planning.machines import Machine
from arbitrage.planning.pilot import Measured
from arbitrage.planning.rates import Estimate

ROOT = Path(__file__).resolve().parents[3]
START_S = 100.0


def study(**sections: Any) -> Study:
    base: dict[str, Any] = {
        "study": "lab",
        "models": {"d": {"path": "d"}, "t": {"path": "t"}},
        "pairs": {"p": {"draft": "d", "target": "t"}},
        "prm": {"path": "prm"},
        "benchmarks": {"b": {"source": "math500", "limit": 200}, "c": {"source": "math500", "limit": 60}},
        "questions": {"sample": 1000},
    }
    return Study.model_validate(base | sections)


def costs(one: Study) -> list[Cost]:
    """Starts of 100 s; a question takes 2 s to label, 4 s in both sweeps; a training 1 hour."""
    jobs = {"label p": (one.steps_shards, 1000, 2.0), "router p": (3, 3, 3600.0)}
    jobs |= {f"sweep {name} p": (one.sweep_shards(name), each.size, 4.0) for name, each in one.benchmarks.items()}
    return [
        Cost(stage, count, low_s=1.0, high_s=count * START_S + questions * each_s, start_s=START_S)
        for stage, (count, questions, each_s) in jobs.items()
    ]


@pytest.mark.parametrize(
    ("wanted_s", "questions_per_job", "jobs"),
    [
        (600, 250, 4),  # 100 + 2 * 250
        (599, 200, 5),
        (700, 250, 4),  # 300 would do, and make as many jobs, the last of 100
        (2099, 500, 2),
        (2100, 1000, 1),
        (1e9, 1000, 1),
        (102, 1, 1000),
    ],
)
def test_a_job_takes_its_start_and_its_questions(wanted_s: float, questions_per_job: int, jobs: int) -> None:
    made = cut(study(), "steps", costs, wanted_s)
    assert (made.questions_per_job, made.too_long) == (questions_per_job, None)
    (label,) = made.costs
    assert (label.stage, label.jobs) == ("label p", jobs) and label.high_s / jobs <= wanted_s


def test_all_benchmarks_are_cut_alike_and_keep_to_the_length() -> None:
    made = cut(study(), "sweep", costs, 300)  # 50 questions each
    assert made.questions_per_job == 50
    assert {cost.stage: cost.jobs for cost in made.costs} == {"sweep b p": 4, "sweep c p": 2}


def test_what_a_study_says_of_shards_or_jobs_does_not_matter() -> None:
    for steps in ({"shards": 7}, {"questions_per_job": 3}):
        assert cut(study(steps=steps), "steps", costs, 600).questions_per_job == 250


def test_the_longest_of_the_stages_that_labelling_cuts_decides() -> None:
    def ahead(one: Study) -> list[Cost]:
        count = one.steps_shards
        return [*costs(one), Cost("lookahead p", count, high_s=count * START_S + 1000 * 4.0, start_s=START_S)]

    made = cut(study(), "steps", ahead, 600)
    assert made.questions_per_job == 125 and [cost.jobs for cost in made.costs] == [8, 8]


def test_no_number_is_named_where_starting_takes_longer_or_nothing_is_known() -> None:
    made = cut(study(), "steps", costs, 101)
    assert made.questions_per_job is None and made.costs == [] and made.too_long is not None
    assert (made.too_long.stage, made.too_long.jobs, made.too_long.start_s) == ("label p", 1000, START_S)
    assert cut(study(), "sweep", lambda one: costs(one)[:2], 600) == Cut(None, [])


def test_the_pilots_jobs_are_scaled_with_their_start() -> None:
    speeds = Speeds(10.0, {}, {})
    job = Measured(10, 60.0, lengths=[1.0] * 10)  # 5 s a question

    def costs_of(one: Study) -> list[Cost]:
        return [scaled(one, "p", "sweep b", job, speeds)]

    one = study(benchmarks={"b": {"source": "math500", "limit": 200}})
    made = cut(one, "sweep", costs_of, 10 + 5 * 50)
    assert made.questions_per_job == 50
    (cost,) = made.costs
    assert (cost.jobs, cost.high_s, cost.start_s) == (4, 4 * 260.0, 10.0)


@pytest.mark.parametrize("hours", [0.3, 0.8, 2.0])
@pytest.mark.parametrize("section", ["steps", "sweep"])
def test_by_rates_the_jobs_are_as_long_as_wanted_and_one_fewer_are_longer(hours: float, section: str) -> None:
    one = read_study([ROOT / "studies/llama3-1b-8b.yaml"], {})

    def costs_of(other: Study) -> list[Cost]:
        return list(Estimate(other, "1b-8b", Machine.named("4xH100")).costs())

    made = cut(one, section, costs_of, 3600 * hours)
    assert made.questions_per_job is not None
    longest = max(made.costs, key=lambda cost: cost.high_s / cost.jobs)
    assert longest.high_s / longest.jobs <= 3600 * hours
    questions = 30_000 if section == "steps" else one.benchmarks[longest.stage.split()[1]].size
    if longest.jobs > 1:
        more = -(-questions // (longest.jobs - 1))
        other = getattr(one, section).model_copy(update={"questions_per_job": more})
        (fewer,) = (cost for cost in costs_of(one.model_copy(update={section: other})) if cost.stage == longest.stage)
        assert fewer.jobs < longest.jobs and fewer.high_s / fewer.jobs > 3600 * hours
