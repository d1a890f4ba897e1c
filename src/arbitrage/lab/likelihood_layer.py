"""A language model made into a classifier whose first new layer reads off how likely each token was.

The states of a language model are about the next token, and hardly show the one they stand on. What a judge needs is
the two side by side: how likely did the model find, one place earlier, the token that is now there? So the residual
gets channels more, and the first layer above the language model is not drawn at random but set:

    base          what the language model computes, in its own channels, unchanged
    constant      1 everywhere
    line end      1 at the end of the question's line
    aside         1 at tokens that do not count: authors' marks, and separators, after the last of which a text ends
    code          of the present token: its row of the output matrix, in the principal axes of the rows of all tokens
                  that solutions are made of
    expected      attention heads look at the token before and bring, in the same axes, the state it ended with
    agreement     the feed-forward part multiplies code and expected, whose product is the present token's logit, and
                  takes off how far the logits of all tokens together stand above a threshold
    within        about 1 after the end of the question's line: another head looks for it
    outside       0 there, and about 1 before
    worst         the lowest agreement within the solution so far: the first head of the layer above begins by that

Agreement is near 0 where the token was expected and far below where it was not, about the log-probability. Everything
can be trained further. The layers of the language model neither read nor write the new channels at first; constant,
line end, mark and code stay what they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from arbitrage.lab.attention_heads import PICKY, look_back, look_for
from arbitrage.lab.generation import ZooError
from arbitrage.lab.likelihood_measures import Measured
from arbitrage.lab.models import plain_settings, silence

CODE_SHARE = 0.2
"""Size of codes and constant beside that of embeddings: small enough to leave the first layer's norm as it was."""
EXPECTED_SIZE = 0.3
"""Size of what is expected beside that of the last state."""
SEEKING = 400.0
"""Of the attention to the end of the question's line, and against what is not within the solution."""
LINEAR = 20.0
"""Where silu is a straight line."""
SMALLEST = 1e-9
"""The norms' epsilon: states are scaled to size 1, and embeddings are then small."""


