"""Batched writing of solutions by the lab's models, for training the PRM and for evaluation.

The pipeline's own engines are not used here: the zoo stands below them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from arbitrage.engines.hf.kv_cache import BufferCache
from arbitrage.lab.families import SEPARATOR
from arbitrage.lab.tokenizer import prompt_text

BATCH_SIZE = 128
MAX_NEW_TOKENS = 320


def load_language_model(directory: Path, device: str = "cpu") -> Any:
    """A causal language model in fp32, ready to write."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval().to(device)


def load_classifier(directory: Path, device: str = "cpu") -> Any:
    """A sequence classifier in fp32, ready to score."""
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(directory, dtype=torch.float32).eval().to(device)


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
    ends = [int(tokenizer.eos_token_id), int(tokenizer.pad_token_id)]
    if stop_at_separator:
        ends.append(int(tokenizer.convert_tokens_to_ids(SEPARATOR)))
    generator = torch.Generator(model.device).manual_seed(seed)
    texts = [""] * len(contexts)
    order = sorted(range(len(contexts)), key=lambda index: len(contexts[index]))
    for start in range(0, len(order), BATCH_SIZE):
        chosen = order[start : start + BATCH_SIZE]
        rows = [contexts[index] for index in chosen]
        written = _continue_batch(model, rows, ends, temperature, generator, max_new_tokens)
        for index, ids in zip(chosen, written, strict=True):
            texts[index] = tokenizer.decode(ids)
    return texts


@torch.inference_mode()
def _continue_batch(
    model: Any,
    contexts: Sequence[list[int]],
    ends: Sequence[int],
    temperature: float,
    generator: torch.Generator,
    max_new_tokens: int,
) -> list[list[int]]:
    """The ids written after each context, the closing one left out; rows that have ended leave the batch."""
    device, longest = model.device, max(map(len, contexts))
    cache = BufferCache(model.config.num_hidden_layers, longest + max_new_tokens)
    padding = torch.tensor([longest - len(ids) for ids in contexts], device=device)
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in contexts], device=device)
    columns = torch.arange(longest + max_new_tokens, device=device)
    positions = (columns[:longest] - padding[:, None]).clamp(min=0)
    causal = columns[:longest] <= columns[:longest, None]
    itself = columns[:longest] == columns[:longest, None]  # keeps a padding query's softmax finite
    mask = ((columns[:longest] >= padding[:, None])[:, None] & causal) | itself
    written: list[list[int]] = [[] for _ in contexts]
    alive = list(range(len(contexts)))  # the row of the batch -> the context it continues
    stops = torch.tensor(ends, device=device)
    for _ in range(max_new_tokens):
        logits = model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask[:, None],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        if temperature > 0:
            tokens = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)[:, 0]
        else:
            tokens = logits.argmax(-1)
        going = ~torch.isin(tokens, stops)
        for row, (token, goes_on) in enumerate(zip(tokens.tolist(), going.tolist(), strict=True)):
            if goes_on:
                written[alive[row]].append(token)
        kept = going.nonzero()[:, 0]
        if not len(kept):
            break
        if len(kept) < len(alive):
            rows = _closed_up(going.tolist())
            cache.keep(rows)
            alive, order = [alive[row] for row in rows], torch.tensor(rows, device=device)
            tokens, padding, positions = tokens[order], padding[order], positions[order]
        ids, positions = tokens[:, None], positions[:, -1:] + 1
        mask = (columns[: cache.length + 1] >= padding[:, None])[:, None]
    return written


def _closed_up(going: Sequence[bool]) -> list[int]:
    """The rows that go on, the last ones in the places of those that ended (`BufferCache.keep`)."""
    count = sum(going)
    spare = [row for row in range(count, len(going)) if going[row]]
    return [row if going[row] else spare.pop() for row in range(count)]
