"""The lab's router start: a shallow judge that a router's fine-tuning begins from.

The paper's router starts from another PRM than the one that labels, and is asked before every step. This one is
distilled from the lab's PRM: at every token it learns the PRM's score there, on inputs most of which carry the marks
that a router reads. It begins with the lowest layers of `base`.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from arbitrage.lab.batches import IGNORED, Batch
from arbitrage.lab.generation import (
    WEIGHTS,
    load_classifier,
    load_language_model,
    load_tokenizer,
    require_one_vocabulary,
)
from arbitrage.lab.judged_batches import RIGHT, WRONG, judged_batches
from arbitrage.lab.models import write_model
from arbitrage.lab.optimise import Schedule, checkpoint_of, optimise
from arbitrage.lab.prm import classifier_on
from arbitrage.lab.prm_quality import quality
from arbitrage.lab.token_channels import keep_token_channels
from arbitrage.lab.verdicts import load_judged
from arbitrage.runtime.provenance import digest

MARKED_SHARE = 0.75
TOKEN_WEIGHT = 0.5


class Student(nn.Module):
    """A classifier that learns the scores of a frozen one."""

    def __init__(self, model: Any, teacher: Any) -> None:
        super().__init__()
        self.model = model
        self.teacher = [teacher.eval()]  # in a list, so that it is no part of this module

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy against the teacher's probabilities: at separators, and half of it at other tokens."""
        [teacher] = self.teacher
        with torch.no_grad():
            wanted = torch.sigmoid(_logits(teacher, batch.ids))
        losses = binary_cross_entropy_with_logits(_logits(self.model, batch.ids), wanted, reduction="none")
        steps = (batch.labels == WRONG) | (batch.labels == RIGHT)
        others = (batch.labels != IGNORED) & ~steps
        return losses[steps].mean() + TOKEN_WEIGHT * losses[others].mean()


def _logits(model: Any, ids: Tensor) -> Tensor:
    """The one logit at every position, (documents, positions)."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    logits: Tensor = model.score(hidden)[..., 0].float()
    return logits


def train_router_start(
    base: Path,
    prm: Path,
    solutions: Path,
    out: Path,
    layers: int,
    channels: int,
    schedule: Schedule,
    seed: int,
    device: str,
    recipe: dict[str, Any],
) -> None:
    """Train a judge of `layers` layers and write it to `out`, with its quality. An interrupted call goes on.

    recipe: what a study's `zoo` says to make it, for its card. Raises DivergedError.
    """
    require_one_vocabulary([base, prm])
    tokenizer, language_model = load_tokenizer(base), load_language_model(base)
    training, held_out = load_judged(solutions)
    model = classifier_on(language_model, tokenizer, range(layers), channels, seed)
    keep_token_channels(model, language_model.config.hidden_size)
    student = Student(model, load_classifier(prm, device)).to(device)
    batches = judged_batches(tokenizer, training, seed + 2, schedule.tokens_per_batch, MARKED_SHARE)
    identity = {"seed": seed, "layers": layers, "channels": channels, "solutions": digest(solutions)}
    identity |= {"base": digest(base / WEIGHTS), "prm": digest(prm / WEIGHTS)}
    checkpoint = checkpoint_of(out)
    measured = optimise(student, batches, Student.loss, schedule, device, checkpoint, identity)
    record = {"recipe": recipe, "parameters": model.num_parameters(), "parts": [asdict(schedule) | measured]}
    write_model(out, model, tokenizer, record | {"measured": quality(model, tokenizer, held_out)})
    checkpoint.unlink(missing_ok=True)
