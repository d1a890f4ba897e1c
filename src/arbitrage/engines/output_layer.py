"""Whether a language model's output layer is stored as its configuration says: of its own, or as the input embeddings.

Where a configuration ties nothing and no output layer is stored, it would be random. Where one ties them and another
one is stored, transformers takes what is stored and vLLM the embeddings: different weights under one name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from arbitrage.engines.weight_files import stored_tensors
from arbitrage.speculation.protocols import EngineError

_OUTPUT = re.compile(r"(?:^|\.)(?:lm_head|embed_out|output_layer)\.|^output\.")  # names that checkpoints have for it
ROWS = 16  # compared of two matrices: an output layer trained on its own differs in every row


def require_output_layer(path: str, directory: Path, config: Any) -> None:
    """Raise EngineError where the output layer of a causal model in `directory` is missing or not the one to be used.

    path: as the study names it; config: its config.json as transformers reads it. Where neither weights nor an index of
    them are here yet, nothing can be said.
    """
    stored = stored_tensors(directory)
    if stored is None:
        return
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except ValueError:  # a kind of which transformers has no class; vLLM may have one
        return
    output, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if output is None:
        return
    if output.weight is not embeddings.weight:
        if not any(map(_OUTPUT.search, stored)):
            raise EngineError(
                f"{path}: config.json ties no embeddings, but its files have no output layer (lm_head): "
                "it would be random; fetch the checkpoint again, or set tie_word_embeddings: true if it was trained so"
            )
        return
    names = [f"{name}.weight" for name, module in model.named_modules() if module in (output, embeddings)]
    rows = [_rows(stored[name], name) for name in names if name in stored and stored[name].is_file()]
    if len(rows) == 2 and not torch.equal(*rows):
        raise EngineError(
            f"{path}: config.json ties embeddings, but its files have an output layer (lm_head) other "
            "than the embeddings: transformers would use it, vLLM would not; set tie_word_embeddings: false if it was "
            "trained so, or drop it from the files"
        )


def _rows(file: Path, name: str) -> torch.Tensor:
    """About ROWS rows of a matrix in a safetensors file, evenly spaced, and one of its height: (rows, columns)."""
    with safe_open(file, framework="pt") as stored:
        matrix = stored.get_slice(name)
        height, width = matrix.get_shape()
        step = max(1, height // ROWS)
        rows = [matrix[row : row + 1].float() for row in range(0, height, step)]
        return torch.cat([*rows, torch.full((1, width), float(height))])
