"""A language model made into a classifier in which every layer sees the present token.

The states of a trained language model are large, and no longer show which token they stand on: they are about the next
one. A judge has to compare the two. So its residual has some channels more, in which every token has a fixed random
code; layers read these channels and never write to them. At first the layers taken over do not read them either, and
compute what they did.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import rms_norm

from arbitrage.lab.models import plain_settings, silence

CODE_SHARE = 0.2
"""Size of a token's code beside that of its embedding: small enough to leave the first layer's norm as it was."""
SMALLEST = 1e-9
"""The norms' epsilon: states are scaled to size 1, and embeddings are then small."""


@torch.no_grad()
def state_sizes(model: Any, ids: Tensor) -> list[float]:
    """Root mean square of the states before each layer and after the last, over tokens `ids` (documents, positions)."""
    states = model.model(input_ids=ids, use_cache=False, output_hidden_states=True)
    before = [*states.hidden_states[:-1]]
    last = _before_final_norm(model, ids)
    return [float(state[:, 1:].pow(2).mean().sqrt()) for state in [*before, last]]


def _before_final_norm(model: Any, ids: Tensor) -> Tensor:
    kept: list[Tensor] = []
    hook = model.model.norm.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
    model.model(input_ids=ids, use_cache=False)
    hook.remove()
    return kept[0]


@torch.no_grad()
def classifier_with_token_channels(
    base: Any, layers: Sequence[int | None], channels: int, sizes: Sequence[float], seed: int
) -> Any:
    """A one-logit sequence classifier: layer k is layer `layers[k]` of `base`, or a new, silent one where that is None.

    channels: how many hold the token's code; sizes: `state_sizes` of `base`. Up to the first new layer, the states are
    those of `base`, divided by the last size, in the first channels.
    """
    from transformers import LlamaConfig, LlamaForSequenceClassification

    width = base.config.hidden_size
    settings = plain_settings(base.config) | {"hidden_size": width + channels, "num_hidden_layers": len(layers)}
    settings |= {"head_dim": width // base.config.num_attention_heads, "num_labels": 1, "rms_norm_eps": SMALLEST}
    torch.manual_seed(seed)
    model: Any = LlamaForSequenceClassification(LlamaConfig(**settings))
    scale = 1 / sizes[-1]
    embeddings = base.model.embed_tokens.weight
    code = torch.randn(len(embeddings), channels)
    code *= CODE_SHARE * sizes[0] * scale / code.pow(2).mean(1, keepdim=True).sqrt()  # of one size for all tokens
    model.model.embed_tokens.weight.copy_(torch.cat([embeddings * scale, code], 1))
    shrunk = (width / (width + channels)) ** 0.5  # of a state's size, by channels that are nearly empty

    def fill_norm(norm: Any, given: Tensor | None, size: float) -> None:
        norm.weight[:width] = shrunk * (1.0 if given is None else given)
        norm.weight[width:] = shrunk * size / (CODE_SHARE * sizes[0])

    for number, (layer, taken) in enumerate(zip(model.model.layers, layers, strict=True)):
        source = None if taken is None else base.model.layers[taken]
        size = sizes[-1] if taken is None else sizes[taken]
        fill_norm(layer.input_layernorm, None if source is None else source.input_layernorm.weight, size)
        after = size if number else sizes[1]  # the first layer is where states become large
        fill_norm(
            layer.post_attention_layernorm, None if source is None else source.post_attention_layernorm.weight, after
        )
        if source is None:
            silence(layer)
            continue
        for name, matrix in layer.named_parameters():
            if matrix.ndim != 2:
                continue
            matrix.zero_()
            rows = source.get_parameter(name)
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                matrix[:width] = rows * scale
            else:
                matrix[:, :width] = rows
    fill_norm(model.model.norm, None, sizes[-1])
    torch.nn.init.zeros_(model.score.weight)
    return model


def keep_token_channels(model: Any, width: int) -> None:
    """Let no training write to the channels from `width` on: neither the codes nor what layers add there."""
    for name, matrix in model.named_parameters():
        mask = torch.ones_like(matrix)
        if "embed_tokens" in name:
            mask[:, width:] = 0
        elif name.endswith(("o_proj.weight", "down_proj.weight")):
            mask[width:] = 0
            with torch.no_grad():
                matrix.mul_(mask)
        else:
            continue
        matrix.register_hook(mask.mul)


def base_part(state: Tensor, width: int) -> Tensor:
    """The first `width` channels of a state, at size 1."""
    return rms_norm(state[..., :width], (width,))