@dataclass(frozen=True, slots=True)
class Channels:
    """Where in the residual what stands: `width` channels of the language model, `rank` of a code."""

    width: int
    rank: int

    @property
    def constant(self) -> int:
        """The channel that is 1 everywhere."""
        return self.width

    @property
    def line_end(self) -> int:
        """The channel that is 1 at the end of the question's line."""
        return self.width + 1

    @property
    def aside(self) -> int:
        """The channel that is 1 at tokens whose likelihood does not count."""
        return self.width + 2

    @property
    def code(self) -> slice:
        """The channels of the present token's code."""
        return slice(self.width + 3, self.width + 3 + self.rank)

    @property
    def fixed(self) -> slice:
        """The channels that no layer adds to."""
        return slice(self.width, self.code.stop)

    @property
    def expected(self) -> slice:
        """The channels of what the token before led to expect."""
        return slice(self.code.stop, self.code.stop + self.rank)

    @property
    def agreement(self) -> int:
        """The channel of the present token's likelihood."""
        return self.width + 3 + 2 * self.rank

    @property
    def within(self) -> int:
        """The channel that is about 1 within the solution."""
        return self.agreement + 1

    @property
    def outside(self) -> int:
        """The channel that is 0 within the solution."""
        return self.agreement + 2

    @property
    def worst(self) -> int:
        """The channel of the lowest agreement so far."""
        return self.agreement + 3

    @property
    def all(self) -> int:
        """How many channels there are; rounded up, and what is over is free."""
        return -(-(self.worst + 1) // 8) * 8


@torch.no_grad()
def classifier_with_likelihood(
    base: Any, measured: Measured, line_end: int, aside: Sequence[int], rank: int, new_layers: int, seed: int
) -> Any:
    """A one-logit sequence classifier: the layers of `base`, the set layer, and `new_layers` nearly silent ones.

    line_end, aside: ids of the token that ends the question's line, and of those whose likelihood does not count.

    Up to the set layer the states are those of `base`, divided by the last of their sizes. Raises ZooError where
    `rank` exceeds what its attention heads hold but one, or the set layer has too few units.
    """
    from transformers import LlamaConfig, LlamaForSequenceClassification

    depth, heads = base.config.num_hidden_layers, base.config.num_attention_heads
    channels = Channels(base.config.hidden_size, rank)
    head = channels.width // heads
    units = 2 * rank + len(measured.tokens) + 2
    if rank > (heads - 1) * head or units > base.config.intermediate_size:
        raise ZooError(
            f"rank {rank} needs {rank} channels of all heads but one, and {units} units of the feed-forward layer; the "
            f"base has {(heads - 1) * head} and {base.config.intermediate_size}: lower the rank or widen the base"
        )
    settings = plain_settings(base.config) | {"hidden_size": channels.all, "head_dim": head, "rms_norm_eps": SMALLEST}
    settings |= {"num_hidden_layers": depth + 1 + new_layers, "num_labels": 1}
    torch.manual_seed(seed)
    model: Any = LlamaForSequenceClassification(LlamaConfig(**settings))
    scale = 1 / measured.sizes[-1]
    small = CODE_SHARE * measured.sizes[0] * scale
    codes, axes = _axes(base, measured, rank)
    size = float(codes[measured.tokens].pow(2).mean().sqrt())
    rows = model.model.embed_tokens.weight.zero_()
    rows[:, : channels.width] = base.model.embed_tokens.weight * scale
    rows[:, channels.constant] = small
    rows[line_end, channels.line_end] = small
    rows[list(aside), channels.aside] = small
    rows[:, channels.code] = codes / size * small
    for number, layer in enumerate(model.model.layers):
        source = base.model.layers[number] if number < depth else None
        for name in ("input_layernorm", "post_attention_layernorm"):
            # The first layer is where states become large.
            before = measured.sizes[min(number + (number == 0 and name[0] == "p"), depth)] * scale
            _fill_norm(
                getattr(layer, name).weight, channels, before, small, None if source is None else getattr(source, name)
            )
        if source is None:
            silence(layer)
        else:
            _take_over(layer, source, channels.width, scale)
    _fill_norm(model.model.norm.weight, channels, 1.0, small, None)
    _set(model.model.layers[depth], channels, codes, axes, size, measured)
    _look_at_worst(model.model.layers[depth + 1], channels)
    torch.nn.init.zeros_(model.score.weight)
    return model


def _axes(base: Any, measured: Measured, rank: int) -> tuple[Tensor, Tensor]:
    """Codes (vocabulary, rank) and axes (rank, width): code times axes times a normed state is a centred logit."""
    rows = base.lm_head.weight * base.model.norm.weight
    centred = rows - rows[measured.tokens].mean(0)
    _, values, axes = torch.linalg.svd(centred[measured.tokens], full_matrices=False)
    rank_values = values[:rank].clamp(min=1e-6).sqrt()
    if len(rank_values) < rank:
        raise ZooError(f"rank {rank} exceeds the {len(measured.tokens)} tokens that solutions are made of; lower it")
    return centred @ axes[:rank].T / rank_values, axes[:rank] * rank_values[:, None]


def _fill_norm(weight: Tensor, channels: Channels, before: float, small: float, source: Any) -> None:
    """Make a norm give its base channels what `source` did, all others at size 1. before: the state's size there."""
    shrunk = (channels.width / channels.all) ** 0.5  # of the root mean square, by channels that are nearly empty
    weight.fill_(shrunk)
    weight[: channels.width] = shrunk * (1.0 if source is None else source.weight)
    weight[channels.fixed] = shrunk * before / small
    weight[channels.expected] = shrunk / EXPECTED_SIZE


def _take_over(layer: Any, source: Any, width: int, scale: float) -> None:
    """Make a layer do in its first channels what `source` does, on states `scale` times as large."""
    for name, matrix in layer.named_parameters():
        if matrix.ndim == 2:
            matrix.zero_()
            rows = source.get_parameter(name)
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                matrix[:width] = rows * scale
            else:
                matrix[:, :width] = rows


def _set(layer: Any, channels: Channels, codes: Tensor, axes: Tensor, size: float, measured: Measured) -> None:
    """Set the layer that computes agreement (see the top). size: of the codes, which stand at size 1 after the norm."""
    attention, rank = layer.self_attn, channels.rank
    looking = -(-rank // attention.head_dim)  # heads that look at the token before
    reach = float((axes.pow(2).sum(1).mean()) ** 0.5)  # size of the axes' products with a normed state
    for name in ("q_proj", "k_proj", "v_proj"):
        getattr(attention, name).weight[: (looking + 1) * attention.head_dim] = 0.0
    for head in range(looking):
        look_back(attention, head, channels.constant)
    attention.v_proj.weight[:rank, : channels.width] = axes / reach
    attention.o_proj.weight[channels.expected, :rank] = EXPECTED_SIZE * torch.eye(rank)
    look_for(attention, looking, channels.constant, {channels.line_end: SEEKING})
    attention.v_proj.weight[looking * attention.head_dim, channels.line_end] = 1.0
    attention.o_proj.weight[channels.within, looking * attention.head_dim] = 1.0
    gate, up, down = (getattr(layer.mlp, name).weight for name in ("gate_proj", "up_proj", "down_proj"))
    last = 2 * rank + len(measured.tokens)
    gate[: last + 2], up[: last + 2] = 0.0, 0.0
    product = size * reach / measured.spread  # of a code's and an expected channel -> share of the logit, in spreads
    for sign, first in ((1.0, 0), (-1.0, rank)):  # silu(z) w - silu(-z) w = z w
        units = slice(first, first + rank)
        gate[units, channels.expected] = sign * torch.eye(rank)
        up[units, channels.code] = torch.eye(rank)
        down[channels.agreement, units] = sign * product
    units = slice(2 * rank, last)
    sharp = 2.0  # of the bend at the threshold
    gate[units, channels.expected] = sharp * codes[measured.tokens] * reach
    gate[units, channels.constant] = -sharp * measured.threshold
    up[units, channels.constant] = 1.0
    down[channels.agreement, units] = -1 / (sharp * measured.spread)
    gate[last, channels.constant] = LINEAR
    up[last, channels.constant] = 1.0
    down[channels.agreement, last] = -measured.threshold / (LINEAR * measured.spread)
    gate[last + 1, channels.constant], gate[last + 1, channels.within] = LINEAR, -4 * LINEAR
    up[last + 1, channels.constant] = 1.0
    down[channels.outside, last + 1] = 1 / LINEAR


def _look_at_worst(layer: Any, channels: Channels) -> None:
    """Let the first head of a layer begin by looking at the token of the solution that was least expected so far."""
    attention = layer.self_attn
    for name in ("q_proj", "k_proj", "v_proj"):
        getattr(attention, name).weight[: attention.head_dim] = 0.0
    outside = dict.fromkeys((channels.outside, channels.line_end, channels.aside), -SEEKING)
    look_for(attention, 0, channels.constant, {channels.agreement: -PICKY, **outside})
    attention.v_proj.weight[0, channels.agreement] = 1.0
    attention.o_proj.weight[channels.worst, 0] = 1.0
