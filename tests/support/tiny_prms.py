"""Tiny PRMs with random weights, of the kinds that real ones come in, and what they are to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from arbitrage.engines.scoring.qwen_prm import Qwen2ForProcessRewardModel
from arbitrage.speculation.steps import AuthoredStep
from tests.support.tiny_models import Architecture, _shape, build_tokenizer

PROBLEM = "What is 3 + 4?"
STEPS = [
    AuthoredStep("draft", "First we add.\n\n"),
    AuthoredStep("target", "So x = 7.\n\n"),
    AuthoredStep("draft", "{7}"),
]
TEXTS = ["First we add.", "So x = 7.", "{7}"]
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def prm_tokenizer(*words: str, chat_template: str | None = CHAT) -> PreTrainedTokenizerFast:
    """The byte-level tokenizer of `tiny_models` with `words` as tokens of their own, without BOS as Qwen's are."""
    tokenizer = build_tokenizer("bpe")
    tokenizer.bos_token = None
    tokenizer.add_tokens(["<|im_start|>", *words])
    tokenizer.chat_template = chat_template  # type: ignore[assignment]
    return tokenizer


def small(tokenizer: Any, width: int = 32, **more: Any) -> dict[str, Any]:
    """A configuration of two layers."""
    return _shape(tokenizer, 2, width) | {"bos_token_id": None} | more


def save(model: Any, tokenizer: Any, directory: Path, **options: Any) -> Path:
    model.save_pretrained(directory, **options)
    tokenizer.save_pretrained(directory)
    return directory


def build_marked(directory: Path, tokenizer: Any, seed: int = 5) -> Path:
    """As Qwen2.5-Math-PRM is: Qwen2, a head of two layers, and a config that names code of the checkpoint's own."""
    torch.manual_seed(seed)
    save(Qwen2ForProcessRewardModel(Qwen2Config(**small(tokenizer), num_labels=2)), tokenizer, directory)
    config = json.loads((directory / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "modeling_qwen2_rm.Qwen2ForProcessRewardModel"}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def build_answering(directory: Path, tokenizer: Any, architecture: Architecture = "llama", seed: int = 6) -> Path:
    """A causal model, which answers with a token."""
    torch.manual_seed(seed)
    shape = small(tokenizer)
    model = (
        LlamaForCausalLM(LlamaConfig(**shape)) if architecture == "llama" else Qwen2ForCausalLM(Qwen2Config(**shape))
    )
    return save(model, tokenizer, directory)


def build_value_head(
    directory: Path,
    tokenizer: Any,
    *,
    bias: bool = False,
    sharded: bool = False,
    prefix: str = "",
    seed: int = 7,
    width: int = 32,
) -> Path:
    """As Skywork-o1-Open-PRM is: a causal Qwen2, and `v_head.summary` beside it, under the name Qwen2ForPrmModel."""
    torch.manual_seed(seed)
    options = {"max_shard_size": "30KB"} if sharded else {}
    save(Qwen2ForCausalLM(Qwen2Config(**small(tokenizer, width))), tokenizer, directory, **options)
    config = json.loads((directory / "config.json").read_text())
    config |= {"architectures": ["Qwen2ForPrmModel"], "auto_map": {"AutoModel": "prm_model.Qwen2ForPrmModel"}}
    (directory / "config.json").write_text(json.dumps(config))
    head = {"v_head.summary.weight": torch.randn(1, width)} | ({"v_head.summary.bias": torch.randn(1)} if bias else {})
    files = sorted(directory.glob("*.safetensors"))
    for number, file in enumerate(files):
        tensors = {prefix + name: tensor for name, tensor in load_file(file).items()}
        save_file(tensors | (head if number == len(files) - 1 else {}), file, metadata={"format": "pt"})
    if sharded:
        index = directory / "model.safetensors.index.json"
        listed = json.loads(index.read_text())
        listed["weight_map"] = {prefix + name: file for name, file in listed["weight_map"].items()}
        listed["weight_map"] |= dict.fromkeys(head, files[-1].name)
        index.write_text(json.dumps(listed))
    return directory
