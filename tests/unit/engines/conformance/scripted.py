"""A checkpoint that writes what it is told to: the next token depends on the last one alone.

Attention and feed-forward layers add nothing, so a token's embedding reaches the output layer, whose rows are set to
answer it with the next token of a script. Whatever an engine makes of the end of a step can so be asked for by name.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from tests.support.tiny_models import BOS, EOS, TURN, build_causal

# What follows each first piece, in pieces of one token each; one that ends in an earlier piece goes on for ever.
SCRIPTS = {
    "inside": ["A", "b", ".\n\n", "c"],
    "inside and on": ["B", "d", ".\n\n\n", "e"],
    "alone": ["C", "\n\n", "f"],
    "across": ["D", "g", "\n", "\n"],
    "eos": ["E", "h", EOS, "i"],
    "second eos": ["F", "j", TURN, "k"],
    "eos at once": ["G", EOS],
    "special": ["H", "l", BOS, "m", "}\n\n", "n"],
    "endless": ["I", "o", "p", "o"],
}


def build_scripted(directory: Path) -> Path:
    """Write the checkpoint, with heads as wide as vLLM wants them; return its directory."""
    build_causal(directory, "bpe", width=128)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
    model = LlamaForCausalLM.from_pretrained(directory)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.lm_head.weight.zero_()
        embedding = torch.nn.functional.normalize(model.model.embed_tokens.weight, dim=-1)
        for pieces in SCRIPTS.values():
            for piece, following in pairwise(pieces):
                model.lm_head.weight[_token(tokenizer, following)] += 2 * embedding[_token(tokenizer, piece)]
    model.save_pretrained(directory)
    return directory


def context_of(tokenizer: PreTrainedTokenizerFast, script: str, length: int = 2) -> tuple[int, ...]:
    """A context of `length` ids after which the script is written."""
    start = _token(tokenizer, SCRIPTS[script][0])
    return (_token(tokenizer, BOS),) + (start,) * (length - 1)


def _token(tokenizer: PreTrainedTokenizerFast, piece: str) -> int:
    (index,) = tokenizer.encode(piece, add_special_tokens=False)
    return int(index)
