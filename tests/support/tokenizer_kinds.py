"""Tiny tokenizers of the kinds in use, and checkpoints for them: what differs is how text and spaces become ids."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from arbitrage.engines.text_codec import codec_of
from tests.support.tiny_models import BPE_TEXT, _shape, build_tokenizer

Kind = Literal["llama-2", "mistral", "phi-3", "qwen", "gemma-2", "character"]
KINDS: tuple[Kind, ...] = ("llama-2", "mistral", "phi-3", "qwen", "gemma-2", "character")
SENTENCEPIECE: tuple[Kind, ...] = ("llama-2", "mistral", "phi-3", "gemma-2")
ENDS: dict[Kind, str] = {  # what ends an answer in the chat template
    "llama-2": "</s>",
    "mistral": "</s>",
    "phi-3": "<|end|>",
    "qwen": "<|im_end|>",
    "gemma-2": "<end_of_turn>",
    "character": "<|im_end|>",
}
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]"
    "{% else %} {{ m.content | trim }} {{ eos_token }}{% endif %}{% endfor %}"
)
PHI = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer_of(kind: Kind) -> PreTrainedTokenizerFast:
    """A tokenizer of `kind`, with its family's chat template. Only `</s>` is named as end of sequence."""
    if kind == "character":
        return build_tokenizer("char")
    if kind == "qwen":
        tokenizer = build_tokenizer("bpe")
        tokenizer.bos_token = None
        tokenizer.add_tokens([AddedToken("<|im_start|>", special=True)])
        tokenizer.chat_template = CHATML
        return tokenizer
    raw = Tokenizer(models.BPE(*_vocabulary(), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    joined = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if kind == "gemma-2":
        raw.normalizer = normalizers.Replace(" ", "▁")
        raw.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        raw.decoder = decoders.Sequence(joined)
    else:
        if kind == "mistral":
            raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        else:
            raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        raw.decoder = decoders.Sequence([*joined, decoders.Strip(" ", 1, 0)])
    after = kind == "phi-3"  # its special tokens swallow the line break that follows
    extra = {"phi-3": ["<|user|>", "<|assistant|>", "<|end|>"], "gemma-2": ["<start_of_turn>", "<end_of_turn>"]}
    names = ["<unk>", "<s>", "</s>", *extra.get(kind, [])]
    raw.add_special_tokens([AddedToken(name, normalized=False, rstrip=after, special=True) for name in names])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="</s>", unk_token="<unk>"
    )
    tokenizer.chat_template = {"phi-3": PHI, "gemma-2": GEMMA}.get(kind, INST)
    return tokenizer


def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Pieces of SentencePiece's kind and their merges; line breaks are bytes."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    alphabet = [chr(code) for code in range(33, 127)]
    trainer = trainers.BpeTrainer(vocab_size=260, initial_alphabet=alphabet, show_progress=False)
    raw.train_from_iterator([line for text in BPE_TEXT for line in text.split("\n")], trainer)
    learnt = raw.get_vocab()
    state: dict[str, Any] = json.loads(raw.to_str())["model"]
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *sorted(learnt, key=learnt.get)]  # type: ignore[arg-type]
    return {word: index for index, word in enumerate(words)}, [tuple(pair) for pair in state["merges"]]


SCRIPTS = {"A": " x\n\n", "B": "x\n\n", "C": "y"}  # what the model writes behind a letter; then, behind C, its end


def build_kind(directory: Path, kind: Kind) -> Path:
    """Write a causal model with a tokenizer of `kind` that writes SCRIPTS; return its directory.

    The next token depends on the last one alone (`scripted`): layers add nothing, and rows of the output layer answer
    an embedding with the token that follows.
    """
    tokenizer = tokenizer_of(kind)
    torch.manual_seed(3)
    model = LlamaForCausalLM(LlamaConfig(**_shape(tokenizer, 2, 128)))
    ends = {"C": [tokenizer.convert_tokens_to_ids(ENDS[kind])]}
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.lm_head.weight.zero_()
        embedding = torch.nn.functional.normalize(model.model.embed_tokens.weight, dim=-1)
        codec = codec_of(tokenizer)
        for start, text in SCRIPTS.items():
            for last, following in pairwise([*codec.ids(start), *codec.ids(text), *ends.get(start, [])]):
                model.lm_head.weight[following] += 2 * embedding[last]
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
