"""How a model is put on vLLM: the arguments of its engine (`vllm.EngineArgs` of vLLM 0.32)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from arbitrage.config.devices import last_ordinal
from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.engines.checkpoints import Checkpoint
from arbitrage.engines.hf.limits import context_limit
from arbitrage.speculation.protocols import EngineError

CPU_BLOCK = 32  # tokens a block; vLLM's 128 on CPUs would leave most prefixes of steps unshared
CPU_CACHE_GIB = 1.0
GGUF = "model.gguf"  # in the directory of a model that was made so
GGUF_PLUGIN = "vllm_gguf_plugin"  # vLLM reads no GGUF without it; it wants a GPU


def engine_arguments(
    checkpoint: Checkpoint, model: Model, generation: Generation, share: float, concurrency: int
) -> dict[str, Any]:
    """Arguments of the engine that runs `checkpoint` as `model` says.

    share: of the memory of its GPUs that it may take, unless `vllm.cache_gib` says
    how much its keys and values take. concurrency: contexts at once. Raises EngineError where the checkpoint has no
    causal head, or lacks the GGUF file that is asked for, or the device is none that vLLM knows.
    """
    checkpoint.require_head(("ForCausalLM",))
    name, settings, first = checkpoint.key, model.vllm, last_ordinal(model.device)
    if first < 0 and model.device != "cpu":
        raise EngineError(
            f"{name}: vLLM runs on cpu and cuda, got device {model.device!r}; use the transformers engine"
        )
    chosen: dict[str, Any] = {
        "model": str(_weights(name, checkpoint.directory, settings.quantisation)),
        "tokenizer": str(checkpoint.directory),
        "trust_remote_code": False,
        "load_format": "auto" if settings.quantisation == "gguf" else "safetensors",
        "quantization": settings.quantisation,
        "dtype": model.dtype,
        "max_model_len": min(settings.longest(generation.max_tokens), context_limit(checkpoint.configs()[0])),
        "max_num_seqs": concurrency,
        "tensor_parallel_size": settings.tensor_parallel,
        "enable_prefix_caching": True,
        "enforce_eager": (first < 0) if settings.eager is None else settings.eager,
        "generation_config": "vllm",  # sampling is what a request says, whatever the checkpoint recommends
        "seed": 0,
    }
    cache_gib = settings.cache_gib or (CPU_CACHE_GIB if first < 0 else None)
    if cache_gib:
        chosen["kv_cache_memory_bytes"] = int(cache_gib * 2**30)
    if first < 0:
        return chosen | {"block_size": CPU_BLOCK}
    return chosen | {
        "gpu_memory_utilization": share,
        "device_ids": list(range(first, first + settings.tensor_parallel)),  # among CUDA_VISIBLE_DEVICES
    }


def _weights(name: str, directory: Path, quantisation: str | None) -> Path:
    if quantisation != "gguf":
        return directory
    if find_spec(GGUF_PLUGIN) is None:
        raise EngineError(
            f"{name}: vllm.quantisation gguf needs {GGUF_PLUGIN.replace('_', '-')}, which is not installed; "
            "pip install it where vLLM is, or leave vllm.quantisation out to run the unpacked weights"
        )
    file = directory / GGUF
    if not file.is_file():
        raise EngineError(
            f"{name}: vllm.quantisation gguf needs {file}, which is not there; put the GGUF file there, beside the "
            "unpacked checkpoint, or leave vllm.quantisation out to run the unpacked weights"
        )
    return file
