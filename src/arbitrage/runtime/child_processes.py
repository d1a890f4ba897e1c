"""Leave no process behind, however a job ends: python -m arbitrage.runtime.child_processes <pid of the job> <mark>

vLLM's engine processes and servers have processes of their own, which do not notice that the job that started them was
killed, and would keep their GPUs. Everything a job starts inherits a mark in its environment. A small process beside
the job outlives it by a moment and ends whatever has the mark: whoever its parent is by then, and in whatever session.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import subprocess
import sys
import time
from functools import cache

import psutil

MARK = "ARBITRAGE_JOB"  # in the environment of a guarded job's processes
KEEPING = "SPT_NOENV"  # keeps setproctitle, by which vLLM names its processes, from writing over their environment
POLL_S = 0.5
STOP_S = 15.0  # between asking a process to end and ending it
PR_SET_PDEATHSIG = 1


@cache
def guard_children() -> str:
    """Have whatever this process starts from now on end with it, even by SIGKILL; the mark it has by then."""
    mark = f"{os.getpid()}-{secrets.token_hex(8)}"
    command = [sys.executable, "-m", "arbitrage.runtime.child_processes", str(os.getpid()), mark]
    _guards.append(
        subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the job
        )
    )
    os.environ[MARK] = mark
    os.environ[KEEPING] = "1"
    return mark


_guards: list[subprocess.Popen[bytes]] = []


def end_marked(mark: str) -> None:
    """End this user's processes that were started with `mark`, or with `mark` and a part of their own (`mark/...`)."""
    while marked := [process for process in psutil.process_iter() if _has(process, mark)]:
        for process in marked:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(marked, timeout=POLL_S)


def _has(process: psutil.Process, mark: str) -> bool:
    try:
        return f"{process.environ().get(MARK, '')}/".startswith(f"{mark}/") and process.pid != os.getpid()
    except (psutil.Error, OSError):  # another user's, or gone
        return False


def stop(process: subprocess.Popen[bytes], mark: str) -> None:
    """Ask `process`, started with `mark`, to end; then end it and all it has started."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    end_marked(mark)
    process.wait()


def end_descendants() -> None:
    """End the processes that this one has started, and those that these have."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def die_with_parent() -> None:
    """Ask Linux for SIGKILL when the shell that started this process dies: at once, even while Python is busy in C."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(job: int, mark: str) -> None:
    """Wait until the job, this process's parent, is gone; then end what it has left."""
    while os.getppid() == job:
        time.sleep(POLL_S)
    end_marked(mark)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
