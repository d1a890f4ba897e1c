"""The lab's process reward model: a language model that sees how likely it found each token, and learns to judge by it.

It begins with the layers of `base`, a language model of the lab, the set layer above them (`likelihood_layer`) and new
ones above that, and is served as an ordinary sequence classifier that reads the separator closing the step in question
(score = sigmoid of its one logit: the probability that the solution is right up to there).

It learns the label at separators (`verdicts`), and at every token whose step settles it: a denser signal. First the new
layers alone; then all of them, with the next token as a further task, so that what `base` knows is kept.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from arbitrage.lab.batches import Batch, mark_ids, token_id, worked_solutions
from arbitrage.lab.families import SEPARATOR
from arbitrage.lab.generation import WEIGHTS, load_language_model, load_tokenizer
from arbitrage.lab.judged_batches import RIGHT, TOKEN_RIGHT, TOKEN_WRONG, WRONG, judged_batches
from arbitrage.lab.likelihood_layer import Channels, classifier_with_likelihood, keep_codes, measure
from arbitrage.lab.models import write_model
from arbitrage.lab.optimise import Schedule, checkpoint_of, optimise
from arbitrage.lab.prm_quality import quality
from arbitrage.lab.verdicts import load_judged
from arbitrage.runtime.provenance import digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TOKEN_WEIGHT = 0.5
LANGUAGE_WEIGHT = 0.2
MEASURED_TOKENS = 2048
MEASURED_BATCHES = 16


class Learner(nn.Module):
    """A classifier in training, with the language model's readout beside it."""

    def __init__(self, model: Any, base: Any, channels: Channels) -> None:
        super().__init__()
        self.model, self.channels = model, channels
        self.base_layers, self.whole = base.config.num_hidden_layers, True
        self.norm, self.lm_head = base.model.norm, base.lm_head
        keep_codes(model, channels)

    def teach(self, whole: bool) -> None:
        """Let all weights learn, or those of the new layers and of what stands above them only."""
        self.whole = whole
        self.requires_grad_(True)
        if not whole:
            body = self.model.model
            for part in (self.norm, self.lm_head, body.embed_tokens, body.layers[: self.base_layers + 1]):
                part.requires_grad_(False)

    def loss(self, batch: Batch) -> Tensor:
        """The weighted sum of the losses, each a mean over what it is about."""
        states = self.model.model(input_ids=batch.ids, use_cache=False, output_hidden_states=self.whole)
        labels = batch.labels
        logits = self.model.score(states.last_hidden_state)[..., 0].float()
        steps = (labels == WRONG) | (labels == RIGHT)
        loss = binary_cross_entropy_with_logits(logits[steps], labels[steps].float())
        tokens = (labels == TOKEN_WRONG) | (labels == TOKEN_RIGHT)
        loss = loss + TOKEN_WEIGHT * binary_cross_entropy_with_logits(
            logits[tokens], (labels[tokens] == TOKEN_RIGHT).float()
        )
        if self.whole:
            good = (labels[:, 1:] == TOKEN_RIGHT) | (labels[:, 1:] == RIGHT)
            state = states.hidden_states[self.base_layers][:, :-1, : self.channels.width]
            predicted = self.lm_head(self.norm(state))[good].float()
            loss = loss + LANGUAGE_WEIGHT * cross_entropy(predicted, batch.ids[:, 1:][good])
        return loss


def classifier_on(base: Any, tokenizer: "PreTrainedTokenizerFast", rank: int, new_layers: int, seed: int) -> Any:
    """A classifier with the layers of `base`, the set layer and new ones, set by what worked solutions show."""
    batches = worked_solutions(tokenizer, "zoo-training", seed, MEASURED_TOKENS)
    measured = measure(base, [next(batches) for _ in range(MEASURED_BATCHES)])
    [line_end] = tokenizer.encode("\n", add_special_tokens=False)
    aside = (*mark_ids(tokenizer), token_id(tokenizer, SEPARATOR))
    return classifier_with_likelihood(base, measured, line_end, aside, rank, new_layers, seed)


def train_prm(
    base: Path,
    solutions: Path,
    out: Path,
    new_layers: int,
    rank: int,
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
    model = classifier_on(language_model, tokenizer, rank, new_layers, seed)
    identity = {"seed": seed, "base": digest(base / WEIGHTS), "solutions": digest(solutions), "new_layers": new_layers}
    identity |= {"rank": rank}
    parts, checkpoints = [], []
    learner = Learner(model, language_model, Channels(language_model.config.hidden_size, rank)).to(device)
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
