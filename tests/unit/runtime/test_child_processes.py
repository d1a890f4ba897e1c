"""What a job starts ends with it, however it ends, and wherever it has gone by then."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest

from arbitrage.runtime import child_processes

# A command with a child that has left its session and lost its parent, as a server's own processes may.
FAMILY = """
import subprocess, sys, time
leave = (
    "import subprocess, sys; sleep = [sys.executable, '-c', 'import time; time.sleep(600)'];"
    "print(subprocess.Popen(sleep, stdout=subprocess.DEVNULL, start_new_session=True).pid)"
)
print(subprocess.run([sys.executable, "-c", leave], stdout=subprocess.PIPE, text=True).stdout.strip(), flush=True)
time.sleep(600)
"""
JOB = """
import subprocess, sys, time
from arbitrage.runtime.child_processes import guard_children
guard_children()
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True)
print(child.pid, flush=True)
{end}
"""


def processes(stream: Callable[[], str], count: int) -> list[psutil.Process]:
    return [psutil.Process(int(stream())) for _ in range(count)]


@pytest.mark.parametrize("end", ["time.sleep(600)", "time.sleep(1)", "raise SystemExit(3)"])
def test_nothing_of_a_job_outlives_it(end: str) -> None:
    job = subprocess.Popen([sys.executable, "-c", JOB.format(end=end), FAMILY], stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    if end == "raise SystemExit(3)":
        family = processes(job.stdout.readline, 1)
    else:
        family = [*processes(job.stdout.readline, 2), *psutil.Process(job.pid).children(recursive=True)]
    if end == "time.sleep(600)":
        job.kill()
    job.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    job.stdout.close()


def test_one_of_a_jobs_servers_stops_with_all_it_has_started_and_the_other_goes_on() -> None:
    def start(name: str) -> tuple[subprocess.Popen[bytes], str, list[psutil.Process]]:
        mark = f"{os.getpid()}-test/{name}"
        environment = os.environ | {child_processes.MARK: mark}
        command = [sys.executable, "-c", FAMILY]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, start_new_session=True)
        assert server.stdout is not None
        orphan = int(server.stdout.readline())
        return server, mark, [psutil.Process(server.pid), psutil.Process(orphan)]

    (one, its_mark, its_family), (other, others_mark, others_family) = start("one"), start("one-more")
    child_processes.stop(one, its_mark)
    assert not psutil.wait_procs(its_family, timeout=10)[1]
    assert all(process.is_running() for process in others_family)
    child_processes.stop(other, others_mark)
    assert not psutil.wait_procs(others_family, timeout=10)[1]
    for server in (one, other):
        assert server.stdout is not None
        server.stdout.close()
