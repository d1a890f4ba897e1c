"""The lab's process reward model: a language model that has learned to compare what it expected with what is there.

It begins with the layers of `base`, a language model of the lab, with a few new ones above them, and is served as an
ordinary sequence classifier that reads the separator closing the step in question (score = sigmoid of its one logit,
the probability that the solution is right up to there).

Three things are learned at once. The score, at separators (`verdicts`). The same at every token whose step settles it:
a denser signal. And, by two readouts that are thrown away afterwards, the next token (from the state that `base` ended
with, so that what it knows is kept) and the surprise at the present one (its negative log-probability under `base`,
from a state further up): what a wrong step shows itself by. First the new layers alone, then all of them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss

from arbitrage.lab.batches import IGNORED, Batch, worked_solutions
from arbitrage.lab.generation import WEIGHTS, load_language_model, load_tokenizer
from arbitrage.lab.judged_batches import RIGHT, TOKEN_RIGHT, TOKEN_WRONG, WRONG, judged_batches
from arbitrage.lab.models import write_model
from arbitrage.lab.optimise import Schedule, checkpoint_of, optimise
from arbitrage.lab.prm_quality import quality
from arbitrage.lab.token_channels import (
    base_part,
    classifier_with_token_channels,
    keep_token_channels,
    state_sizes,
)
from arbitrage.lab.verdicts import load_judged
from arbitrage.runtime.provenance import digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MOST_SURPRISE = 6.0
SIZED_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Weights:
    """What each part of the loss counts beside the score at separators."""

    token: float = 0.5
    surprise: float = 0.5
    language: float = 0.2


class Learner(nn.Module):
    """A classifier in training, with the readouts that are thrown away.

    base_layers: how many of its layers came from the language model; surprise_layer: how many layers the state that
    surprise is read from has passed.
    """

    def __init__(self, model: Any, base: Any, surprise_layer: int, weights: Weights | None = None) -> None:
        super().__init__()
        self.model = model
        self.base_layers, self.width = base.config.num_hidden_layers, base.config.hidden_size
        keep_token_channels(model, self.width)
        self.surprise_layer, self.weights, self.whole = surprise_layer, weights or Weights(), True
        self.norm, self.lm_head = base.model.norm, base.lm_head
        self.surprise = nn.Linear(self.width, 1)

    def teach(self, whole: bool) -> None:
        """Let all weights learn, or those of the new layers and of what stands above them only."""
        self.whole = whole
        self.requires_grad_(True)
        if not whole:
            body = self.model.model
            for part in (self.norm, self.lm_head, body.embed_tokens, body.layers[: self.base_layers]):
                part.requires_grad_(False)

    def loss(self, batch: Batch) -> Tensor:
        """The weighted sum of the losses, each a mean over what it is about."""
        states = self.model.model(input_ids=batch.ids, use_cache=False, output_hidden_states=True)
        labels = batch.labels
        logits = self.model.score(states.last_hidden_state)[..., 0].float()
        steps = (labels == WRONG) | (labels == RIGHT)
        loss = binary_cross_entropy_with_logits(logits[steps], labels[steps].float())
        tokens = (labels == TOKEN_WRONG) | (labels == TOKEN_RIGHT)
        loss = loss + self.weights.token * binary_cross_entropy_with_logits(
            logits[tokens], (labels[tokens] == TOKEN_RIGHT).float()
        )
        written = labels[:, 1:] != IGNORED
        predicted = self.lm_head(self.norm(states.hidden_states[self.base_layers][:, :-1, : self.width]))[
            written
        ].float()
        present = batch.ids[:, 1:][written]
        surprise = cross_entropy(predicted.detach(), present, reduction="none").clamp(max=MOST_SURPRISE)
        read = self.surprise(base_part(states.hidden_states[self.surprise_layer][:, 1:], self.width))[..., 0][
            written
        ].float()
        loss = loss + self.weights.surprise * smooth_l1_loss(read, surprise)
        if self.whole:
            good = (labels[:, 1:] == TOKEN_RIGHT)[written] | (labels[:, 1:] == RIGHT)[written]
            loss = loss + self.weights.language * cross_entropy(predicted[good], present[good])
        return loss


def classifier_on(
    base: Any, tokenizer: "PreTrainedTokenizerFast", layers: Sequence[int | None], channels: int, seed: int
) -> Any:
    """A one-logit sequence classifier with token channels on these layers of a language model; None is a new one."""
    ids = next(worked_solutions(tokenizer, "zoo-training", seed, SIZED_TOKENS)).ids
    return classifier_with_token_channels(base, layers, channels, state_sizes(base, ids), seed)


def train_prm(
    base: Path,
    solutions: Path,
    out: Path,
    new_layers: int,
    channels: int,
    schedules: tuple[Schedule, Schedule],
    seed: int,
    device: str,
    recipe: dict[str, Any],
) -> None:
    """Train a PRM on the solutions of a table (`verdicts.save_judged`) and write it to `out`, with its quality.

    schedules: of the new layers alone, then of all; recipe: what a study's `zoo` says to make it, for its
    card. An interrupted call goes on where it was. Raises DivergedError.
    """
    tokenizer, language_model = load_tokenizer(base), load_language_model(base)
    training, held_out = load_judged(solutions)
    depth = language_model.config.num_hidden_layers
    layers = [*range(depth), *[None] * new_layers]
    model = classifier_on(language_model, tokenizer, layers, channels, seed)
    identity = {"seed": seed, "base": digest(base / WEIGHTS), "solutions": digest(solutions), "new_layers": new_layers}
    identity |= {"channels": channels}
    parts, checkpoints = [], []
    learner = Learner(model, language_model, depth + max(1, new_layers // 2)).to(device)
    for number, schedule in enumerate(schedules):
        learner.teach(whole=number == 1)
        batches = judged_batches(tokenizer, training, seed + number, schedule.tokens_per_batch)
        checkpoints.append(checkpoint_of(out, number))
        part = optimise(learner, batches, Learner.loss, schedule, device, checkpoints[-1], identity | {"part": number})
        parts.append({**asdict(schedule), **part})
    model.config.use_cache = True
    record = {"recipe": recipe, "parameters": model.num_parameters(), "parts": parts}
    write_model(out, model, tokenizer, record | {"measured": quality(model, tokenizer, held_out)})
    for checkpoint in checkpoints:
        checkpoint.unlink(missing_ok=True)
