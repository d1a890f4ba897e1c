"""The set layer reads off a language model's own log-probabilities, and changes nothing below it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from arbitrage.lab import batches
from arbitrage.lab.batches import IGNORED, mark_ids, token_id, worked_solutions
from arbitrage.lab.families import SEPARATOR
from arbitrage.lab.generation import load_language_model, load_tokenizer
from arbitrage.lab.likelihood_layer import Channels, classifier_with_likelihood
from arbitrage.lab.likelihood_measures import measure
from arbitrage.lab.optimise import Schedule
from arbitrage.lab.training import train_language_model

RANK = 30


@pytest.fixture(scope="module")
def parts(tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Any, Any]:
    """A base that has learned a little, a classifier on it, a batch with marks, and all states of the classifier."""
    folder = tmp_path_factory.mktemp("base") / "base"
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(batches, "DOCUMENTS_PER_POOL", 64)
        train_language_model(
            tokenizer_folder, folder, (32, 2, 4, 128), Schedule(40, 512, 1, learning_rate=5e-3), 0, "cpu", {}, 0.3
        )
        base, tokenizer = load_language_model(folder), load_tokenizer(folder)
        stream = worked_solutions(tokenizer, "validation", 0, 1024, 0.5)
        aside = (*mark_ids(tokenizer), token_id(tokenizer, SEPARATOR))
        measured = measure(base, [next(stream) for _ in range(8)])
        [line_end] = tokenizer.encode("\n", add_special_tokens=False)
        rank = min(RANK, len(measured.tokens) - 1, 24)
        model = classifier_with_likelihood(base, measured, line_end, aside, rank, new_layers=1, seed=0)
        batch = next(stream)
    with torch.inference_mode():
        states = model.model(input_ids=batch.ids, use_cache=False, output_hidden_states=True).hidden_states
    return base, Channels(32, rank), batch, states


def test_the_language_model_below_is_unchanged(parts: tuple[Any, Any, Any, Any]) -> None:
    base, channels, batch, states = parts
    with torch.inference_mode():
        logits = base(input_ids=batch.ids).logits
        again = base.lm_head(base.model.norm(states[2][..., : channels.width]))
    spread = float(logits.std())
    assert float((again - logits).abs().mean()) < 0.05 * spread


def test_agreement_follows_the_log_probability(parts: tuple[Any, Any, Any, Any]) -> None:
    base, channels, batch, states = parts
    learned = batch.labels[:, 1:] != IGNORED
    with torch.inference_mode():
        logprobs = base(input_ids=batch.ids).logits[:, :-1].log_softmax(-1)
        present = logprobs.gather(2, batch.ids[:, 1:, None])[..., 0][learned]
    agreement = states[3][:, 1:, channels.agreement][learned]
    ranks = [values.argsort().argsort().float() for values in (present, agreement)]
    assert float(torch.corrcoef(torch.stack(ranks))[0, 1]) > 0.5


def test_the_solution_is_told_from_the_question(parts: tuple[Any, Any, Any, Any]) -> None:
    _, channels, batch, states = parts
    solution = batch.labels != IGNORED
    outside = states[3][..., channels.outside]
    assert float(outside[solution].abs().max()) < 1e-3
    question = (batch.labels == IGNORED).cumprod(1).bool()
    question &= ~torch.roll(solution, -1, 1) & ~torch.roll(solution, -2, 1)  # nor the line's end, nor a mark after it
    question[:, :1] = False
    assert float(outside[question].min()) > 0.05


def test_codes_and_flags_are_never_written_to(parts: tuple[Any, Any, Any, Any]) -> None:
    _, channels, _, states = parts
    assert torch.equal(states[0][..., channels.fixed], states[3][..., channels.fixed])
