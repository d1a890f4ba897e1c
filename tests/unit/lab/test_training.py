"""Trainings resume to the same weights, refuse to diverge, and begin as what they were made from."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM, LlamaForSequenceClassification

from arbitrage.lab import batches, optimise
from arbitrage.lab.batches import IGNORED, Batch, PooledBatches, encode_document, mark_ids, token_id
from arbitrage.lab.families import SEPARATOR
from arbitrage.lab.generation import load_language_model, load_tokenizer
from arbitrage.lab.models import deepened, llama_config, new_language_model
from arbitrage.lab.optimise import DivergedError, Progress, Schedule, checkpoint_of
from arbitrage.lab.training import language_loss, spread, train_language_model

SHAPE = (16, 2, 2, 32)
SCHEDULE = Schedule(steps=6, tokens_per_batch=512, batches_per_step=1)


@pytest.fixture(autouse=True)
def small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "DOCUMENTS_PER_POOL", 64)


class KilledError(Exception):
    """What stands for a kill in the middle of a training."""


def train(tokenizer: Path, out: Path, schedule: Schedule = SCHEDULE, seed: int = 0) -> torch.Tensor:
    train_language_model(tokenizer, out, SHAPE, schedule, seed, "cpu", {"seed": seed})
    state = load_language_model(out).state_dict()
    return torch.cat([weight.flatten() for weight in state.values()])


def kill_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    count = Progress.add

    def add(self: Progress, loss: float) -> float:
        recent = count(self, loss)
        if self.step == step:
            raise KilledError
        return recent

    monkeypatch.setattr(Progress, "add", add)


def test_a_killed_training_ends_with_the_same_weights(
    tokenizer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(tokenizer_folder, tmp_path / "whole")
    with monkeypatch.context() as patches:
        patches.setattr(optimise, "CHECKPOINT_SECONDS", 0.0)
        kill_after(patches, 4)
        with pytest.raises(KilledError):
            train(tokenizer_folder, tmp_path / "killed")
    assert not (tmp_path / "killed").exists()
    capsys.readouterr()
    assert torch.equal(train(tokenizer_folder, tmp_path / "killed"), whole)
    assert "resumed after step 3" in capsys.readouterr().out
    assert not checkpoint_of(tmp_path / "killed").exists()


@pytest.mark.parametrize(("damage", "told"), [("cut", "is damaged"), ("settings", "is of other settings")])
def test_a_checkpoint_of_no_use_is_passed_over(
    tokenizer_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damage: str,
    told: str,
) -> None:
    out = tmp_path / "model"
    with monkeypatch.context() as patches:
        patches.setattr(optimise, "CHECKPOINT_SECONDS", 0.0)
        kill_after(patches, 3)
        with pytest.raises(KilledError):
            train(tokenizer_folder, out, seed=0 if damage == "cut" else 1)
    if damage == "cut":
        content = checkpoint_of(out).read_bytes()
        checkpoint_of(out).write_bytes(content[: len(content) // 2])
    again = train(tokenizer_folder, out)
    assert told in capsys.readouterr().out
    assert torch.equal(again, train(tokenizer_folder, tmp_path / "fresh"))


def test_a_training_that_diverges_writes_nothing(tokenizer_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "kept").write_text("as it was")
    wild = Schedule(steps=40, tokens_per_batch=512, batches_per_step=1, learning_rate=300.0, gradient_clip=1e9)
    with pytest.raises(DivergedError, match=r"the loss became .* training diverges; lower the learning rate"):
        train(tokenizer_folder, tmp_path / "model", wild)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["kept"]


def test_the_loss_falls(tokenizer_folder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    config = llama_config(tokenizer, *SHAPE)
    train_language_model(
        tokenizer_folder, tmp_path / "model", SHAPE, Schedule(20, 512, 1, learning_rate=5e-3), 0, "cpu", {}
    )
    model = load_language_model(tmp_path / "model")
    ids, labels = encode_document(tokenizer, "Write 57 in base 3.", "57 = 19 * 3 + 0")
    batch = Batch(torch.tensor([ids]), torch.tensor([labels]))
    untrained = language_loss(new_language_model(config, 0), batch)
    assert language_loss(model, batch) < untrained - 0.5


@pytest.mark.parametrize("kind", [LlamaForCausalLM, LlamaForSequenceClassification])
def test_a_deepened_model_begins_as_what_it_was_made_of(tokenizer_folder: Path, kind: Any) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    shallow = new_language_model(llama_config(tokenizer, *SHAPE), seed=1)
    for layer in shallow.model.layers:
        torch.nn.init.normal_(layer.self_attn.o_proj.weight)
    deeper = deepened(shallow, kind, spread(2, 5), seed=2)
    assert deeper.config.num_hidden_layers == 5
    ids = torch.arange(3, 40)[None]
    states = [model.model(input_ids=ids).last_hidden_state for model in (shallow, deeper)]
    torch.testing.assert_close(states[0], states[1])
    assert spread(8, 16) == [place // 2 if place % 2 else None for place in range(16)]
    with pytest.raises(ValueError, match="a model of 4 layers cannot start one of 3"):
        spread(4, 3)


def test_batches_come_in_an_order_that_can_be_taken_up_anywhere() -> None:
    def pool(number: int) -> list[tuple[list[int], list[int]]]:
        return [([number] * (1 + index % 5), [IGNORED] * (1 + index % 5)) for index in range(12)]

    straight = PooledBatches(pool, pad=99, tokens=8, seed=3)
    taken, positions = [], []
    for _ in range(30):
        positions.append(straight.position)
        taken.append(next(straight).ids)
    assert {number for number, _ in positions} >= {0, 1, 2}
    assert all(batch.numel() <= 8 for batch in taken)
    for start, workers in ((0, 0), (5, 0), (17, 0), (0, 2), (17, 2)):  # workers: processes, as beside a GPU
        resumed = PooledBatches(pool, pad=99, tokens=8, seed=3)
        resumed.position, resumed.workers = positions[start], workers
        before = torch.get_rng_state()
        assert all(torch.equal(next(resumed).ids, batch) for batch in taken[start:])
        assert torch.equal(torch.get_rng_state(), before)  # a training's random numbers stay its own


def test_marks_stand_before_steps_and_are_not_learned(tokenizer_folder: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    text = "1 + 2 = 3\n\nThe answer is \\boxed{3}"
    ids, labels = encode_document(tokenizer, "Compute 1 + 2.", text, [0, 1])
    assert tokenizer.decode(ids) == (
        "<bos>Compute 1 + 2.\nModel 0: 1 + 2 = 3\n\nModel 1: The answer is \\boxed{3}<eos>"
    )
    marks = mark_ids(tokenizer)
    assert all(label == IGNORED for token, label in zip(ids, labels, strict=True) if token in marks)
    plain, plain_labels = encode_document(tokenizer, "Compute 1 + 2.", text)
    assert [token for token in ids if token not in marks] == plain
    assert [label for label in labels if label != IGNORED] == [label for label in plain_labels if label != IGNORED]
    assert token_id(tokenizer, SEPARATOR) in plain
