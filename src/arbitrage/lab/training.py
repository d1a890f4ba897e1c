"""Training of the lab's language models on worked solutions, on the CPU or a GPU.

`arbitrage zoo-model --role draft --tokenizer DIR --out DIR` trains one model as the study's `zoo` says; the loss counts
the solution and its end only.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from arbitrage.lab.batches import IGNORED, Batch, worked_solutions
from arbitrage.lab.models import WEIGHTS, deepened, llama_config, new_language_model, write_model
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

    Raises ValueError where there are more old layers than new ones.
    """
    if old > new:
        raise ValueError(f"a model of {old} layers cannot start one of {new}; give at least {old}")
    places = {(index + 1) * new // old - 1: index for index in range(old)}
    return [places.get(place) for place in range(new)]


def train_language_model(
    tokenizer: "PreTrainedTokenizerFast",
    out: Path,
    shape: Shape,
    schedule: Schedule,
    seed: int,
    device: str,
    start: Path | None = None,
    marked_share: float = 0.0,
) -> Any:
    """Train a model of `shape` and write it, with its tokenizer, to `out`; returns it.

    With `start`, a shallower model of the same width, its layers are spread among the new model's: those between them
    add nothing at first (depth up-scaling). `marked_share`: see `worked_solutions`. An interrupted call goes on where it was.
    """
    from transformers import LlamaForCausalLM

    from arbitrage.lab.generation import load_language_model

    if start is None:
        model: Any = new_language_model(llama_config(tokenizer, *shape), seed)
    else:
        base = load_language_model(start)
        model = deepened(base, LlamaForCausalLM, spread(base.config.num_hidden_layers, shape[1]), seed)
    model.to(device)
    print(f"{model.num_parameters():,} parameters, {schedule.steps} steps on {device}", flush=True)
    batches = worked_solutions(tokenizer, "zoo-training", seed, schedule.tokens_per_batch, marked_share)
    identity: dict[str, Any] = {"seed": seed, "shape": list(shape), "marked_share": marked_share}
    identity["start"] = None if start is None else digest(start / WEIGHTS)
    checkpoint = checkpoint_of(out)
    measured = optimise(model, batches, language_loss, schedule, device, checkpoint, identity)
    record = identity | {"parameters": model.num_parameters(), **asdict(schedule), **measured}
    write_model(out, model, tokenizer, record)
    checkpoint.unlink()
    return model
