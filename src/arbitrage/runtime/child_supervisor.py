"""Run a command for as long as this process's parent lives, and leave nothing of it behind:

    python -m arbitrage.runtime.child_supervisor <pid of the parent> <command> ...

A server has processes of its own (vLLM: one an engine, one a GPU), and a job may end by SIGKILL, when it can stop
nothing. This small process outlives it by a moment and ends them all; it stays out of the job's process group, so that
Ctrl-C reaches the job first.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from types import FrameType

import psutil

POLL_S = 0.2
GRACE_S = 5.0  # between asking the command to end and ending it
PR_SET_CHILD_SUBREAPER = 36


def main(parent: int, command: list[str]) -> int:
    """The command's exit status; its processes have all ended."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    signal.signal(signal.SIGTERM, ask)
    if sys.platform == "linux":  # orphans of the command become this process's children, and are found
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    child = subprocess.Popen(command)  # noqa: S603 - the command is the caller's
    while child.poll() is None and not asked and os.getppid() == parent:
        time.sleep(POLL_S)
    if child.poll() is None and os.getppid() == parent:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_S)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
