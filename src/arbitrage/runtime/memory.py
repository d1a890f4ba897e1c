"""Main memory: what a job has used, and what the models that it runs on CPUs will need, from their files alone.

Of GPUs: `arbitrage.runtime.gpu_memory`.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from arbitrage.config.study import Study
from arbitrage.runtime.placement import STAGES

GB = 1e9
BASE_GB = 3.0  # Python, torch, the tables of a stage and what its step store remembers
MODEL_GB = 2.0  # beside weights and caches: prefixes that are kept, and what layers compute on the way
LARGE = 1e8  # parameters; of a smaller model all that is beside them is small too
PROMPT = 512  # ids that a prompt is taken to have
BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
TRAINED_BYTES = 16  # of a trained weight: itself, its gradient and AdamW's two moments, in float32


@dataclass(frozen=True)
class Shape:
    """Sizes of a checkpoint, zeros where they are not known.

    parameters: of which `embedded` are in embeddings and head; packed: bytes of weights that stay as they are stored,
    in few bits (0: each is loaded in the type asked for); layers; cached: numbers that a position takes in its cache,
    over all layers; kv_heads: that they belong to; positions: ids of the longest context.
    """

    parameters: int = 0
    embedded: int = 0
    packed: int = 0
    layers: int = 0
    cached: int = 0
    kv_heads: int = 1
    positions: int = 0

    def weight_bytes(self, dtype: str, bits: int | None = None) -> int:
        """Bytes of its weights loaded as `dtype`; with `bits`, all but embeddings and head in so many."""
        if self.packed:
            return self.packed
        whole = self.parameters if bits is None else min(self.embedded, self.parameters)
        return whole * BYTES[dtype] + (self.parameters - whole) * (bits or 0) // 8


def peak_gb() -> float:
    """The most main memory this process, and the largest of its finished children, have had at once, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(usage.ru_maxrss * unit / GB for usage in usages)


def models_gb(study: Study, stage: str, pair: str | None) -> float:
    """GB of main memory for a job of `stage` on `pair`: an upper bound for the models whose files are on this machine.

    Those on GPUs, on servers, and those still to be fetched count nothing. 0 where no model runs on the CPU.
    """
    total = 0.0
    if stage == "router" and study.router.device == "cpu":
        total += TRAINED_BYTES * shape(*study.router_init).parameters / GB
    elif stage == "heldout" and study.router.device == "cpu":
        total += _model_gb(*study.router_init, study.router.dtype, 1, study.dataset.max_length)
    elif stage == "states" and pair is not None:
        total += _writer_gb(study, stage, study.pairs[pair].draft)
    elif stage in STAGES and pair is not None:
        total += sum(_writer_gb(study, stage, name) for name in (study.pairs[pair].draft, study.pairs[pair].target))
        scorers = [(study.prm, (study.prm.path, study.prm.revision))]
        if stage in ("sweep", "latency"):
            scorers.append((study.router, study.router_init))  # type: ignore[arg-type]
        for settings, (path, revision) in scorers:
            if settings.device == "cpu":  # long inputs are read a few at a time
                total += _model_gb(path, revision, settings.dtype, 1, study.generation.max_tokens)
    return total + BASE_GB if total else 0.0


def _writer_gb(study: Study, stage: str, name: str) -> float:
    """`_model_gb` of a draft or target on the CPU, in a job of `stage`."""
    model, origin = study.models[name], study.origin(name)
    if model.device != "cpu" or model.server.url is not None or not origin.path:
        return 0.0
    rows = 1 if stage == "latency" else model.batch_size
    return _model_gb(origin.path, origin.revision, model.dtype, rows, study.generation.max_tokens)


def _model_gb(path: str, revision: str | None, dtype: str, rows: int, tokens: int) -> float:
    """Weights, and keys and values of `rows` contexts with solutions of `tokens` tokens."""
    found = shape(path, revision)
    if not found.parameters:
        return 0.0
    columns = min(tokens + PROMPT, found.positions)
    beside = MODEL_GB if found.parameters > LARGE else 0.0
    return (found.parameters + rows * columns * found.cached) * BYTES[dtype] / GB + beside


@lru_cache(maxsize=64)
def shape(path: str, revision: str | None) -> Shape:
    """The shape of a checkpoint; all zeros where it is not on this machine."""
    directory = _directory(path, revision)
    if directory is None:
        return Shape()
    return shape_in(directory, sum(file.stat().st_size for file in directory.glob("*.safetensors")))


def shape_in(directory: Path, weights: int) -> Shape:
    """The shape of the checkpoint whose configuration is in `directory`; weights: bytes of its files, here or not."""
    try:
        config: dict[str, Any] = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        config |= config.get("text_config") or {}
    except (OSError, ValueError, TypeError):  # `check` says what is wrong with it
        return Shape()
    stored = BYTES.get(str(config.get("dtype") or config.get("torch_dtype") or "float32"), 4)
    bare = Shape(parameters=weights // stored, packed=weights if config.get("quantization_config") else 0)
    try:
        heads, width = int(config["num_attention_heads"]), int(config["hidden_size"])
        size = int(config.get("head_dim") or width // heads)
        kept = int(config.get("num_key_value_heads") or heads)
        layers, vocabulary = int(config["num_hidden_layers"]), int(config.get("vocab_size") or 0)
    except (ValueError, KeyError, TypeError):  # it names its sizes otherwise
        return bare
    return replace(
        bare,
        embedded=vocabulary * width * (1 if config.get("tie_word_embeddings") else 2),
        layers=layers,
        cached=2 * layers * kept * size,
        kv_heads=kept,
        positions=int(config.get("max_position_embeddings") or 2**31),
    )


def _directory(path: str, revision: str | None) -> Path | None:
    """Where a checkpoint is on this machine; None where it is not."""
    if Path(path).is_dir():
        return Path(path)
    if path.count("/") != 1 or revision is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    try:
        config = try_to_load_from_cache(path, "config.json", revision=revision)
    except ValueError:  # no hub id
        return None
    return Path(config).parent if isinstance(config, str) else None
