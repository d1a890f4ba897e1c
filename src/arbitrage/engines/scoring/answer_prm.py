"""PRMs that answer with a token, and judges: a causal model's choice between two tokens that may follow the step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from arbitrage.config.prm import Prm
from arbitrage.engines.checkpoints import Checkpoint
from arbitrage.engines.hf.attention import last_logits
from arbitrage.engines.hf.kv_cache import BufferCache
from arbitrage.engines.scoring.scorers import TransformersScorer, prm_placement
from arbitrage.engines.scoring.templates import TemplateReader


class _Rows(torch.nn.Module):
    """Some rows of an output layer, in float32."""

    def __init__(self, layer: torch.nn.Linear, rows: list[int]) -> None:
        super().__init__()
        self.weight = layer.weight[rows].float()
        bias: Tensor | None = layer.bias
        self.bias = None if bias is None else bias[rows].float()

    def forward(self, states: Tensor) -> Tensor:
        """Logits [..., rows] of hidden states [..., width]."""
        return torch.nn.functional.linear(states.float(), self.weight, self.bias)


class AnswerScorer(TransformersScorer):
    """P(right) = softmax over the logits of two tokens, `template.wrong` and `template.right`, at the last id.

    Math-Shepherd and RLHFlow (`prm.kind: token`) answer with `+` or `-`; a judge with `Yes` or `No`.
    """

    def __init__(self, checkpoint: Checkpoint, prm: Prm, separator: str) -> None:
        """Raises EngineError where the model is not causal, or the tokens are not in its tokenizer."""
        template = prm.resolved_template(prm.kind)

        def reader(tokenizer: Any) -> TemplateReader:
            template_reader = TemplateReader(checkpoint.path, tokenizer, template, separator)
            self.candidates = template_reader.candidates()  # before any weights are read
            return template_reader

        super().__init__(prm_placement(checkpoint, prm), ("ForCausalLM",), reader)
        self._columns, layer = list(self.candidates), self.model.get_output_embeddings()
        if self.narrow and isinstance(layer, torch.nn.Linear):
            self.model.set_output_embeddings(_Rows(layer, self._columns))  # the model may still cap or scale logits
            self._columns = [0, 1]

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: BufferCache) -> Tensor:
        """Read `ids` [rows, n] after what `cache` holds; return the two tokens' logits: wrong, right [rows, 2]."""
        return last_logits(self.model, ids, positions, mask, cache)[:, self._columns]

    def scalars(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=-1)[:, 1]
