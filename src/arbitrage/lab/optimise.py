"""The training loop of all models of the zoo: Muon and AdamW, resumable at any moment.

Hidden matrices are trained with Muon, everything else with AdamW, in the arithmetic that is fastest on the device.
"""

import glob
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from arbitrage.errors import UserError
from arbitrage.io.atomic import whole_file
from arbitrage.lab.arithmetic import arithmetic_for
from arbitrage.lab.batches import Batch, PooledBatches

REPORT_SECONDS = 20.0
CHECKPOINT_SECONDS = 60.0
RECENT = 50
"""Steps that the reported loss is the mean of."""
DIVERGED = 3.0
"""A recent loss this many times the first one (or 1, where a trained model begins), or an infinite one, ends it."""


class DivergedError(UserError, ValueError):
    """The loss of a training left all bounds."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train. The learning rate warms up linearly and then falls linearly to zero.

    `learning_rate` is AdamW's; the matrices inside the layers have `hidden_factor` times it, with Muon's updates scaled
    to AdamW's size. Weight decay is theirs alone, and keeps what each layer adds to the residual small.
    """

    steps: int
    tokens_per_batch: int = 4096
    batches_per_step: int = 2
    learning_rate: float = 2e-3
    hidden_factor: float = 5.0
    embedding_factor: float = 5.0
    warmup_share: float = 0.03
    weight_decay: float = 0.1
    gradient_clip: float = 1.0

    def factor(self, step: int) -> float:
        """The share of the peak learning rate at a step counted from 0."""
        warmup = max(1, int(self.steps * self.warmup_share))
        if step < warmup:
            return (step + 1) / warmup
        return (self.steps - step) / max(1, self.steps - warmup)


