"""How a model is put on vLLM: the arguments of its engine (`vllm.EngineArgs` of vLLM 0.32)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from arbitrage.config.backends import Vllm
from arbitrage.config.devices import last_ordinal
from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.config.prm import Prm
from arbitrage.config.router import Router
from arbitrage.engines.checkpoints import Checkpoint
from arbitrage.engines.hf.limits import context_limit
from arbitrage.engines.scoring.labels import CLASSIFIERS
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
    settings = model.vllm
    return _arguments(checkpoint, model, generation, share, settings.tensor_parallel) | {
        "model": str(_weights(checkpoint.key, checkpoint.directory, settings.quantisation)),
        "load_format": "auto" if settings.quantisation == "gguf" else "safetensors",
        "quantization": settings.quantisation,
        "max_num_seqs": concurrency,
        "generation_config": "vllm",  # sampling is what a request says, whatever the checkpoint recommends
    }


def speculative_config(draft: Checkpoint, settings: Vllm, target: Vllm, count: int) -> dict[str, Any]:
    """vLLM's `speculative_config`: the model `draft` proposes `count` tokens a round, and the engine's own checks them.

    settings, target: those of the two; the draft is cut over as many GPUs as the target.
    """
    return {
        "method": "draft_model",
        "model": str(draft.directory),
        "num_speculative_tokens": count,
        "draft_tensor_parallel_size": target.tensor_parallel,
        "quantization": settings.quantisation,
    }


def scorer_arguments(
    checkpoint: Checkpoint, scorer: Prm | Router, generation: Generation, share: float
) -> dict[str, Any]:
    """Arguments of the engine that runs a PRM or router, whose head is read at the last id of what it is given.

    A head for every token is the same map: as one for sequences it is read once, and vLLM keeps prefixes. Raises
    EngineError where the checkpoint has no such head, or the device is none that vLLM knows.
    """
    backbone = checkpoint.head.removesuffix(checkpoint.require_head(CLASSIFIERS))
    return _arguments(checkpoint, scorer, generation, share) | {
        "max_num_seqs": scorer.batch_size,
        "runner": "pooling",
        "convert": "classify",
        "hf_overrides": {"architectures": [f"{backbone}ForSequenceClassification"], "head_dtype": "float32"},
    }


def _arguments(
    checkpoint: Checkpoint, model: Model | Prm | Router, generation: Generation, share: float, gpus: int = 1
) -> dict[str, Any]:
    """What the two have in common."""
    settings, first = model.vllm, last_ordinal(model.device)
    if first < 0 and model.device != "cpu":
        raise EngineError(
            f"{checkpoint.key}: vLLM runs on cpu and cuda, got device {model.device!r}; use the transformers engine"
        )
    chosen: dict[str, Any] = {
        "model": str(checkpoint.directory),
        "tokenizer": str(checkpoint.directory),
        "trust_remote_code": False,
        "load_format": "safetensors",
        "dtype": model.dtype,
        "max_model_len": min(settings.longest(generation.max_tokens), context_limit(checkpoint.configs()[0])),
        "tensor_parallel_size": gpus,
        "enable_prefix_caching": True,
        "enforce_eager": (first < 0) if settings.eager is None else settings.eager,
        "seed": 0,
    }
    cache_gib = settings.cache_gib or (CPU_CACHE_GIB if first < 0 else None)
    if cache_gib:
        chosen["kv_cache_memory_bytes"] = int(cache_gib * 2**30)
    if first < 0:
        return chosen | {"block_size": CPU_BLOCK}
    return chosen | {
        "gpu_memory_utilization": share,
        "device_ids": list(range(first, first + gpus)),  # among CUDA_VISIBLE_DEVICES
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
