"""A whole study through Slurm, undisturbed and disturbed, gives the tables of a run on one machine."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import psutil
import pytest
from packaging.requirements import Requirement

from arbitrage.publishing.verify import verify
from tests.integration.cluster.conftest import ROOT, SUBMIT, Slurm, command, environment

pytestmark = [pytest.mark.extra, pytest.mark.timeout(1800)]

TIMED = ("latency", "latencies", "speedup", "summary", "tables/routers")  # what a clock decides


def tables(folder: Path) -> dict[str, bytes]:
    """All tables of a study, byte for byte, but for what was timed."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for pattern in ("*.parquet", "*.csv", "*.md")
        for path in sorted(folder.rglob(pattern))
        if not any(word in str(path.relative_to(folder)) for word in TIMED)
    }


def jobs(folder: Path, pattern: str) -> list[str]:
    """Ids of the Slurm jobs that made the results matching `pattern`, by their provenance."""
    records = [json.loads(path.read_text()) for path in folder.glob(f"{pattern}.provenance.json")]
    return [record["job"] for record in records]


def test_the_plugin_has_all_that_it_asks_for_but_its_numpy(slurm: Slurm) -> None:
    needed = [Requirement(line) for line in requires("snakemake-executor-plugin-slurm") or []]
    lacking = [each.name for each in needed if not each.specifier.contains(version(each.name))]
    assert lacking == ["numpy"]  # where it takes the lock's, the extra can come back (envs/slurm.txt)


def test_tables_equal_those_of_a_local_run_byte_for_byte(local: Path, submitted: Path) -> None:
    expected = tables(local)
    assert len(expected) > 20
    assert tables(submitted) == expected


def test_work_ran_as_jobs_and_small_rules_where_snakemake_ran(local: Path, submitted: Path) -> None:
    for pattern in ("steps/small/*.parquet", "trajectories/small/*/*.parquet", "router/small/default/seed-0/model"):
        assert all(jobs(submitted, pattern)), pattern
    assert jobs(submitted, "questions/*.parquet") == [None] * 3
    assert jobs(submitted, "figures/*.png") == [None] * 7
    assert jobs(local, "steps/small/*.parquet") == [None] * 3


def test_verify_finds_nothing_wrong_with_results_of_a_cluster(submitted: Path) -> None:
    assert verify(submitted) == []


def test_as_many_jobs_as_questions_per_job_make(submitted: Path) -> None:
    assert len(set(jobs(submitted, "steps/small/shard-*.parquet"))) == 3  # 30 questions, 10 a job
    assert len(set(jobs(submitted, "trajectories/small/lab500/shard-*.parquet"))) == 2  # 8, 4 a job
    assert len(set(jobs(submitted, "trajectories/small/labolympiad/shard-*.parquet"))) == 2  # 6, 4 a job


@pytest.mark.parametrize(
    ("pattern", "asked"),
    [
        ("steps/small/shard-*.parquet", ("gpu", "gres:gpu:fake:1", "00:12:00")),
        ("trajectories/small/*/shard-*.parquet", ("gpu", "gres:gpu:fake:1", "00:12:00")),
        ("router/small/default/seed-0/model", ("gpu", "gres:gpu:fake:2", "00:12:00")),
        ("latency/small.parquet", ("gpu", "gres:gpu:fake:2", "00:12:00")),
        ("router/small/default/dataset", ("cpu", None, "00:06:00")),
        ("curves/accuracy_latency.csv", ("cpu", None, "00:06:00")),
    ],
)
def test_jobs_asked_for_what_the_study_says(
    slurm: Slurm, submitted: Path, pattern: str, asked: tuple[str, str | None, str]
) -> None:
    found = [slurm.job(number) for number in jobs(submitted, pattern)]
    assert found
    assert {(job["Partition"], job.get("TresPerJob"), job["TimeLimit"]) for job in found} == {asked}


def test_a_training_has_a_process_for_each_gpu_it_asks_for(submitted: Path) -> None:
    told = [json.loads(path.read_text()) for path in submitted.glob("router/small/default/seed-*/model/training.json")]
    assert [one["processes"] for one in told] == [2, 2, 2]


def test_latency_had_its_node_alone(slurm: Slurm, submitted: Path) -> None:
    (number,) = jobs(submitted, "latency/small.parquet")
    job = slurm.job(number)
    assert (job["OverSubscribe"], job["NumCPUs"], job["NumTasks"]) == ("NO", "8", "1")  # two GPUs, and run once


def test_cancelled_preempted_and_overlong_jobs_are_run_again_with_the_same_results(
    slurm: Slurm, local: Path, tmp_path: Path
) -> None:
    """The labelling on a partition that gives way, a minute a job, with one fault of each kind."""
    resources = "resources={label: {partition: scavenge, hours: 0.016}}"
    target = tmp_path / "cluster/steps/small.parquet"
    with subprocess.Popen(
        command(tmp_path, *SUBMIT, str(target), config=(resources,)),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        preempted = wait_for(lambda: slurm.running("label"))[0]
        slurm.ask("sbatch", "--partition=gpu", "--gpus=2", "--mem=100", "--output=/dev/null", "--wrap=sleep 1")
        wait_for(lambda: preempted not in slurm.running("label"))

        cancelled = wait_for(lambda: slurm.running("label"))[0]
        slurm.ask("scancel", cancelled)

        stalled = wait_for(lambda: stage_of(set(slurm.running("label")) - {cancelled}))
        overlong = stalled.environ()["SLURM_JOB_ID"]
        stalled.suspend()  # it will not be done within its minute

        said = running.communicate(timeout=900)[0]
    assert running.returncode == 0, said[-6000:]
    assert slurm.job(cancelled)["JobState"] == "CANCELLED"
    assert slurm.job(overlong)["JobState"] == "TIMEOUT"
    assert int(slurm.job(preempted)["Restarts"]) >= 1
    assert target.read_bytes() == (local / "steps/small.parquet").read_bytes()
    again = [slurm.job(number) for number in jobs(target.parent, "small/shard-*.parquet")]
    assert max(job["TimeLimit"] for job in again) > slurm.job(overlong)["TimeLimit"]  # a retry gets more time


def wait_for(find: Callable[[], Any], seconds: float = 120.0) -> Any:
    """What `find` returns, as soon as that is something."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return found


def stage_of(numbers: set[str]) -> psutil.Process | None:
    """The stage's own process in one of the Slurm jobs `numbers`, once it runs."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if len(words) > 2 and Path(words[1]).name == "arbitrage" and words[2] == "label":
            try:
                if process.environ().get("SLURM_JOB_ID") in numbers:
                    return process
            except psutil.NoSuchProcess:
                continue
    return None
