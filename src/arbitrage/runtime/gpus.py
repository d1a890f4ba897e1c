"""GPUs of their own for the jobs of one machine: a job takes free ones before CUDA starts, and keeps them to its end.

A `gpu` limit in Snakemake only counts jobs; every job would still find device 0 first. Here each GPU has a lock file,
held by flock as long as the process lives (the kernel frees it however the process ends), and CUDA_VISIBLE_DEVICES
names the GPUs taken, so that the job's `cuda:0` is the first of its own. A Slurm job that was given just what it asked
for has its own already; in an interactive allocation, with several jobs to its GPUs, they are shared out here too.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import TextIO

from arbitrage.errors import UserError
from arbitrage.runtime.nvml import lost

VISIBLE = "CUDA_VISIBLE_DEVICES"
POLL_S = 0.5

_held: list[TextIO] = []  # open files whose locks last as long as this process


class DeviceError(UserError, RuntimeError):
    """Fewer GPUs than a job needs, or one that was lost; the message says which, and the remedy."""


def claim(count: int, share: bool = False) -> list[str]:
    """Take `count` free GPUs of this machine for this process, waiting for them if need be; their names.

    To be called before CUDA starts. Takes none for `count` 0, and where the machine has no NVIDIA driver (torch will
    say so); locks none with `share`, and where Slurm gave just so many. Only GPUs named by CUDA_VISIBLE_DEVICES are
    taken, where that is set, and none that the driver has lost.

    Raises DeviceError where this machine, or Slurm's allocation, has fewer than `count`, or its driver does not answer.
    """
    present = visible() if count else []
    if present is None and shutil.which("nvidia-smi"):
        raise DeviceError(
            f"this job needs {count} GPUs, and nvidia-smi, which is here, lists none: run it to see why (a driver that "
            f"is not loaded, a GPU that is lost), or name those that work in {VISIBLE}"
        )
    if not count or present is None:
        return []
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # nvidia-smi's order
    gone = lost(present)
    for name in gone:
        print(f"GPU {name} is left out: the driver has lost it (see nvidia-smi)", file=sys.stderr, flush=True)
    present = [name for name in present if name not in gone]
    if len(present) < count:
        raise DeviceError(
            f"this job's models name {count} GPUs and {len(present)} can be seen here ({VISIBLE}="
            f"{os.environ.get(VISIBLE, '')!r}); put the models on fewer devices, or ask for more in `resources`"
        )
    if share or ("SLURM_JOB_ID" in os.environ and len(present) == count):
        if gone:
            os.environ[VISIBLE] = ",".join(present)
        return present[:count]
    waited = False
    while True:
        taken = _take(present, count)
        if taken:
            os.environ[VISIBLE] = ",".join(taken)
            return taken
        if not waited:
            print(f"waiting until {count} of the {len(present)} GPUs are free", file=sys.stderr, flush=True)
            waited = True
        time.sleep(POLL_S)


def keep_first() -> None:
    """Let this process see the first of its GPUs alone; to be called before CUDA starts. Trainer would use them all."""
    present = visible()
    if present:
        os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # nvidia-smi's order
        os.environ[VISIBLE] = present[0]


def visible() -> list[str] | None:
    """Names of the GPUs this process may use: those of CUDA_VISIBLE_DEVICES, or all; None without a driver."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return _driver_says("--query-gpu=index")


def memory_bytes(ordinal: int) -> int | None:
    """Memory of a GPU this process may use, counted from 0; None where there is none, or the driver does not say."""
    present = visible() or []
    return _card(present[ordinal])[1] if ordinal < len(present) else None


def cards() -> list[tuple[str, int | None]]:
    """Name and memory, in bytes, of each GPU this process may use, as far as the driver says."""
    return [_card(name) for name in visible() or []]


@cache
def _card(name: str) -> tuple[str, int | None]:
    told = _driver_says("--query-gpu=name,memory.total", f"--id={name}") or [""]
    model, _, mebibytes = told[0].rpartition(", ")
    return model or "unknown", int(mebibytes) * 2**20 if mebibytes.isdigit() else None


def _driver_says(*query: str) -> list[str] | None:
    """Lines that nvidia-smi answers with; None where there is no driver, or it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, *query, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return [line.strip() for line in done.stdout.splitlines()]


def _take(present: list[str], count: int) -> list[str]:
    """Lock `count` of `present`, or none: one process chooses at a time, so that two never hold half each."""
    folder = Path(tempfile.gettempdir()) / f"arbitrage-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "choosing").open("a") as choosing:
        fcntl.flock(choosing, fcntl.LOCK_EX)
        taken: dict[str, TextIO] = {}
        for name in present:
            lock = (folder / name.replace("/", "-")).open("a")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            taken[name] = lock
            if len(taken) == count:
                _held.extend(taken.values())
                return list(taken)
        for held in taken.values():
            held.close()
        return []
