"""Chains of five kills: at random moments over all stages, resumed after each, to the tables of an undisturbed run.

`make faults` runs ten chains and `make test-all` one. A chain follows from its seed alone, but for the machine's pace:
ARBITRAGE_FAULT_CHAINS says how many there are, ARBITRAGE_FAULT_SEED the first one's seed.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.fault_table import Note
from tests.support.runs import Runs, wait_until_gone

pytestmark = [pytest.mark.fault, pytest.mark.extra, pytest.mark.study, pytest.mark.timeout(3600)]

CHAINS = int(os.environ.get("ARBITRAGE_FAULT_CHAINS", "1"))
SEED = int(os.environ.get("ARBITRAGE_FAULT_SEED", "1"))
KILLS = 5
ENDS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGKILL of a job")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    runs = Runs(tmp_path_factory.mktemp("undisturbed") / "results")
    runs.finish()
    return runs


@pytest.mark.parametrize("seed", range(SEED, SEED + CHAINS))
def test_a_run_killed_five_times_ends_in_the_same_tables(
    seed: int, undisturbed: Runs, tmp_path: Path, note: Note
) -> None:
    rng = random.Random(seed)
    logs = [log.relative_to(undisturbed.folder) for log in undisturbed.logs()]
    moments = sorted(rng.sample(range(len(logs)), KILLS))
    runs = Runs(tmp_path / "results")
    for place in moments:
        end, delay = rng.choice(ENDS), rng.uniform(0.0, 1.2) * _seconds(undisturbed, logs[place])
        print(f"chain {seed}: {end} {delay:.2f} s into {logs[place].with_suffix('')}", flush=True)
        began = time.time()
        run = runs.start()
        if not _reached(run, runs, logs[place:], began, delay):
            break  # it ended before: jobs of one moment may come in another order
        killed = time.time()
        _end(run, runs, end)
        assert not wait_until_gone(runs, 10.0), "processes outlived their run"
        durable = runs.durable()
        note(end, max(0.0, killed - max([began, *durable.values()])))
        finished = {path: at for path, at in durable.items() if at < killed - 3.0}  # Snakemake knows of them
    runs.finish()
    after = runs.durable()
    rewritten = [path for path, at in finished.items() if after.get(path) != at and path.suffix != ".sha256"]
    assert not rewritten, "what was finished was made again"
    assert runs.leftovers() == []
    assert runs.tables() == undisturbed.tables()


def test_a_missing_shard_is_made_anew_out_of_the_step_store(undisturbed: Runs, tmp_path: Path, note: Note) -> None:
    runs = Runs(tmp_path / "results")
    shutil.copytree(undisturbed.results, runs.results)
    needed = ("trajectories/small/lab500.parquet", "curves/comparison.csv", "summary.md")  # or nobody would miss it
    for gone in ("trajectories/small/lab500/shard-1.parquet", *needed):
        (runs.folder / gone).unlink()
    began = time.monotonic()
    runs.finish()
    note("missing shard", time.monotonic() - began)
    assert "generated 0 tokens" in (runs.folder / "logs" / "sweep" / "small-lab500-1.log").read_text()
    assert runs.tables() == undisturbed.tables()


def _seconds(undisturbed: Runs, log: Path) -> float:
    """How long the job of a log took."""
    table = undisturbed.folder / "timings" / log.relative_to("logs").with_suffix(".tsv")
    return float(table.read_text().splitlines()[1].split()[0])


def _reached(run: subprocess.Popen[bytes], runs: Runs, logs: list[Path], began: float, delay: float) -> bool:
    """Wait until the first of `logs`, or a later one, was begun by this run, and `delay` more; False if it ended."""
    while run.poll() is None:
        if any((runs.folder / log).exists() and (runs.folder / log).stat().st_mtime >= began for log in logs):
            try:
                run.wait(timeout=delay)
            except subprocess.TimeoutExpired:
                return True
        time.sleep(0.05)
    assert run.returncode == 0, runs.said.read_text()[-6000:]
    return False


def _end(run: subprocess.Popen[bytes], runs: Runs, end: str) -> None:
    """As users and machines do it: Ctrl-C goes to all processes of the terminal, the others to Snakemake alone.

    What a machine kills for memory is a job; Snakemake then ends by itself.
    """
    if end == "SIGINT":
        os.killpg(run.pid, signal.SIGINT)
    elif end == "SIGKILL of a job" and (jobs := runs.jobs_at_work()):
        for job in jobs:
            job.kill()
    else:
        run.send_signal(signal.SIGTERM if end == "SIGTERM" else signal.SIGKILL)
    run.wait(timeout=120)
