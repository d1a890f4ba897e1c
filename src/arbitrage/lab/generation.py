"""Batched writing of solutions by the lab's models, for training the PRM and for evaluation.

The pipeline's own engines are not used here: the zoo stands below them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from arbitrage.lab.families import SEPARATOR
from arbitrage.lab.tokenizer import prompt_text

BATCH_SIZE = 128
MAX_NEW_TOKENS = 320


def load_language_model(directory: Path, device: str = "cpu") -> Any:
    """A causal language model in fp32, ready to write."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval().to(device)


def load_tokenizer(directory: Path) -> Any:
    """The tokenizer of a model directory."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory)


def split_steps(solution: str) -> list[str]:
    """The steps of a solution, separators removed; an empty rest after a closing separator is no step."""
    steps = solution.split(SEPARATOR)
    return steps[:-1] if steps[-1] == "" else steps


def context_ids(tokenizer: Any, problem: str, steps: Sequence[str] = ()) -> list[int]:
    """BOS, the question's line, and each step closed by the separator token."""
    ids = [tokenizer.bos_token_id, *tokenizer.encode(prompt_text(problem), add_special_tokens=False)]
    separator = tokenizer.convert_tokens_to_ids(SEPARATOR)
    for step in steps:
        ids += [*tokenizer.encode(step, add_special_tokens=False), separator]
    return ids


@torch.inference_mode()
def continue_texts(
    model: Any,
    tokenizer: Any,
    contexts: Sequence[list[int]],
    temperature: float = 0.0,
    seed: int = 0,
    max_new_tokens: int = MAX_NEW_TOKENS,
    stop_at_separator: bool = False,
) -> list[str]:
    """What the model writes after each context, up to its end of sequence (not included), in the contexts' order.

    Temperature 0 is greedy. With `stop_at_separator`, one step each (its separator not included).
    """
    torch.manual_seed(seed)
    ends = [int(tokenizer.eos_token_id)]
    if stop_at_separator:
        ends.append(int(tokenizer.convert_tokens_to_ids(SEPARATOR)))
    pad = int(tokenizer.pad_token_id)
    texts = [""] * len(contexts)
    order = sorted(range(len(contexts)), key=lambda index: len(contexts[index]))
    for start in range(0, len(order), BATCH_SIZE):
        chosen = order[start : start + BATCH_SIZE]
        longest = max(len(contexts[index]) for index in chosen)
        padded = torch.tensor([[pad] * (longest - len(contexts[index])) + contexts[index] for index in chosen])
        padded = padded.to(model.device)
        written = model.generate(
            padded,
            attention_mask=(padded != pad).long(),
            max_new_tokens=max_new_tokens,
            do_sample=temperature > 0,
            temperature=temperature or None,
            top_k=None,
            top_p=None,
            eos_token_id=ends,
            pad_token_id=pad,
        )[:, longest:].tolist()
        for index, ids in zip(chosen, written, strict=True):
            end = next((place for place, token in enumerate(ids) if token in ends or token == pad), len(ids))
            texts[index] = tokenizer.decode(ids[:end])
    return texts
