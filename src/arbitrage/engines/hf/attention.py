"""Which attention a model runs with, and what it reads: the causal forward pass all engines here share."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from arbitrage.engines.hf.kv_cache import BufferCache


def attention_of(config: Any) -> str:
    """`eager` where a model caps its attention scores (Gemma 2), which torch's fused kernel cannot; else `sdpa`."""
    text = config.get_text_config(decoder=True)
    return "eager" if getattr(text, "attn_logit_softcapping", None) else "sdpa"


def engine_name(model: Any) -> str:
    """What computes with `model`, for identities."""
    suffix = " eager" if model.config._attn_implementation == "eager" else ""
    return f"transformers {version('transformers')}{suffix}"


def mask_for(model: Any, mask: Tensor | None) -> Tensor | None:
    """`mask` (True: visible) as the attention of `model` takes it: eager attention adds its mask to the scores."""
    if mask is None or model.config._attn_implementation != "eager":
        return mask
    hidden = torch.finfo(model.dtype).min
    return torch.where(mask, 0.0, hidden).to(model.dtype)


def last_logits(model: Any, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: BufferCache) -> Tensor:
    """Read `ids` [rows, n] after what `cache` holds; return a causal model's logits after the last [rows, vocabulary].

    positions: [rows, n]; mask: [rows, 1, n, columns], True where visible, or None for plain causal attention.
    """
    return logits_after(model, ids, positions, mask, cache, 1)[:, -1]


def logits_after(
    model: Any, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: BufferCache, count: int
) -> Tensor:
    """As `last_logits`, after each of the last `count` ids (1 to n): [rows, count, vocabulary]."""
    output = model(
        input_ids=ids,
        position_ids=positions,
        attention_mask=mask_for(model, mask),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=count,
    )
    logits: Tensor = output.logits
    return logits


def last_states(model: Any, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: BufferCache) -> Tensor:
    """As `last_logits`, of a causal model without its head: the last layer's state after its norm [rows, width]."""
    output = model.base_model(
        input_ids=ids,
        position_ids=positions,
        attention_mask=mask_for(model, mask),
        past_key_values=cache,
        use_cache=True,
    )
    states: Tensor = output.last_hidden_state[:, -1]
    return states


def last_logits_and_states(
    model: Any, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: BufferCache
) -> tuple[Tensor, Tensor]:
    """`last_logits` and `last_states`, from one pass."""
    output = model(
        input_ids=ids,
        position_ids=positions,
        attention_mask=mask_for(model, mask),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
        output_hidden_states=True,
    )
    return output.logits[:, -1], output.hidden_states[-1][:, -1]


def logprobs_of(logits: Tensor, ids: Tensor) -> Tensor:
    """Log-probabilities [..., n] in float32 of `ids` [..., n] by `logits` [..., n, vocabulary]; <= 0, or NaN."""
    logits = logits.float()
    given = logits.gather(-1, ids[..., None])[..., 0]
    return (given - logits.logsumexp(dim=-1)).clamp(max=0.0)
