"""Training a router: same seed same weights, resuming, the directory it leaves, and what it refuses."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from arbitrage.config.router import Dataset, Loss, Router, RouterTraining, Variant
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.hf.packed import last_states, pack
from arbitrage.engines.scoring.scorers import RouterScorer
from arbitrage.io.tables import write_table
from arbitrage.routing.dataset import build_dataset
from arbitrage.routing.heldout import heldout_rows
from arbitrage.routing.hf_trainer import (
    DISK_BYTES_S,
    Judged,
    Progress,
    Saving,
    Updates,
)
from arbitrage.routing.inputs import TextEncoding
from arbitrage.routing.label_classes import RoutingError
from arbitrage.routing.train import _arguments, train_router
from arbitrage.speculation.protocols import EngineError
from tests.support.tiny_models import build_classifier, build_tokenizer
from tests.unit.routing.conftest import step_row

FAST = RouterTraining(epochs=2.0, batch_size=8, micro_batch_tokens=200, learning_rate=1e-3)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Steps that end in `!` have an advantage, the others have none: a rule a router can see."""
    rows = []
    for question in range(60):
        for index in range(2):
            good = (question + index) % 2
            text = f"{'It is' if question % 3 else 'So x is'} {question}{'!' if good else '.'}\n\n"
            rows.append(step_row(f"q{question}", index, 0.2 + index / 10 if good else -0.1 * index, text))
    out = tmp_path_factory.mktemp("data") / "dataset"
    write_table(out.with_name("steps.parquet"), "steps", rows)
    encoding = TextEncoding(build_tokenizer("char"), "\n\n", annotate=True)
    build_dataset(out.with_name("steps.parquet"), Variant(), Dataset(), encoding, 42, out)
    return out


def train(dataset: Path, checkpoint: Path, out: Path, training: RouterTraining = FAST, seed: int = 1) -> dict[str, Any]:
    return train_router(dataset, resolve(checkpoint), training, seed=seed, device="cpu", out_dir=out)


