"""Tiny checkpoints with random weights, for tests of engines and of what stands on them.

Random weights almost never write a separator, so the rows of the output layer that belong to tokens with a line break
and to end-of-sequence tokens are scaled up: greedy texts then hold short steps of every kind of ending.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from arbitrage.config.study import Study

TokenizerKind = Literal["char", "bpe"]
Architecture = Literal["llama", "qwen2"]

BOS, EOS, TURN, PAD = "<s>", "</s>", "<|im_end|>", "<pad>"
SPECIALS = [PAD, BOS, EOS, TURN]
CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;+-*/=()[]{}?!'\"\\$^_<>|%&#@~`\n"
CHAR_WORDS = ["\n\n", "\\boxed{", "Model 0: ", "Model 1: "]  # single tokens, as in the lab's tokenizer
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
# Qwen's split: punctuation takes the line breaks that follow it into one piece, so merges such as ".\n\n" exist.
QWEN_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
TWO_CLASSES = {"classes": 2, "boundary": 1, "ordinal": False, "annotate": True, "separator": "\n\n"}  # a router.json
BPE_TEXT = [
    "First we add 3 and 4.\n\nThen the sum is 7.\n\nSo \\boxed{7}\n\n",
    "Let x = 2.\n\n\nThen x + x = 4.\n\nThe answer is {4}\n\n\nModel 0: Model 1: ",
    "a\n\nb\nc\n\n\nd}\n\ne.\n\nf.\n\n\ng}\n\nh)\n\n",
] * 8


def build_tokenizer(kind: TokenizerKind) -> PreTrainedTokenizerFast:
    """`char`: a character a token, the separator and three others whole. `bpe`: byte-level, merges over line breaks."""
    if kind == "char":
        words = [*SPECIALS, "<unk>", *CHAR_WORDS, *CHARACTERS]
        vocabulary = {word: index for index, word in enumerate(words)}
        raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        whole = "|".join(["\n\n", r"\\boxed\{", "Model 0: ", "Model 1: "])
        raw.pre_tokenizer = pre_tokenizers.Split(Regex(rf"{whole}|[\s\S]"), behavior="isolated")
        raw.decoder = decoders.Fuse()
    else:
        raw = Tokenizer(models.BPE())
        raw.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        raw.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=SPECIALS,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        raw.train_from_iterator(BPE_TEXT, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token=BOS, eos_token=EOS, pad_token=PAD, additional_special_tokens=[TURN]
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _shape(tokenizer: PreTrainedTokenizerFast, layers: int, width: int) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": False,
        "initializer_range": 0.25,  # large, so that what is written depends on the whole context
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def build_causal(
    directory: Path,
    tokenizer_kind: TokenizerKind = "char",
    seed: int = 0,
    architecture: Architecture = "llama",
    layers: int = 2,
    width: int = 32,
) -> Path:
    """Write a causal model with `</s>` as end of sequence and `<|im_end|>` as a secondary one; return its directory.

    `qwen2` needs `bpe`: transformers loads every Qwen2 tokenizer with Qwen's own splitting rule.
    """
    tokenizer = build_tokenizer(tokenizer_kind)
    torch.manual_seed(seed)
    shape = _shape(tokenizer, layers, width)
    model = (
        LlamaForCausalLM(LlamaConfig(**shape)) if architecture == "llama" else Qwen2ForCausalLM(Qwen2Config(**shape))
    )
    eos_ids = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(TURN)]
    texts = tokenizer.batch_decode([[index] for index in range(len(tokenizer))])
    with torch.no_grad():
        for index, text in enumerate(texts):
            if "\n" in text:
                model.lm_head.weight[index] *= 1.6
        model.lm_head.weight[eos_ids] *= 1.2
    model.generation_config.eos_token_id = eos_ids
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def build_classifier(
    directory: Path,
    tokenizer_kind: TokenizerKind = "char",
    seed: int = 1,
    head: Literal["sequence", "token"] = "sequence",
    labels: int = 1,
    router: dict[str, Any] | None = None,
    layers: int = 2,
    width: int = 32,
) -> Path:
    """Write a PRM, or with `router` (the content of router.json) a router; return its directory."""
    tokenizer = build_tokenizer(tokenizer_kind)
    torch.manual_seed(seed)
    config = LlamaConfig(**_shape(tokenizer, layers, width), num_labels=labels)  # type: ignore[call-arg]
    model = (LlamaForSequenceClassification if head == "sequence" else LlamaForTokenClassification)(config)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    if router is not None:
        (directory / "router.json").write_text(json.dumps(router))
    return directory


def router_from(prm: Path, directory: Path, seed: int) -> Path:
    """Write a PRM with a random new head of two labels, as a router is before its training; return its directory."""
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(prm, num_labels=2, ignore_mismatched_sizes=True)
    torch.nn.init.normal_(model.score.weight, std=0.2)
    model.save_pretrained(directory)
    AutoTokenizer.from_pretrained(prm).save_pretrained(directory)
    (directory / "router.json").write_text(json.dumps(TWO_CLASSES))
    return directory


def widen_heads(source: Path, directory: Path, size: int = 32) -> Path:
    """Write the Llama model in `source` with attention heads of `size`, which computes the same; return `directory`.

    vLLM's CPU build has kernels for some sizes only. Zeros are added where they change nothing: rotary embeddings turn
    the two halves of a head against each other, at frequencies that a larger `rope_theta` keeps; softmax divides by the
    root of the size.
    """
    model = LlamaForCausalLM.from_pretrained(source, dtype="float32")
    settings = model.config.to_dict()
    old, half = settings["head_dim"], settings["head_dim"] // 2
    theta = settings["rope_parameters"]["rope_theta"]
    settings |= {"head_dim": size, "rope_parameters": {"rope_type": "default", "rope_theta": theta ** (size / old)}}
    wide = LlamaForCausalLM(LlamaConfig(**settings))
    places = torch.cat([torch.arange(half), size // 2 + torch.arange(half)])
    weights = model.state_dict()
    for name, weight in list(weights.items()):
        kind = name.split(".")[-2]
        if kind in ("q_proj", "k_proj", "v_proj"):
            heads = weight.view(-1, old, weight.shape[1])
            padded = heads.new_zeros(heads.shape[0], size, weight.shape[1])
            padded[:, places] = heads * ((size / old) ** 0.5 if kind == "q_proj" else 1.0)
            weights[name] = padded.flatten(0, 1)
        elif kind == "o_proj":
            heads = weight.view(weight.shape[0], -1, old)
            padded = heads.new_zeros(weight.shape[0], heads.shape[1], size)
            padded[:, :, places] = heads
            weights[name] = padded.flatten(1)
    wide.load_state_dict(weights)
    wide.generation_config = model.generation_config
    shutil.copytree(source, directory, dirs_exist_ok=True)
    wide.save_pretrained(directory)
    return directory


def tiny_study(folder: Path, max_steps: int, **sections: Any) -> Study:
    """A study `tiny` in `folder`, of models built there: one pair `p`, a PRM, the benchmark lab500.

    max_steps: of a solution; sections: what else its configuration says.
    """
    build_causal(folder / "draft", seed=3)
    build_causal(folder / "target", seed=4)
    build_classifier(folder / "prm")
    return Study.model_validate(
        {
            "study": "tiny",
            "results": str(folder / "results"),
            "models": {name: {"path": str(folder / name)} for name in ("draft", "target")},
            "pairs": {"p": {"draft": "draft", "target": "target"}},
            "prm": {"path": str(folder / "prm")},
            "benchmarks": {"lab500": {"source": "lab500"}},
            "generation": {"max_steps": max_steps, "max_tokens": 60, "max_step_tokens": 12},
            "steps": {"shards": 1},
            **sections,
        }
    )