@dataclass(slots=True)
class Progress:
    """Where a training is: steps done, tokens seen, seconds spent (over all its parts), the first and recent losses."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    first_loss: float = math.nan
    losses: list[float] | None = None

    def add(self, loss: float) -> float:
        """Count a step; returns the recent mean loss. Raises DivergedError."""
        self.step += 1
        self.losses = [*(self.losses or []), loss][-RECENT:]
        recent = math.fsum(self.losses) / len(self.losses)
        if self.step == 1:
            self.first_loss = loss
        if not math.isfinite(recent) or recent > DIVERGED * max(self.first_loss, 1.0):
            raise DivergedError(
                f"the loss became {loss:.4g} at step {self.step} (it began at {self.first_loss:.4g}): "
                "training diverges; lower the learning rate of this model in the section zoo"
            )
        return recent


def checkpoint_of(out: Path, part: int = 0) -> Path:
    """The file beside `out` in which a training to it, or a part of that, keeps its state."""
    return out.with_name(f".{out.name}.training-{part}.pt")


def make_optimizers(model: torch.nn.Module, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings, heads and norms; frozen weights stay out."""
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    hidden = {name for name, p in learned.items() if p.ndim == 2 and ".layers." in name}
    embeddings = {name for name in learned if "embed_tokens" in name}
    rate = schedule.learning_rate
    groups = [
        {"params": [learned[name] for name in learned if name not in hidden | embeddings], "lr": rate},
        {"params": [learned[name] for name in learned if name in embeddings], "lr": rate * schedule.embedding_factor},
    ]
    muon = torch.optim.Muon(
        [learned[name] for name in learned if name in hidden],
        lr=rate * schedule.hidden_factor,
        weight_decay=schedule.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    return [muon, torch.optim.AdamW([g for g in groups if g["params"]], betas=(0.9, 0.95), weight_decay=0.0)]


def optimise(
    model: Any,
    batches: PooledBatches,
    loss_of: Callable[[Any, Batch], torch.Tensor],
    schedule: Schedule,
    device: str,
    checkpoint: Path,
    identity: dict[str, Any],
) -> dict[str, float]:
    """Train in place; returns the last recent mean loss, the tokens seen, the seconds, and the tokens a second.

    Every minute `checkpoint` is replaced whole; a call that finds one of the same schedule and `identity` (what else
    decides the outcome: shapes, seeds, sources) goes on from it and ends with the same weights, byte for byte on a CPU
    with one thread. It is left where it is: delete it once the model is written. Prints a line every few seconds.
    Raises DivergedError.
    """
    settings = json.dumps({**asdict(schedule), **identity, "device": device}, sort_keys=True)
    optimizers = make_optimizers(model, schedule)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    progress = _resume(checkpoint, settings, model, optimizers, batches)
    began, before, first = time.monotonic(), progress.seconds, progress.step
    reported = saved = began
    arithmetic = arithmetic_for(device)
    if torch.device(device).type != "cpu":
        batches.workers = torch.get_num_threads()  # which compute nothing then
    model.set_attn_implementation(arithmetic.attention)
    model.train()
    while progress.step < schedule.steps:
        for optimizer, rates in zip(optimizers, peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = peak * schedule.factor(progress.step)
        # A batch holds documents of one length, so of few families; a step over several evens that out.
        losses = []
        for _ in range(schedule.batches_per_step):
            batch = next(batches).to(device)
            with arithmetic.autocast(device):
                loss = loss_of(model, batch) / schedule.batches_per_step
            loss.backward()
            progress.tokens += batch.ids.numel()
            losses.append(loss.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.gradient_clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        recent = progress.add(math.fsum(torch.stack(losses).tolist()))  # a GPU is waited for once a step
        now = time.monotonic()
        progress.seconds = before + now - began
        if now - reported > REPORT_SECONDS or progress.step == schedule.steps:
            reported = now
            left = (now - began) / (progress.step - first) * (schedule.steps - progress.step)
            rate = progress.tokens / progress.seconds
            print(
                f"step {progress.step}/{schedule.steps}  loss {recent:.4f}  {rate:,.0f} tokens/s  "
                f"{progress.seconds:.0f} s passed, {left:.0f} s left",
                flush=True,
            )
        if now - saved > CHECKPOINT_SECONDS or progress.step == schedule.steps:
            saved = now
            _save(checkpoint, settings, model, optimizers, batches, progress)
    model.eval()
    return {
        "final_loss": math.fsum(progress.losses or [math.nan]) / len(progress.losses or [math.nan]),
        "tokens": float(progress.tokens),
        "seconds": progress.seconds,
        "tokens_per_second": progress.tokens / progress.seconds if progress.seconds else math.nan,
    }


def _save(
    checkpoint: Path,
    settings: str,
    model: Any,
    optimizers: list[torch.optim.Optimizer],
    batches: PooledBatches,
    progress: Progress,
) -> None:
    content = {
        "settings": settings,
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "position": list(batches.position),
        "progress": asdict(progress),
    }
    with whole_file(checkpoint) as temporary:
        torch.save(content, temporary)


def _resume(
    checkpoint: Path,
    settings: str,
    model: Any,
    optimizers: list[torch.optim.Optimizer],
    batches: PooledBatches,
) -> Progress:
    """Take up a checkpoint of the same settings; one of other settings, or a damaged one, is passed over."""
    for half_written in checkpoint.parent.glob(f".{glob.escape(checkpoint.name)}.*.tmp"):
        half_written.unlink()
    if not checkpoint.is_file():
        return Progress()
    try:
        # To where it was saved from would hold everything twice on a GPU, and move AdamW's counters there.
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what the damage brings about: EOFError, RuntimeError, UnpicklingError
        print(f"{checkpoint} is damaged ({type(error).__name__}) and passed over", flush=True)
        return Progress()
    if content["settings"] != settings:
        print(f"{checkpoint} is of other settings and passed over", flush=True)
        return Progress()
    model.load_state_dict(content["model"])
    for optimizer, state in zip(optimizers, content["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    number, taken = content["position"]
    batches.position = (number, taken)
    progress = Progress(**content["progress"])
    print(f"resumed after step {progress.step}", flush=True)
    return progress
