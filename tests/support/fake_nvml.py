"""NVML's C library, made of Python: what nvidia-ml-py, as it is installed, calls and reads."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pynvml
import pytest

from arbitrage.runtime.nvml import nvml

WORDS = {pynvml.NVML_ERROR_GPU_IS_LOST: b"GPU is lost"}


@dataclass
class FakeGpu:
    """What a GPU answers. percent: of utilisation, one an answer, the last again and again; refused: by function, the
    error code it answers with instead; watts; joules: of the energy counter, which grows by them at each answer."""

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    percent: list[int] = field(default_factory=lambda: [0])
    used: int = 10**9
    watts: int = 300
    joules: int = 50
    refused: dict[str, int] = field(default_factory=dict)
    answers: int = 0

    def lose(self) -> None:
        """As where it has fallen off the bus: whatever is asked, it is lost."""
        self.refused = dict.fromkeys(QUESTIONS, pynvml.NVML_ERROR_GPU_IS_LOST)


QUESTIONS = (
    "nvmlDeviceGetName",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetTotalEnergyConsumption",
)


class FakeLibrary:
    """`libnvidia-ml.so.1` of a machine with `gpus`; the functions have the names and arguments of nvml.h."""

    def __init__(self, gpus: list[FakeGpu], started: int = pynvml.NVML_SUCCESS) -> None:
        self.gpus = gpus
        self.nvmlInitWithFlags = lambda flags: started
        self.nvmlErrorString = lambda code: WORDS.get(code, b"some error")
        for name in QUESTIONS:
            setattr(self, name, self._question(name))

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, handle: Any) -> int:  # noqa: N802 - NVML's name
        return self._found(index.value if index.value < len(self.gpus) else None, handle)

    def nvmlDeviceGetHandleByUUID(self, uuid: Any, handle: Any) -> int:  # noqa: N802
        uuids = [gpu.uuid.encode() for gpu in self.gpus]
        return self._found(uuids.index(uuid.value) if uuid.value in uuids else None, handle)

    @staticmethod
    def _found(index: int | None, handle: Any) -> int:
        if index is None:
            return int(pynvml.NVML_ERROR_NOT_FOUND)
        ctypes.cast(handle, ctypes.POINTER(ctypes.c_void_p))[0] = index + 1  # no null pointer
        return int(pynvml.NVML_SUCCESS)

    def _question(self, name: str) -> Any:
        def asked(handle: Any, out: Any, size: Any = None) -> int:
            gpu = self.gpus[(ctypes.cast(handle, ctypes.c_void_p).value or 0) - 1]
            if name in gpu.refused:
                return gpu.refused[name]
            answer = getattr(self, f"_{name.removeprefix('nvmlDeviceGet').lower()}")
            answer(gpu, out if size is not None else out._obj)
            return int(pynvml.NVML_SUCCESS)

        return asked

    @staticmethod
    def _name(gpu: FakeGpu, out: Any) -> None:
        out.value = gpu.name.encode()

    @staticmethod
    def _uuid(gpu: FakeGpu, out: Any) -> None:
        out.value = gpu.uuid.encode()

    @staticmethod
    def _memoryinfo(gpu: FakeGpu, out: Any) -> None:
        out.total, out.used = 80 * 10**9, gpu.used

    @staticmethod
    def _utilizationrates(gpu: FakeGpu, out: Any) -> None:
        out.gpu = gpu.percent.pop(0) if len(gpu.percent) > 1 else gpu.percent[0]

    @staticmethod
    def _powerusage(gpu: FakeGpu, out: Any) -> None:
        out.value = 1000 * gpu.watts

    @staticmethod
    def _totalenergyconsumption(gpu: FakeGpu, out: Any) -> None:
        gpu.answers += 1
        out.value = 10**9 + 1000 * gpu.joules * gpu.answers


@contextmanager
def library(fake: FakeLibrary | None) -> Iterator[None]:
    """Have nvidia-ml-py find `fake` as the driver's library; None: no library."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pynvml, "_LoadNvmlLibrary", lambda: None)
        patch.setattr(pynvml, "nvmlLib", fake)
        pynvml._nvmlGetFunctionPointer_cache.clear()
        nvml.cache_clear()
        yield
    pynvml._nvmlGetFunctionPointer_cache.clear()
    nvml.cache_clear()
