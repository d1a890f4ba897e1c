"""One run a study, and no orphans after a kill.

The Snakefile calls `guard_study` in its `onstart` handler, every stage calls `watch_parent` first. Three facts make
`kill -9` harmless, and need nothing removed by hand:

- the run holds `<study>/.lock` by flock, which the kernel gives back however the process ends;
- a stage ends itself, with its own children, within a second of its run's end;
- a stage holds `<study>/.jobs.lock` shared, and a new run waits until nobody does: it never starts beside an orphan.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import psutil

from arbitrage.errors import UserError
from arbitrage.runtime.child_processes import die_with_parent, end_descendants

RUN_PID = "ARBITRAGE_RUN_PID"  # "<pid>:<start>:<machine>" of the Snakemake process that runs the study
RUN_DIR = "ARBITRAGE_RUN_DIR"  # absolute path of the study's results
POLL_S = 0.5
ORPHANS_S = 20.0  # how long a new run waits for the stages of a killed one

_held: list[TextIO] = []  # open files whose locks last as long as this process


class StudyBusy(UserError, RuntimeError):  # noqa: N818 - named for what it says, like BlockingIOError
    """Another run works on this study; the message names its process, host and start, and the remedy."""


def guard_study(results_dir: Path) -> None:
    """Make this process the only run of the study in `results_dir` (`<results>/<study>`) until it ends.

    Called from the Snakefile's `onstart`, which Snakemake runs in its main process alone: neither in dry runs nor where
    there is nothing to do, nor in the processes it starts for jobs (there this does nothing).

    Raises StudyBusy where another run, or a stage that outlived its run, has the study.
    """
    results_dir = results_dir.resolve()
    if os.environ.get(RUN_DIR) == str(results_dir) and _run_is_alive(os.environ.get(RUN_PID, "")):
        return
    results_dir.mkdir(parents=True, exist_ok=True)
    lock = (results_dir / ".lock").open("a+")
    lock.seek(0)
    holder = lock.read().strip() or "an unnamed process"
    if not take_lock(lock, fcntl.LOCK_EX):
        lock.close()
        raise StudyBusy(
            f"{results_dir}: another run is working on this study ({holder}). "
            "Wait for it or stop it, then give the same command again"
        )
    try:
        _wait_for_orphans(results_dir, holder)
    except StudyBusy:
        lock.close()
        raise
    pid = os.getpid()
    lock.truncate(0)
    lock.write(f"process {pid} on {socket.gethostname()}, started {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n")
    lock.flush()
    _held.append(lock)
    os.environ[RUN_PID] = f"{pid}:{_start_of(pid)}:{_machine()}"
    os.environ[RUN_DIR] = str(results_dir)


def watch_parent() -> None:
    """End this stage, and the processes it started, as soon as the run that started it is gone.

    Does nothing in a stage started by hand. On another machine than the run's (a cluster job) only the jobs' lock is
    held: there the scheduler owns the process, and a new run refuses to start beside it.
    """
    run, results_dir = os.environ.get(RUN_PID), os.environ.get(RUN_DIR)
    if run is None or results_dir is None:
        return
    if not _run_is_alive(run):
        _end(run)
    jobs = (Path(results_dir) / ".jobs.lock").open("a")
    take_lock(jobs, fcntl.LOCK_SH, wait=True)
    _held.append(jobs)
    if run.endswith(_machine()):
        die_with_parent()
        threading.Thread(target=_watch, args=(run,), name="watch-parent", daemon=True).start()


def take_lock(file: TextIO, kind: int, wait: bool = False) -> bool:
    """Take the lock; False where somebody else has it. True, with a warning, where the file system knows no locks."""
    try:
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        print(f"{file.name}: cannot be locked ({error}); nothing keeps a second process out", file=sys.stderr)
    return True


def _wait_for_orphans(results_dir: Path, former: str) -> None:
    """Return once no stage of an earlier run is left; raise StudyBusy where one stays for ORPHANS_S seconds."""
    deadline = time.monotonic() + ORPHANS_S
    with (results_dir / ".jobs.lock").open("a") as jobs:
        while not take_lock(jobs, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise StudyBusy(
                    f"{results_dir}: jobs of an earlier run ({former}) are still working on this study. Wait for them "
                    "or stop them (on a Slurm cluster: squeue --me, then scancel), then give the same command again"
                )
            time.sleep(POLL_S / 5)


def _machine() -> str:
    """Names this machine, boot and process namespace: where they agree, a process id means the same process."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # Linux has both; elsewhere the host's name must do
        parts += [
            Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            str(Path("/proc/self/ns/pid").readlink()),
        ]
    return "/".join(parts)


def _start_of(pid: int) -> str | None:
    """When process `pid` started, so that a later process with the same id is told apart; None where it has ended."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        stat = Path(f"/proc/{pid}/stat")  # ticks since boot: unlike psutil's time they stand when the clock is set
        return stat.read_text().rpartition(")")[2].split()[19] if stat.exists() else str(process.create_time())
    except (psutil.NoSuchProcess, OSError):
        return None


def _run_is_alive(run: str) -> bool:
    """Whether the run that left this value in RUN_PID is alive; a run on another machine counts as alive."""
    if not run.endswith(_machine()):
        return bool(run)
    pid, start, _ = run.split(":", 2)
    return _start_of(int(pid)) == start


def _watch(run: str) -> None:
    while _run_is_alive(run):
        time.sleep(POLL_S)
    _end(run)


def _end(run: str) -> None:
    with contextlib.suppress(OSError):
        print(
            f"the Snakemake run (process {run.split(':')[0]}) is gone; this stage stops too",
            file=sys.stderr,
            flush=True,
        )
    end_descendants()
    os._exit(1)
