"""What a job's GPUs did while it held them, by sampling NVML: how busy they were, memory, energy, whether one was lost.

Without NVML (`arbitrage.runtime.nvml`) nothing is noted, and nothing fails.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from threading import Event, Thread
from types import TracebackType
from typing import Any

from arbitrage.runtime.gpus import DeviceError
from arbitrage.runtime.nvml import handle, means_lost, nvml

SAMPLE_S = 1.0  # NVML's utilisation is a mean over the last second, or a sixth of it
TIMEOUT_S = 10.0  # NVML may hang where a GPU is lost


class GpuUse:
    """A block whose job holds GPUs; `report` has what they did, once it has ended.

    report: nothing, or `gpu_use`, a mapping for each GPU: its name, uuid, held_s, and as far as it tells: utilisation
    (mean share of time in which a kernel ran, 0 to 1), busy_share (of samples with a utilisation above 0),
    peak_memory_gb (the most in use, other processes' included), energy_j, energy_by (`counter`, or `power`: integrated
    over samples), lost (when; ISO 8601, UTC). Instances of a GPU that is cut up (MIG) tell their memory alone. An error
    that ends the block after a GPU was lost becomes a DeviceError.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """names: of the job's GPUs, as CUDA_VISIBLE_DEVICES has them."""
        self._names, self._over = names, Event()
        self._meters: list[Meter] = []
        self.report: dict[str, Any] = {}

    def __enter__(self) -> GpuUse:
        self._meters = [*_meters(self._names)] if self._names else []
        self._thread = Thread(target=self._watch, daemon=True)
        if self._meters:
            self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self._sample()

    def _sample(self) -> None:
        for meter in self._meters:
            meter.sample()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._meters:
            return
        self._over.set()
        self._thread.join(TIMEOUT_S)
        if not self._thread.is_alive():
            self._sample()
        self.report = {"gpu_use": [meter.noted() for meter in self._meters]}
        losses = [meter.loss for meter in self._meters if meter.loss]
        if losses and isinstance(error, Exception):
            raise DeviceError(
                f"{'; '.join(losses)}. What is finished is kept; reset the GPU, or name the others in "
                "CUDA_VISIBLE_DEVICES, and give the same command again"
            ) from error


class Meter:
    """What one GPU did since this was made. loss: a sentence once the driver has lost it, else empty."""

    def __init__(self, asked: Any, name: str, handle: Any) -> None:
        """asked: the module `pynvml`. Raises NVMLError where it is lost already."""
        self.loss = ""
        self._nvml, self._handle = asked, handle
        self._began = self._last = time.monotonic()
        self._utilisations: list[float] = []
        self._first_mj: int | None = None
        self._power_w: float | None = None
        self._power_j, self._peak_bytes = 0.0, 0
        questions = {"name": asked.nvmlDeviceGetName, "uuid": asked.nvmlDeviceGetUUID}
        self._told: dict[str, Any] = {key: self._ask(question) for key, question in questions.items()}
        self._title = f"GPU {name} ({self._told['name']})"
        self.sample()
        self._utilisations.clear()  # of the second before

    def sample(self) -> None:
        """Ask how it is; says so, once, where it is lost."""
        if self.loss:
            return
        try:
            self._note()
        except self._nvml.NVMLError as error:
            self._told["lost"] = datetime.now(UTC).isoformat(timespec="seconds")
            self.loss = f"{self._title} was lost at {self._told['lost']}: its driver says {str(error)!r}"
            print(self.loss, file=sys.stderr, flush=True)

    def _note(self) -> None:
        now, asked = time.monotonic(), self._nvml
        if (memory := self._ask(asked.nvmlDeviceGetMemoryInfo)) is not None:
            self._peak_bytes = max(self._peak_bytes, memory.used)
            self._told["peak_memory_gb"] = round(self._peak_bytes / 1e9, 3)
        if (rates := self._ask(asked.nvmlDeviceGetUtilizationRates)) is not None:
            self._utilisations.append(rates.gpu / 100)
        if (milliwatts := self._ask(asked.nvmlDeviceGetPowerUsage)) is not None:
            power_w = milliwatts / 1000
            self._power_j += (power_w if self._power_w is None else (power_w + self._power_w) / 2) * (now - self._last)
            self._power_w = power_w
        if (millijoules := self._ask(asked.nvmlDeviceGetTotalEnergyConsumption)) is not None:
            self._first_mj = millijoules if self._first_mj is None else self._first_mj
            self._told |= {"energy_j": round((millijoules - self._first_mj) / 1000, 3), "energy_by": "counter"}
        self._last = now

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        """Its answer; None where this GPU, or its driver, does not tell. Raises NVMLError where it is lost."""
        try:
            return question(self._handle)
        except self._nvml.NVMLError as error:
            if means_lost(error):
                raise
            return None

    def noted(self) -> dict[str, Any]:
        """As `GpuUse` says."""
        own: dict[str, Any] = {"held_s": round(self._last - self._began, 3)}
        if count := len(self._utilisations):
            own["utilisation"] = round(sum(self._utilisations) / count, 4)
            own["busy_share"] = round(sum(each > 0 for each in self._utilisations) / count, 4)
        if self._power_w is not None:
            own |= {"energy_j": round(self._power_j, 3), "energy_by": "power"}
        return own | self._told


def _meters(names: Sequence[str]) -> Iterator[Meter]:
    """One for each GPU that NVML knows."""
    asked = nvml()
    for name in names if asked is not None else ():
        try:
            yield Meter(asked, name, handle(name))
        except asked.NVMLError:
            continue
