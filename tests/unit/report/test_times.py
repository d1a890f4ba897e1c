"""What `arbitrage times` counts: every rule's jobs, killed attempts at them, and what was inside the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arbitrage.cli import app
from arbitrage.config.load import write_resolved
from arbitrage.io.tables import TableError
from arbitrage.report.times import elapsed, rule_times, sum_of
from tests.support.tiny_models import tiny_study


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


def test_what_gpus_did_is_summed_over_jobs_gpus_and_killed_attempts(tmp_path: Path) -> None:
    busy = {"held_s": 3000.0, "utilisation": 0.8, "busy_share": 0.9, "peak_memory_gb": 60.0, "energy_j": 2e6}
    idle = {"held_s": 1000.0, "utilisation": 0.0, "busy_share": 0.1, "energy_j": 1e5, "lost": "2026-01-01T10:00:00"}
    instance = {"held_s": 3600.0, "peak_memory_gb": 8.0}
    earlier = [{"started": "2026-01-01T09:00:00+00:00", "seconds": 800.0, "work": {}}]
    job(tmp_path, "label", 1, 3600.0, gpu_use=[busy, idle])
    job(tmp_path, "label", 2, 3600.0, gpu_use=[instance], earlier_attempts=earlier)
    job(tmp_path, "figure", 3, 10.0)
    label, figure = rule_times(tmp_path)
    assert label.gpu_hours == pytest.approx((3000 + 1000 + 3600 + 800) / 3600)
    assert label.gpu_mean("utilisation") == pytest.approx(0.6) and label.gpu_mean("busy_share") == pytest.approx(0.7)
    assert label.energy_j == 2.1e6
    assert (figure.gpu_hours, figure.energy_j, figure.gpu_mean("utilisation")) == (0, None, None)
    assert sum_of([label, figure]).gpu_hours == label.gpu_hours


def test_the_command_shows_gpus_by_rule_where_jobs_held_any(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tiny_study(tmp_path, 2)
    folder = Path(study.folder)

    def shown() -> str:
        app(["times", "--study", str(write_resolved(study))], standalone_mode=False)
        return capsys.readouterr().out

    job(folder, "figure", 3, 10.0)
    assert "kernels" not in shown()
    gpu = {"held_s": 5400.0, "utilisation": 0.75, "busy_share": 0.9, "peak_memory_gb": 61.2, "energy_j": 2.5e6}
    work = {"draft": {"seconds": 1.0, "tokens": 3_000_000}, "target": {"seconds": 1.0, "tokens": 2_400_000}}
    job(folder, "label", 1, 5400.0, gpu_use=[gpu, gpu], work=work)
    (row,) = [line.split() for line in shown().split("GPUs")[1].splitlines() if line.strip().startswith("label")]
    assert row == ["label", "3", "90%", "75%", "61.2", "5,000.0", "1k"]
