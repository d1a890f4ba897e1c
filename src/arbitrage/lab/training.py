"""Training of the lab's language models from nothing, on the CPU or a GPU.

`arbitrage zoo-model --role target --tokenizer DIR --out DIR` trains one model as the study's `zoo` says.
Hidden matrices are trained with Muon, everything else with AdamW; the loss counts the solution and its end only.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from arbitrage.io.atomic import whole_directory
from arbitrage.lab.batches import IGNORED, Batch, language_batches
from arbitrage.runtime.provenance import write_json

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast

REPORT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train. The learning rate warms up linearly and then falls linearly to zero."""

    steps: int
    tokens_per_batch: int = 1536
    batches_per_step: int = 2
    learning_rate: float = 2e-3
    hidden_factor: float = 5.0
    warmup_share: float = 0.03
    weight_decay: float = 0.01
    gradient_clip: float = 1.0

    def factor(self, step: int) -> float:
        """The share of the peak learning rate at a step counted from 0."""
        warmup = max(1, int(self.steps * self.warmup_share))
        if step < warmup:
            return (step + 1) / warmup
        return (self.steps - step) / max(1, self.steps - warmup)


def llama_config(
    tokenizer: "PreTrainedTokenizerBase", width: int, layers: int, heads: int, inner: int
) -> "LlamaConfig":
    """A Llama configuration of the lab's vocabulary; `inner` is the width of the feed-forward layers."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=1024,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def language_loss(model: Any, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy (nats a token) of the learned tokens."""
    logits = model(input_ids=batch.ids, use_cache=False).logits[:, :-1]
    return cross_entropy(logits.flatten(0, 1).float(), batch.labels[:, 1:].flatten(), ignore_index=IGNORED)


def make_optimizers(model: torch.nn.Module, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings, heads and norms; frozen weights stay out."""
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    hidden = [p for name, p in learned.items() if p.ndim == 2 and ".layers." in name]
    known = {id(p) for p in hidden}
    rest = [p for p in learned.values() if id(p) not in known]
    muon = torch.optim.Muon(
        hidden,
        lr=schedule.learning_rate * schedule.hidden_factor,
        weight_decay=schedule.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    return [muon, torch.optim.AdamW(rest, lr=schedule.learning_rate, betas=(0.9, 0.95), weight_decay=0.0)]


def optimise(
    model: torch.nn.Module,
    batches: Iterator[Batch],
    loss_of: Callable[[Any, Batch], torch.Tensor],
    schedule: Schedule,
    device: str,
) -> dict[str, float]:
    """Train in place; prints a progress line every few seconds. Returns last mean loss, tokens seen and seconds."""
    optimizers = make_optimizers(model, schedule)
    peaks = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    started = reported = time.monotonic()
    tokens, losses = 0, []
    model.train()
    for step in range(schedule.steps):
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group, peak in zip(groups, peaks, strict=True):
            group["lr"] = peak * schedule.factor(step)
        # A batch holds documents of one length, so of few families; a step over several evens that out.
        total = 0.0
        for _ in range(schedule.batches_per_step):
            batch = next(batches).to(device)
            with torch.autocast(device, dtype=torch.bfloat16):
                loss = loss_of(model, batch) / schedule.batches_per_step
            loss.backward()
            tokens += batch.ids.numel()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.gradient_clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(total)
        if not math.isfinite(losses[-1]):
            raise ValueError(f"loss became {losses[-1]} at step {step}; lower the learning rate")
        now = time.monotonic()
        if now - reported > REPORT_SECONDS or step + 1 == schedule.steps:
            reported = now
            recent = sum(losses[-50:]) / len(losses[-50:])
            left = (now - started) / (step + 1) * (schedule.steps - step - 1)
            rate = tokens / (now - started)
            print(
                f"step {step + 1}/{schedule.steps}  loss {recent:.4f}  {rate:,.0f} tokens/s"
                f"  {now - started:.0f} s passed, {left:.0f} s left",
                flush=True,
            )
    model.eval()
    recent = sum(losses[-50:]) / max(1, len(losses[-50:]))
    return {"final_loss": recent, "tokens": float(tokens), "seconds": time.monotonic() - started}


def write_model(out: Path, model: Any, tokenizer: "PreTrainedTokenizerBase", record: dict[str, Any]) -> None:
    """Write a model, its tokenizer and the record of its training to the directory `out`, whole or not at all."""
    with whole_directory(out) as directory:
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        write_json(directory / "training.json", record)


def train_language_model(
    tokenizer: "PreTrainedTokenizerFast",
    out: Path,
    shape: tuple[int, int, int, int],
    schedule: Schedule,
    seed: int,
    device: str,
    start: Path | None = None,
) -> Any:
    """Train a model of `shape` = (width, layers, heads, inner) and write it, with its tokenizer, to `out`.

    Returns the model. With `start`, training goes on from the weights in that directory; give another seed, so that the
    questions are others.
    """
    from transformers import LlamaForCausalLM

    torch.manual_seed(seed)
    if start is None:
        model: Any = LlamaForCausalLM(llama_config(tokenizer, *shape))
    else:
        model = LlamaForCausalLM.from_pretrained(start, dtype=torch.float32)
    model.to(device)
    print(f"{model.num_parameters():,} parameters, {schedule.steps} steps on {device}", flush=True)
    batches = language_batches(tokenizer, seed, schedule.tokens_per_batch)
    measured = optimise(model, batches, language_loss, schedule, device)
    record = {
        "seed": seed,
        "shape": shape,
        "parameters": model.num_parameters(),
        **asdict(schedule),
        **measured,
    }
    if start is not None and (start / "training.json").exists():
        record["before"] = json.loads((start / "training.json").read_text())
    write_model(out, model, tokenizer, record)
    return model
