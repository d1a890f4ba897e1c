"""The lab's judges: language models that see how likely they found each token, and learn what to make of it.

The process reward model begins with the layers of `base`, a language model of the lab, the set layer above them
(`likelihood_layer`) and new ones above that; only these new ones are trained. It is served as an ordinary sequence
classifier that reads the separator closing the step in question (score = sigmoid of its one logit: the probability that
the solution is right up to there). It learns the label at separators (`verdicts`), and at every token whose step
settles it, a denser signal. The judge that routers start from is made the same way from a shallower language model.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from arbitrage.lab.batches import Batch, mark_ids, token_id, worked_solutions
from arbitrage.lab.families import SEPARATOR
from arbitrage.lab.generation import WEIGHTS, load_language_model, load_tokenizer
from arbitrage.lab.judged_batches import RIGHT, TOKEN_RIGHT, TOKEN_WRONG, WRONG, judged_batches
from arbitrage.lab.likelihood_layer import classifier_with_likelihood
from arbitrage.lab.likelihood_measures import measure
from arbitrage.lab.models import round_to_stored, write_model
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


def judge_loss(model: Any, batch: Batch) -> Tensor:
    """Mean binary cross-entropy at separators, and TOKEN_WEIGHT of that at the other tokens that are labelled."""
    logits = model.score(model.model(input_ids=batch.ids, use_cache=False).last_hidden_state)[..., 0].float()
    labels = batch.labels
    steps = (labels == WRONG) | (labels == RIGHT)
    tokens = (labels == TOKEN_WRONG) | (labels == TOKEN_RIGHT)
    at_steps = binary_cross_entropy_with_logits(logits[steps], labels[steps].float())
    at_tokens = binary_cross_entropy_with_logits(logits[tokens], (labels[tokens] == TOKEN_RIGHT).float())
    return at_steps + TOKEN_WEIGHT * at_tokens


def classifier_on(base: Any, tokenizer: "PreTrainedTokenizerFast", rank: int, new_layers: int, seed: int) -> Any:
    """A classifier with the layers of `base`, the set layer and new ones, set by what worked solutions show.

    `base` is measured where it is, and moved to the CPU, where the classifier is made.
    """
    batches = worked_solutions(tokenizer, "zoo-training", seed, MEASURED_TOKENS)
    measured = measure(base, [next(batches).to(base.device) for _ in range(MEASURED_BATCHES)])
    base.cpu()
    [line_end] = tokenizer.encode("\n", add_special_tokens=False)
    aside = (*mark_ids(tokenizer), token_id(tokenizer, SEPARATOR))
    return classifier_with_likelihood(base, measured, line_end, aside, rank, new_layers, seed)


def train_judge(
    base: Path,
    solutions: Path,
    out: Path,
    rank: int,
    new_layers: int,
    schedule: Schedule,
    seed: int,
    device: str,
    recipe: dict[str, Any],
) -> None:
    """Train a judge on the solutions of a table (`verdicts.save_judged`) and write it to `out`, with its quality.

    rank, new_layers: see `classifier_with_likelihood`; recipe: what a study's `zoo` says to make it, for its card. An
    interrupted call goes on where it was. Raises DivergedError, ZooError where the rank does not fit.
    """
    tokenizer, language_model = load_tokenizer(base), load_language_model(base, device)
    training, held_out = load_judged(solutions)
    model = classifier_on(language_model, tokenizer, rank, new_layers, seed)
    for part in (model.model.embed_tokens, model.model.layers[: language_model.config.num_hidden_layers + 1]):
        part.requires_grad_(False)
    identity = {"seed": seed, "base": digest(base / WEIGHTS), "solutions": digest(solutions)}
    identity |= {"rank": rank, "new_layers": new_layers}
    batches = judged_batches(tokenizer, training, seed, schedule.tokens_per_batch)
    checkpoint = checkpoint_of(out)
    print(f"{model.num_parameters():,} parameters, {schedule.steps} steps on {device}", flush=True)
    trained = optimise(model.to(device), batches, judge_loss, schedule, device, checkpoint, identity)
    round_to_stored(model)
    measured = quality(model, tokenizer, held_out)
    record = {"recipe": recipe, "parameters": model.num_parameters(), "parts": [asdict(schedule) | trained]}
    write_model(out, model.requires_grad_(True), tokenizer, record | {"measured": measured})
    checkpoint.unlink(missing_ok=True)
