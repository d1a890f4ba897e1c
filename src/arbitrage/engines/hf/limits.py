"""What a model and its device allow: the longest context, the ids of one pass; errors where memory is short."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from arbitrage.speculation.protocols import ContextMemoryError, EngineError
from arbitrage.speculation.steps import Ids

PASS_POSITIONS = {"cpu": 48, "cuda": 8192}  # ids read in the time a pass takes by itself: of the lab's PRM, and a guess
SCRATCH_BYTES = 3 * 2**29  # of what a layer computes on the way: 22,000 ids of a 1.5B model in bfloat16


def context_limit(config: Any) -> int:
    """The longest context a model reads correctly here: its positions, and its attention window where it has one.

    Where rotations change once a text is longer than the model was first trained on (longrope: Phi-3 with 128k), keys
    that were kept would be of the other kind (transformers #33129): that length is the limit.
    Raises EngineError for models whose layers are not all attention layers (their state cannot be rolled back), or that
    know positions by a bias on their scores.
    """
    config = config.get_text_config(decoder=True)
    window = getattr(config, "sliding_window", None)
    # Models from before `layer_types` (Mistral) have the window, where there is one, in every layer.
    kinds = set(getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"])
    if unknown := kinds - {"full_attention", "sliding_attention"}:
        raise EngineError(
            f"{config.model_type}: layers of type {sorted(unknown)} are not supported; expected attention layers"
        )
    if getattr(config, "alibi", False):
        raise EngineError(f"{config.model_type}: ALiBi is not supported; expected rotary or learnt positions")
    limit = int(getattr(config, "max_position_embeddings", None) or 2**31)
    rotations = getattr(config, "rope_parameters", None) or {}
    if rotations.get("rope_type") == "longrope":
        limit = min(limit, int(rotations["original_max_position_embeddings"]))
    if "sliding_attention" in kinds and window:
        limit = min(limit, int(window))
    return limit


def positions_at_once(model: Any) -> int:
    """How many ids, padding counted, one pass of `model` may read within SCRATCH_BYTES; 1 or more.

    Counted are a layer's widest activations: three of its feed-forward part, six of its hidden states.
    """
    config = model.config.get_text_config(decoder=True)
    hidden = int(config.hidden_size)
    inner = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    itemsize: int = model.dtype.itemsize
    return max(1, SCRATCH_BYTES // (itemsize * (3 * inner + 6 * hidden)))


def of_about_one_width(widths: Sequence[int], device: torch.device) -> int:
    """How many rows, from the first on, to read in a pass of their own (>= 1), so that little of it is padding.

    widths: the ids each row has to read, falling; one or more. All rows, unless a cut saves more padding than another
    pass costs.
    """
    pass_costs = PASS_POSITIONS.get(device.type, PASS_POSITIONS["cuda"])
    rows = len(widths)
    while rows > 1:
        saved = [(rows - count) * (widths[0] - widths[count]) for count in range(1, rows)]
        if max(saved) <= pass_costs:
            break
        rows = 1 + saved.index(max(saved))
    return rows


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raises OutOfMemoryError where a device, or this machine, has no memory left."""
    try:
        yield
    except RuntimeError as error:  # torch's allocator for CPUs has no class of its own
        if isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error):
            raise OutOfMemoryError(str(error)) from error
        raise


class OutOfMemoryError(EngineError):
    """A batch that did not fit into memory."""


def raise_lost(lost: Mapping[Ids, ContextMemoryError]) -> None:
    """Raise ContextMemoryError with all contexts that were too large for the memory, alone; nothing where none was."""
    if lost:
        first = next(iter(lost.values()))
        raise ContextMemoryError(str(first), frozenset(lost)) from first
