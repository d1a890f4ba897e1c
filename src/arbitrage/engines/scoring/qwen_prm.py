"""Qwen2.5-Math-PRM's architecture: Qwen2 with a head of two layers, read at `<extra_0>` marks.

Its checkpoints bring code of their own for this, which is not run here; the weights go by the same names.
"""

from __future__ import annotations

import torch
from transformers import Qwen2Config, Qwen2Model, Qwen2PreTrainedModel


class Qwen2ForProcessRewardModel(Qwen2PreTrainedModel):
    """`score`: hidden -> hidden, ReLU, -> `num_labels` (2: wrong, right). Scorers call `base_model` and `score`."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__(config)
        self.model = Qwen2Model(config)
        width, labels = int(config.hidden_size), int(config.num_labels or 2)
        self.score = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, labels))
        self.post_init()  # type: ignore[no-untyped-call]
