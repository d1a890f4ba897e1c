"""What `arbitrage times` counts: every rule's jobs, killed attempts at them, and what was inside the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arbitrage.io.tables import TableError
from arbitrage.report.times import elapsed, rule_times, sum_of


def job(folder: Path, rule: str, minute: int, seconds: float, **record: Any) -> None:
    """A job that began in this minute after ten o'clock, by its record and its timing."""
    timing = folder / "timings" / rule / f"{minute}.tsv"
    timing.parent.mkdir(parents=True, exist_ok=True)
    timing.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:09\t-\n")
    times = {"started": f"2026-01-01T10:{minute:02}:00+00:00", "ended": f"2026-01-01T10:{minute + 1:02}:00+00:00"}
    file = folder / f"{rule}-{minute}.parquet.provenance.json"
    file.write_text(json.dumps({"stage": rule, **times, **record}))


def test_times_are_summed_by_rule_with_what_was_inside_the_models(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no job of this study has run"):
        rule_times(tmp_path)
    job(tmp_path, "label", 1, 10.0, work={"draft": {"seconds": 4.0, "tokens": 100}, "prm": {"seconds": 2, "scored": 7}})
    job(tmp_path, "label", 2, 20.0, work={"draft": {"seconds": 6.0, "tokens": 50}})
    job(tmp_path, "figure", 5, 3.0)
    label, figure = rule_times(tmp_path)
    assert (label.rule, label.jobs, label.seconds, label.model_s) == ("label", 2, 30.0, 12.0)
    assert label.units == {"draft": 150, "prm": 7}
    assert (figure.rule, figure.jobs, figure.model_s) == ("figure", 1, 0.0)
    assert sum_of([label, figure]).seconds == 33.0


def test_a_pause_between_two_runs_is_no_time_of_a_job(tmp_path: Path) -> None:
    for minute in (1, 2, 50):
        job(tmp_path, "label", minute, 60.0)
    assert elapsed(tmp_path) == (50 * 60.0, 3 * 60.0)


def test_a_job_that_was_killed_twice_counts_with_all_its_attempts(tmp_path: Path) -> None:
    """Before, tokens of killed attempts were nobody's: the last one found them in the step store."""
    earlier = [
        {
            "started": f"2026-01-01T10:0{minute}:00+00:00",
            "seconds": 30.0,
            "work": {"draft": {"seconds": 9.0, "tokens": 70}},
        }
        for minute in (1, 4)
    ]
    job(tmp_path, "label", 10, 40.0, work={"draft": {"seconds": 6.0, "tokens": 50}}, earlier_attempts=earlier)
    (label,) = rule_times(tmp_path)
    assert (label.jobs, label.killed, label.seconds, label.model_s, label.units) == (1, 2, 100.0, 24.0, {"draft": 190})
    assert elapsed(tmp_path) == (10 * 60.0, 30.0 + 30.0 + 60.0)


def test_further_trainings_of_a_router_count_as_the_router(tmp_path: Path) -> None:
    job(tmp_path, "sweep", 1, 9.0, work={name: {"seconds": 1.0, "scored": 5} for name in ("router", "router-1")})
    assert rule_times(tmp_path)[0].units == {"router": 10}
