"""NVML, NVIDIA's management library: comes with the driver, and the package nvidia-ml-py (the extra `gpu`) asks it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any


@cache
def nvml() -> Any:
    """The module `pynvml`, ready to be asked; None without it, or without a driver."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def handle(name: str) -> Any:
    """NVML's handle of a GPU named as in CUDA_VISIBLE_DEVICES: by index in the order of the bus, or by UUID.

    Raises NVMLError where there is none.
    """
    asked = nvml()
    return asked.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else asked.nvmlDeviceGetHandleByUUID(name)


def means_lost(error: Any) -> bool:
    """Whether an NVMLError says that the driver no longer reaches the GPU."""
    return error.value in (nvml().NVML_ERROR_GPU_IS_LOST, nvml().NVML_ERROR_RESET_REQUIRED)


def lost(names: Sequence[str]) -> list[str]:
    """Those of these GPUs, named as in CUDA_VISIBLE_DEVICES, that the driver no longer reaches, where NVML can tell."""
    asked, gone = nvml(), []
    for name in names if asked is not None else ():
        try:
            asked.nvmlDeviceGetMemoryInfo(handle(name))
        except asked.NVMLError as error:
            if means_lost(error):
                gone.append(name)
    return gone
