"""Training of the lab's language models on worked solutions, on the CPU or a GPU.

The loss counts the solution and its end only.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from arbitrage.lab.batches import IGNORED, Batch, PooledBatches, worked_solutions
from arbitrage.lab.generation import WEIGHTS, ZooError, load_language_model, load_tokenizer
from arbitrage.lab.models import deepened, llama_config, new_language_model, write_model
from arbitrage.lab.optimise import Schedule, checkpoint_of, optimise
from arbitrage.runtime.provenance import digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Shape = tuple[int, int, int, int]
"""Width, layers, heads, and width of the feed-forward layers."""


def language_loss(model: Any, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy (nats a token) of the learned tokens."""
    logits = model(input_ids=batch.ids, use_cache=False).logits[:, :-1]
    return cross_entropy(logits.flatten(0, 1).float(), batch.labels[:, 1:].flatten(), ignore_index=IGNORED)


def spread(old: int, new: int) -> list[int | None]:
    """Where `old` layers go among `new` ones, evenly, in their order: None is a new layer.

    Raises ZooError where there are more old layers than new ones.
    """
    if old > new:
        raise ZooError(f"a model of {old} layers cannot start one of {new}; give at least {old}")
    sources = {(index + 1) * new // old - 1: index for index in range(old)}
    return [sources.get(layer) for layer in range(new)]


def train_language_model(
    tokenizer_folder: Path,
    out: Path,
    shape: Shape,
    schedule: Schedule,
    seed: int,
    device: str,
    recipe: dict[str, Any],
    marked_share: float = 0.0,
) -> None:
    """Train a model of `shape` from nothing and write it, with its tokenizer, to `out`.

    recipe: what a study's `zoo` says to make this model, for its card; marked_share: see `worked_solutions`. An
    interrupted call goes on where it was. Raises DivergedError.
    """
    tokenizer = load_tokenizer(tokenizer_folder)
    model = new_language_model(llama_config(tokenizer, *shape), seed)
    batches = worked_solutions(tokenizer, "zoo-training", seed, schedule.tokens_per_batch, marked_share)
    identity = {"seed": seed, "shape": list(shape), "marked_share": marked_share}
    _train(model, tokenizer, batches, out, schedule, device, identity, recipe)


def deepen_language_model(
    base: Path, out: Path, layers: int, schedule: Schedule, seed: int, device: str, recipe: dict[str, Any]
) -> None:
    """Train a model of `layers` layers that begins as the one in `base`, and write it, with its tokenizer, to `out`.

    The layers of `base` are spread among the new model's; those between them add nothing at first (depth up-scaling).
    Give a seed other than that of `base`, so that the questions are others. An interrupted call goes on where it was.
    Raises DivergedError, and ZooError where `base` is deeper.
    """
    from transformers import LlamaForCausalLM

    tokenizer, shallow = load_tokenizer(base), load_language_model(base)
    model = deepened(shallow, LlamaForCausalLM, spread(shallow.config.num_hidden_layers, layers), seed)
    batches = worked_solutions(tokenizer, "zoo-training", seed, schedule.tokens_per_batch)
    identity = {"seed": seed, "layers": layers, "base": digest(base / WEIGHTS)}
    _train(model, tokenizer, batches, out, schedule, device, identity, recipe)


def _train(
    model: Any,
    tokenizer: "PreTrainedTokenizerFast",
    batches: PooledBatches,
    out: Path,
    schedule: Schedule,
    device: str,
    identity: dict[str, Any],
    recipe: dict[str, Any],
) -> None:
    checkpoint = checkpoint_of(out)
    print(f"{model.num_parameters():,} parameters, {schedule.steps} steps on {device}", flush=True)
    measured = optimise(model.to(device), batches, language_loss, schedule, device, checkpoint, identity)
    parts = [asdict(schedule) | measured]
    write_model(out, model, tokenizer, {"recipe": recipe, "parameters": model.num_parameters(), "parts": parts})
    checkpoint.unlink(missing_ok=True)
