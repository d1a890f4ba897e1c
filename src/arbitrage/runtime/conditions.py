"""Under what conditions something was timed: threads, other load, clocks and power of GPUs, who else was on them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from types import TracebackType
from typing import Any

import psutil

GPU_FIELDS = {
    "name": "name",
    "driver": "driver_version",
    "clock_mhz": "clocks.sm",
    "highest_clock_mhz": "clocks.max.sm",
    "power_cap_w": "power.limit",
    "power_w": "power.draw",
    "temperature_c": "temperature.gpu",
}
TIMEOUT_S = 20  # nvidia-smi answers in a second, or hangs


class Conditions:
    """A block that notes the conditions it ran under; `noted` has them once it has ended.

    noted: threads, cores, load (1-minute load average before and after), other_cpu_share (share of all cores' time that
    processes other than this one and its children took meanwhile; None where this machine cannot tell), and gpus (one
    mapping each: GPU_FIELDS while hot, and the number of other processes that hold memory there).
    """

    def __init__(self, threads: int) -> None:
        self.noted: dict[str, Any] = {"threads": threads, "cores": os.cpu_count()}

    def __enter__(self) -> Conditions:
        self._load, self._begin = os.getloadavg()[0], time.perf_counter()
        self._busy, self._own = _busy_s(), _own_s()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = (time.perf_counter() - self._begin) * (os.cpu_count() or 1)
        others = (_busy_s() - self._busy) - (_own_s() - self._own)
        self.noted |= {
            "load": [round(self._load, 2), round(os.getloadavg()[0], 2)],
            "other_cpu_share": round(min(max(others / seconds, 0.0), 1.0), 3) if seconds > 0 else None,
            "gpus": gpu_conditions(),
        }


def gpu_conditions() -> list[dict[str, Any]]:
    """GPU_FIELDS of every GPU this process may see, by nvidia-smi, and `other_processes`; empty without one."""
    rows = _nvidia_smi("gpu", ["uuid", *GPU_FIELDS.values()])
    running = _nvidia_smi("compute-apps", ["gpu_uuid", "pid"])
    own = {str(process.pid) for process in _family()}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        visible_ids = visible.split(",")
        rows = [row for number, row in enumerate(rows) if str(number) in visible_ids or row[0] in visible_ids]
    return [
        dict(zip(GPU_FIELDS, map(_number, values), strict=True))
        | {"other_processes": sum(gpu == uuid and pid not in own for gpu, pid in running)}
        for uuid, *values in rows
    ]


def _nvidia_smi(query: str, fields: list[str]) -> list[list[str]]:
    """Rows of fields that nvidia-smi prints; none where it is absent or fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-{query}={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        reply = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)  # noqa: S603
    except (subprocess.SubprocessError, OSError):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in reply.stdout.splitlines() if line.strip()]
    return [row for row in rows if len(row) == len(fields)]


def _number(text: str) -> float | str | None:
    """A number where it is one; None where the GPU does not tell."""
    try:
        return float(text)
    except ValueError:
        return None if text.startswith("[") or not text else text


def _family() -> list[psutil.Process]:
    """This process, its children, and theirs."""
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def _busy_s() -> float:
    """Seconds that all cores have spent at work."""
    times = psutil.cpu_times()._asdict()
    idle = sum(times.get(name, 0.0) for name in ("idle", "iowait", "guest", "guest_nice"))
    return float(sum(times.values()) - idle)


def _own_s() -> float:
    """Seconds of this process and its children, dead ones included."""
    total = 0.0
    for process in _family():
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
        total += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return total
