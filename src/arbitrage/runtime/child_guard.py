"""Leave nothing of a job behind, however it ends: python -m arbitrage.runtime.child_guard <pid of the job>

vLLM's engine processes do not notice that the process that started them was killed, and would keep their GPUs. This
small process, a child of the job, remembers the job's descendants, outlives it by a moment and ends them all.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

POLL_S = 0.5


@contextmanager
def guarded() -> Iterator[None]:
    """Whatever this process starts while the context lasts ends with it, even by SIGKILL."""
    command = [sys.executable, "-m", "arbitrage.runtime.child_guard", str(os.getpid())]
    guard = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    try:
        yield
    finally:
        guard.kill()
        guard.wait()


def wake_when_dead(client: Any) -> None:
    """Have whoever waits for the engine process of `client` (vLLM 0.32's `SyncMPClient`) learn that it has died.

    vLLM notices within moments, yet its synchronous client goes on waiting for outputs that will never come.
    """

    def watch() -> None:
        while not client.resources.engine_dead:  # also after an ordinary shutdown, when nobody waits
            time.sleep(POLL_S)
        client.outputs_queue.put(ChildProcessError("vLLM's engine process has died"))

    threading.Thread(target=watch, name="wake-when-dead", daemon=True).start()


def main(job: int) -> None:
    """Wait until the job is gone, then end its descendants; a process that took over one's pid is left alone."""
    known: dict[int, psutil.Process] = {}
    while os.getppid() == job:
        with contextlib.suppress(psutil.NoSuchProcess):
            known |= {each.pid: each for each in psutil.Process(job).children(recursive=True)}
        time.sleep(POLL_S)
    known.pop(os.getpid(), None)
    for process in known.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


if __name__ == "__main__":
    main(int(sys.argv[1]))
