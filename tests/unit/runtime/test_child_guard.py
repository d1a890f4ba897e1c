"""What a job starts ends with it, however it ends."""

from __future__ import annotations

import subprocess
import sys

import psutil

JOB = """
import subprocess, sys, time
from arbitrage.runtime.child_guard import guarded
with guarded():
    code = "import time; time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    time.sleep(1.5)
    print(child.pid, flush=True)
    time.sleep(600)
"""


def test_what_a_killed_job_started_is_ended() -> None:
    job = subprocess.Popen([sys.executable, "-c", JOB], stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    started = int(job.stdout.readline())
    family = psutil.Process(job.pid).children(recursive=True)
    assert started in {each.pid for each in family} and len(family) == 2  # and the guard
    job.kill()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    job.wait()
    job.stdout.close()