@pytest.fixture(scope="module")
def router(dataset: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained router."""
    out = tmp_path_factory.mktemp("router") / "default"
    train(dataset, checkpoint, out)
    return out


def weights(directory: Path) -> bytes:
    return (directory / "model.safetensors").read_bytes()


def test_the_output_is_a_plain_checkpoint_that_the_router_scorer_reads(router: Path, dataset: Path) -> None:
    files = {file.name for file in router.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "router.json", "training.json"} <= files
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    assert list(router.parent.iterdir()) == [router], "the work directory must be gone"
    rows = heldout_rows(dataset, RouterScorer(resolve(router), Router()), "default")
    assert rows
    assert all(0 < row["router_score"] < 1 for row in rows)


def test_the_router_json_and_training_json_tell_how_it_was_made(router: Path, dataset: Path) -> None:
    assert json.loads((router / "router.json").read_text()) == {
        "classes": 2,
        "boundary": 1,
        "ordinal": False,
        "annotate": True,
        "separator": "\n\n",
    }
    told = json.loads((router / "training.json").read_text())
    assert told["examples"] == json.loads((dataset / "report.json").read_text())["train"]["examples"]
    assert told["updates"] == 2 * -(-told["examples"] // 8)
    assert (told["learning_rate"], told["seed"], told["resumed_after"]) == (1e-3, 1, 0)
    assert told["losses"]


def test_one_seed_gives_one_router_and_another_seed_another(
    router: Path, dataset: Path, checkpoint: Path, tmp_path: Path
) -> None:
    train(dataset, checkpoint, tmp_path / "again")
    train(dataset, checkpoint, tmp_path / "other", seed=2)
    assert weights(tmp_path / "again") == weights(router)
    assert weights(tmp_path / "other") != weights(router)


def test_recomputed_activations_give_the_same_router(
    router: Path, dataset: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    enable = PreTrainedModel.gradient_checkpointing_enable

    def note(model: PreTrainedModel, **options: Any) -> None:
        asked.append(options)
        enable(model, **options)

    monkeypatch.setattr(PreTrainedModel, "gradient_checkpointing_enable", note)
    train(dataset, checkpoint, tmp_path / "recomputed", FAST.model_copy(update={"recompute": True}))
    assert asked and weights(tmp_path / "recomputed") == weights(router)


@pytest.mark.parametrize("bf16", [True, False])
def test_packed_batches_are_read_in_bfloat16_where_the_study_says_so(
    bf16: bool, dataset: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = []

    def note(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        narrow.append(torch.is_autocast_enabled("cpu"))
        return last_states(model, batch)

    for reader in ("hf_trainer", "head", "frozen_layers"):
        monkeypatch.setattr(f"arbitrage.routing.{reader}.last_states", note)
    training = FAST.model_copy(update={"bf16": bf16, "epochs": 0.2, "top_layers": 1})
    train(dataset, checkpoint, tmp_path / "router", training)
    assert len(narrow) > 3 and set(narrow) == {bf16}


def interrupt(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """End the training after an update, as a kill does; checkpoints are written after each tenth of it."""
    monkeypatch.setattr("arbitrage.routing.hf_trainer.SAVING_SHARE", math.inf)
    said = Progress.on_step_end

    def stop(self: Progress, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        said(self, args, state, control, **kwargs)
        if state.global_step == after:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "on_step_end", stop)


@pytest.mark.parametrize("after", [9, 19])  # within the first epoch, and within the second
def test_an_interrupted_training_resumes_to_the_same_router(
    after: int, router: Path, dataset: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "default"
    with monkeypatch.context() as patched:
        interrupt(patched, after)
        with pytest.raises(KeyboardInterrupt):
            train(dataset, checkpoint, out)
    assert not out.exists()
    told = train(dataset, checkpoint, out)
    assert 0 < told["resumed_after"] < after
    assert weights(out) == weights(router)
    assert list(tmp_path.iterdir()) == [out]


def _cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def _turn_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.fault("training checkpoint truncated, one bit flipped, or part of it missing")
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("trainer_state.json", _cut_off),
        ("model.safetensors", _turn_a_bit),
        ("optimizer.pt", _turn_a_bit),
        ("../.{}.sha256", Path.unlink),
    ],
)
def test_a_half_written_or_damaged_checkpoint_is_passed_over(
    name: str,
    damage: Callable[[Path], None],
    router: Path,
    dataset: Path,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "default"
    with monkeypatch.context() as patched:
        interrupt(patched, 9)
        with pytest.raises(KeyboardInterrupt):
            train(dataset, checkpoint, out)
    saved = sorted((tmp_path / ".default.training").glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    damage(saved[-1] / name.format(saved[-1].name))
    told = train(dataset, checkpoint, out)
    assert f"{saved[-1]} is half written or damaged" in capsys.readouterr().err
    assert told["resumed_after"] == int(saved[-2].name[11:])
    assert weights(out) == weights(router)


def test_checkpoints_of_other_settings_are_not_resumed(
    dataset: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "default"
    with monkeypatch.context() as patched:
        interrupt(patched, 9)
        with pytest.raises(KeyboardInterrupt):
            train(dataset, checkpoint, out)
    changed = FAST.model_copy(update={"learning_rate": 2e-3})
    assert train(dataset, checkpoint, out, changed)["resumed_after"] == 0


def test_a_router_learns_a_rule_it_can_see(dataset: Path, checkpoint: Path, tmp_path: Path) -> None:
    train(dataset, checkpoint, tmp_path / "router", RouterTraining(epochs=12.0, batch_size=8, learning_rate=3e-3))
    rows = heldout_rows(dataset, RouterScorer(resolve(tmp_path / "router"), Router()), "default")
    right = [(row["router_score"] > 0.5) == (row["advantage"] > 0) for row in rows]
    assert sum(right) / len(right) > 0.9


@pytest.mark.parametrize("loss", ["weighted", "regression"])
def test_a_classifier_learns_from_advantages_too(loss: Loss, dataset: Path, checkpoint: Path, tmp_path: Path) -> None:
    encoding = TextEncoding(build_tokenizer("char"), "\n\n", annotate=True)
    steps = dataset.with_name("steps.parquet")
    build_dataset(steps, Variant(loss=loss), Dataset(), encoding, 42, tmp_path / "data")
    settings = RouterTraining(epochs=12.0, batch_size=8, learning_rate=3e-3)
    assert train(tmp_path / "data", checkpoint, tmp_path / "router", settings)["loss"] == loss
    rows = heldout_rows(tmp_path / "data", RouterScorer(resolve(tmp_path / "router"), Router()), loss)
    right = [(row["router_score"] > 0.5) == (row["advantage"] > 0) for row in rows if row["advantage"]]
    assert sum(right) / len(right) > 0.9


@pytest.mark.parametrize(("ordinal", "values", "logits"), [(False, 9, 4), (True, 9, 3), (True, 2, 1)])
def test_more_classes_have_a_logit_each_or_one_a_cut(
    ordinal: bool, values: int, logits: int, checkpoint: Path, tmp_path: Path
) -> None:
    rows = [step_row(f"q{i}", 0, (i % values - values // 2) / 10 or 0.05, f"x = {i}\n\n") for i in range(60)]
    variant = Variant(classes=4, ordinal=ordinal)
    write_table(tmp_path / "steps.parquet", "steps", rows)
    encoding = TextEncoding(build_tokenizer("char"), "\n\n", annotate=True)
    build_dataset(tmp_path / "steps.parquet", variant, Dataset(), encoding, 42, tmp_path / "data")
    train(tmp_path / "data", checkpoint, tmp_path / "router", FAST.model_copy(update={"epochs": 1.0}))
    assert json.loads((tmp_path / "router" / "config.json").read_text())["id2label"].keys() == set(
        map(str, range(logits))
    )
    scores = heldout_rows(tmp_path / "data", RouterScorer(resolve(tmp_path / "router"), Router()), "four")
    assert all(0 < row["router_score"] < 1 for row in scores)


def test_a_token_classifier_with_two_labels_keeps_its_body_and_loses_its_head(dataset: Path, tmp_path: Path) -> None:
    start = build_classifier(tmp_path / "prm", head="token", labels=2)
    still = FAST.model_copy(update={"learning_rate": 1e-12, "epochs": 0.1})
    train(dataset, start, tmp_path / "router", still)
    old, new = (AutoModelForSequenceClassification.from_pretrained(path) for path in (start, tmp_path / "router"))
    assert torch.allclose(old.model.layers[0].mlp.up_proj.weight, new.model.layers[0].mlp.up_proj.weight)
    assert not torch.allclose(old.score.weight, new.score.weight)


@pytest.mark.parametrize(("rows", "most"), [(1, 3), (7, 1), (64, 20), (1000, 9)])
def test_every_row_comes_once_an_epoch_and_updates_are_as_even_as_whole_rows_allow(rows: int, most: int) -> None:
    sizes = [1 + (37 * i) % most for i in range(rows)]
    trees = [next(pack([np.zeros(1 + (53 * i) % 97, dtype=np.int32)], 97)) for i in range(rows)]
    sampler = Updates([Judged(trees[i], np.zeros(sizes[i], dtype=np.int64)) for i in range(rows)], 8, seed=3)
    first, again = list(sampler), list(sampler)
    sampler.set_epoch(1)
    assert sorted(row for update in first for row in update) == list(range(rows))
    assert first == again
    assert len(first) == 1 or list(sampler) != first
    assert len(first) == len(sampler) == min(math.ceil(sum(sizes) / 8), rows)
    assert all(first)
    if most < 10:  # no row is larger than an update: each is within half a row, on either side, of the mean
        mean = sum(sizes) / len(first)
        assert all(abs(sum(sizes[row] for row in update) - mean) <= most for update in first)
    if rows == 1000:
        lengths = [[len(trees[row]) for row in update] for update in first]
        assert np.mean([max(update) - min(update) for update in lengths]) < 10


def test_only_the_top_layers_are_trained_where_the_study_says_so(
    dataset: Path, checkpoint: Path, tmp_path: Path
) -> None:
    training = FAST.model_copy(update={"top_layers": 1, "epochs": 0.5})
    train(dataset, checkpoint, tmp_path / "router", training)
    before, after = (
        AutoModelForSequenceClassification.from_pretrained(each).base_model.state_dict()
        for each in (checkpoint, tmp_path / "router")
    )
    last = max(int(name.split(".")[1]) for name in before if name.startswith("layers."))
    assert last > 0
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith((f"layers.{last}.", "norm.")) for name in changed)


def test_more_top_layers_than_the_start_has_are_refused(dataset: Path, checkpoint: Path, tmp_path: Path) -> None:
    training = FAST.model_copy(update={"top_layers": 9})
    with pytest.raises(RoutingError, match=r"top_layers 9: the router's start has \d+ layers; give as many or fewer"):
        train(dataset, checkpoint, tmp_path / "router", training)
    assert not (tmp_path / "router").exists()


def test_a_checkpoint_without_weights_is_refused(dataset: Path, checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "prm", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(EngineError, match=r"prm: no \*\.safetensors file"):
        train(dataset, tmp_path / "prm", tmp_path / "router")


def test_inputs_longer_than_the_start_reads_are_refused(dataset: Path, checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "prm")
    config = json.loads((tmp_path / "prm" / "config.json").read_text())
    (tmp_path / "prm" / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 20}))
    with pytest.raises(
        RoutingError, match=r"longest input has \d+ tokens, .* reads 20; lower dataset\.max_length to 20"
    ):
        train(dataset, tmp_path / "prm", tmp_path / "router")


def test_an_unknown_device_is_refused(dataset: Path, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"router\.device 'tpu'"):
        train_router(dataset, resolve(checkpoint), FAST, seed=1, device="tpu", out_dir=tmp_path / "router")


@pytest.mark.fault("a checkpoint that gives no numbers")
def test_a_start_whose_states_are_not_finite_is_refused_and_leaves_no_router(
    dataset: Path, checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copytree(checkpoint, tmp_path / "prm")
    weights_file = tmp_path / "prm" / "model.safetensors"
    tensors = load_file(weights_file)
    tensors["model.norm.weight"][0] = float("nan")
    save_file(tensors, weights_file, {"format": "pt"})
    with pytest.raises(RoutingError, match=r"starts from gives states that are not finite.*router\.init"):
        train(dataset, tmp_path / "prm", tmp_path / "router")
    assert not (tmp_path / "router").exists()


@pytest.mark.fault("training whose loss is not a number")
def test_a_training_that_diverges_is_refused_and_leaves_no_router(
    dataset: Path, checkpoint: Path, tmp_path: Path
) -> None:
    wild = FAST.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(
        RoutingError, match=r"the loss is (nan|inf) at update \d+; .* Lower router\.training\.learning_rate"
    ):
        train(dataset, checkpoint, tmp_path / "router", wild)
    assert not (tmp_path / "router").exists()


def test_more_than_one_visible_gpu_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Trainer would wrap the model in DataParallel, with updates of n times the configured size."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    class EightGpus:
        def __init__(self, **settings: Any) -> None:
            self.n_gpu = 8

    monkeypatch.setattr("arbitrage.routing.train.TrainingArguments", EightGpus)
    with pytest.raises(EngineError, match=r"8 GPUs are visible.*CUDA_VISIBLE_DEVICES to one"):
        _arguments(tmp_path, FAST, 0, "cuda", sharded=False)


@pytest.mark.parametrize(("cost_s", "saves"), [(0.0, [1, 2, 3, 4]), (1.0, []), (0.09, [2, 4])])
def test_checkpoints_take_a_twentieth_of_the_time_at_most(
    monkeypatch: pytest.MonkeyPatch, cost_s: float, saves: list[int]
) -> None:
    """Five updates of a second each: a router of 0.5 billion parameters is not written after each of them."""
    now = 0.0
    monkeypatch.setattr("arbitrage.routing.hf_trainer.time.monotonic", lambda: now)
    saving, written, arguments = Saving(), list[int](), TrainingArguments(output_dir="unused", use_cpu=True)
    model = SimpleNamespace(num_parameters=lambda: int(cost_s * DISK_BYTES_S / 12))
    state, control = TrainerState(max_steps=5), TrainerControl()
    saving.on_train_begin(arguments, state, control, model=model)
    for update in range(1, 6):
        now, state.global_step, control.should_save = float(update), update, False
        saving.on_step_end(arguments, state, control)
        if control.should_save:
            written.append(update)
            now += cost_s
            saving.on_save(arguments, state, control)
    assert written == saves
