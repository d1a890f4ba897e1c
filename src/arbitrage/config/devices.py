"""The torch devices a study names, and what they say about GPUs."""

from __future__ import annotations

from arbitrage.config.models import Model


def last_ordinal(device: str) -> int:
    """Ordinal of a CUDA device: 0 of `cuda`, 1 of `cuda:1`; -1 where it is none."""
    kind, _, ordinal = device.partition(":")
    return int(ordinal or 0) if kind == "cuda" else -1


def alone(device: str) -> str:
    """The torch device of a model that is alone in its job, on GPUs the job has for itself: the first of them."""
    return "cuda:0" if last_ordinal(device) >= 0 else device


def model_devices(model: Model) -> list[str]:
    """Every device the model is on: its own, and the following ones it is cut over; `cuda` is `cuda:0`."""
    first = last_ordinal(model.device)
    gpus = model.vllm.tensor_parallel if model.engine != "transformers" else 1
    return [model.device] if first < 0 else [f"cuda:{first + offset}" for offset in range(gpus)]
