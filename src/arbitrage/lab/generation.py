"""Batched writing of solutions by the lab's models, for training the PRM and for evaluation.

The pipeline's own engines are not used here: the zoo stands below them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from arbitrage.engines.hf.kv_cache import BufferCache
from arbitrage.errors import UserError
from arbitrage.lab.families import SEPARATOR
from arbitrage.lab.tokenizer import ADDED, prompt_text

WEIGHTS = "model.safetensors"
BATCH_SIZES = {"cpu": 128, "cuda": 512}  # on a GPU, a pass over many rows takes about as long as one over few
MAX_NEW_TOKENS = 320


class ZooError(UserError, ValueError):
    """A directory is not the model of the lab that it should be."""


def load_language_model(directory: Path, device: str = "cpu") -> Any:
    """A causal language model in fp32, ready to write. Raises ZooError."""
    from transformers import AutoModelForCausalLM

    return _load(AutoModelForCausalLM, directory, device)


def load_classifier(directory: Path, device: str = "cpu") -> Any:
    """A sequence classifier in fp32, ready to score. Raises ZooError."""
    from transformers import AutoModelForSequenceClassification

    return _load(AutoModelForSequenceClassification, directory, device)


def load_tokenizer(directory: Path) -> Any:
    """The tokenizer of a model directory. Raises ZooError where it is not there, or not one of the lab's."""
    from transformers import AutoTokenizer

    _require_files(directory, "tokenizer.json", "tokenizer_config.json")
    tokenizer = AutoTokenizer.from_pretrained(directory)
    missing = [text for text in ADDED if len(tokenizer.encode(text, add_special_tokens=False)) != 1]
    if missing:
        raise ZooError(
            f"{directory}: its tokenizer has no token of its own for {missing[0]!r}; expected one of the lab, where "
            "the step separator, the box and the authors' marks are tokens: make it with `arbitrage zoo-tokenizer`"
        )
    return tokenizer


def require_one_vocabulary(directories: Sequence[Path]) -> None:
    """Raise ZooError unless the tokenizers in `directories` have the same tokens, with the same ids."""
    first, *others = directories
    vocabulary = load_tokenizer(first).get_vocab()
    for other in others:
        if load_tokenizer(other).get_vocab() != vocabulary:
            raise ZooError(
                f"{other}: another vocabulary than {first}; models of one zoo are trained with one tokenizer: "
                "train this one anew"
            )


def _load(kind: Any, directory: Path, device: str) -> Any:
    _require_files(directory, "config.json", WEIGHTS)
    return kind.from_pretrained(directory, dtype=torch.float32, use_safetensors=True).eval().to(device)


def _require_files(directory: Path, *names: str) -> None:
    missing = [name for name in names if not (directory / name).is_file()]
    if missing:
        raise ZooError(f"{directory}: no {' and no '.join(missing)}; the model is incomplete: make it anew")


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
    size = BATCH_SIZES.get(model.device.type, BATCH_SIZES["cuda"])
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
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
