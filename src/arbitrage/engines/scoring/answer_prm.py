"""PRMs that answer with a token, and judges: a causal model's choice between two tokens that may follow the step."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from arbitrage.config.prm import Prm
from arbitrage.engines.hf.kv_cache import BufferCache
from arbitrage.engines.scoring.scorers import TransformersScorer, prm_placement
from arbitrage.engines.scoring.templates import TemplateReader


class AnswerScorer(TransformersScorer):
    """P(right) = softmax over the logits of two tokens, `template.wrong` and `template.right`, at the last id.

    Math-Shepherd and RLHFlow (`prm.kind: token`) answer with `+` or `-`; a judge with `Yes` or `No`.
    """

    def __init__(self, path: str, prm: Prm, separator: str, threads: int) -> None:
        """Raises EngineError where the model is not causal, or the tokens are not in its tokenizer."""
        template = prm.resolved_template(prm.kind)

        def reader(tokenizer: Any) -> TemplateReader:
            made = TemplateReader(path, tokenizer, template, separator)
            self.candidates = made.candidates()  # before any weights are read
            return made

        super().__init__(prm_placement(path, prm, threads), ("ForCausalLM",), reader)

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: BufferCache) -> Tensor:
        """Read `ids` [rows, n] after what `cache` holds; return the two tokens' logits: wrong, right [rows, 2]."""
        output = self.model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1, list(self.candidates)]
        return logits

    def scalars(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=-1)[:, 1]
