"""A question read in one pass trains the router as its examples read one by one: same losses, same gradients."""

from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, Qwen2Config, Qwen2ForSequenceClassification

from arbitrage.config.router import Dataset, RouterTraining, Variant
from arbitrage.engines.checkpoints import resolve
from arbitrage.io.tables import read_frame, write_table
from arbitrage.lab.question_stream import draw_questions
from arbitrage.routing.dataset import build_dataset
from arbitrage.routing.hf_trainer import RouterTrainer
from arbitrage.routing.inputs import TextEncoding
from arbitrage.routing.losses import class_loss, ordinal_loss
from arbitrage.routing.train import _arguments, judged_rows
from arbitrage.runtime.paths import TRAIN
from tests.support.tiny_models import TokenizerKind, build_classifier, build_tokenizer
from tests.unit.routing.conftest import path_rows

ROOT = Path(__file__).resolve().parents[3]
ROUTER_START = ROOT / "src/arbitrage/lab/zoo/router_start"
PATHS = [[False, True, False, False, True, True], [True, False], [False, False, True], [True, True, False, True]]


def made_up() -> list[dict[str, Any]]:
    """Rows of the table `steps`, with accepted and rejected steps."""
    return [row for number, path in enumerate([*PATHS, PATHS[0]]) for row in path_rows(f"q{number}", path)]


def of_the_lab() -> list[dict[str, Any]]:
    """Worked solutions of the lab's; every third draft step is another question's, and rejected."""
    questions = list(islice(draw_questions("zoo-training", "packed", "lessons", distinct=False), 6))
    rows = []
    for number, (question, other) in enumerate(pairwise(questions)):
        for row in path_rows(f"q{number}", [index % 3 == 1 for index in range(len(question.steps))]):
            index = row["step_index"]
            history = [{**each, "text": step} for each, step in zip(row["history"], question.steps, strict=False)]
            drafted = other.steps[index % len(other.steps)] if row["label"] else question.steps[index]
            rows.append(row | {"problem": question.problem, "history": history, "draft_step": drafted})
    return rows


def dataset_of(directory: Path, tokenizer: Any, variant: Variant, rows: list[dict[str, Any]] | None = None) -> Path:
    """The data set of `rows` (`made_up`), one question of them held out."""
    rows = made_up() if rows is None else rows
    write_table(directory / "steps.parquet", "steps", rows)
    encoding = TextEncoding(tokenizer, "\n\n", annotate=variant.annotate)
    build_dataset(directory / "steps.parquet", variant, Dataset(), encoding, 42, directory / "data")
    return directory / "data"


def one_by_one(model: Any, dataset: Path, loss: Any) -> tuple[float, dict[str, torch.Tensor]]:
    """Mean loss and its gradients, each example a forward pass of the classifier itself."""
    frame = read_frame(dataset / TRAIN, "examples")
    total = torch.zeros(())
    for ids, label in zip(frame["input_ids"], frame["label"], strict=True):
        logits = model(input_ids=torch.tensor(ids[None].astype("int64"))).logits
        total = total + loss(logits, torch.tensor([int(label)])) / len(frame)
    model.zero_grad()
    total.backward()
    return float(total.detach()), {name: weight.grad.clone() for name, weight in model.named_parameters()}


def packed(model: Any, dataset: Path, loss: Any, columns: int) -> tuple[float, dict[str, torch.Tensor]]:
    """The same by one update of the trainer, with all examples in it."""
    rows, _ = judged_rows(dataset, "label", model.config, columns)
    settings = _arguments(dataset / "work", RouterTraining(), 0, "cpu", sharded=False)
    trainer = RouterTrainer(loss, 1000, columns, model=model, args=settings, train_dataset=rows)
    (update,) = trainer.get_train_dataloader()
    model.zero_grad()
    mean = trainer.training_step(model, update)
    return float(mean), {name: weight.grad.clone() for name, weight in model.named_parameters()}


def assert_equal_training(model: Any, dataset: Path, loss: Any = class_loss, columns: int = 4096) -> None:
    expected, gradients = one_by_one(model, dataset, loss)
    got, packed_gradients = packed(model, dataset, loss, columns)
    assert got == pytest.approx(expected, abs=1e-5)
    whole = torch.cat([gradient.flatten() for gradient in gradients.values()])
    difference = torch.cat([packed_gradients[name].flatten() for name in gradients]) - whole
    assert float(difference.norm()) <= 1e-5 * float(whole.norm())


def llama(directory: Path, kind: TokenizerKind = "char", labels: int = 2) -> Any:
    path = build_classifier(directory / "start", kind, labels=labels)
    return AutoModelForSequenceClassification.from_pretrained(path)


@pytest.mark.parametrize("kind", ["char", "bpe"])
@pytest.mark.parametrize("variant", [Variant(balance=False), Variant(annotate=False), Variant()])
def test_loss_and_gradients_are_those_of_the_examples_one_by_one(
    kind: TokenizerKind, variant: Variant, tmp_path: Path
) -> None:
    assert_equal_training(llama(tmp_path, kind), dataset_of(tmp_path, build_tokenizer(kind), variant))


@pytest.mark.parametrize("columns", [1, 150, 400])
def test_so_they_are_where_rows_and_micro_batches_are_cut(columns: int, tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, build_tokenizer("char"), Variant(balance=False))
    assert_equal_training(llama(tmp_path), dataset, columns=columns)


def test_so_they_are_with_the_ordinal_loss(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, build_tokenizer("char"), Variant(classes=4, ordinal=True, balance=False))
    assert_equal_training(llama(tmp_path, labels=3), dataset, ordinal_loss)


def test_so_they_are_with_attention_that_adds_its_mask(tmp_path: Path) -> None:
    model = llama(tmp_path)
    model.set_attn_implementation("eager")
    assert_equal_training(model, dataset_of(tmp_path, build_tokenizer("char"), Variant(balance=False)))


def test_so_they_are_of_a_qwen_with_biases(tmp_path: Path) -> None:
    tokenizer = build_tokenizer("bpe")
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.25,
        num_labels=2,  # type: ignore[call-arg]
        pad_token_id=tokenizer.pad_token_id,
    )
    dataset = dataset_of(tmp_path, tokenizer, Variant(balance=False))
    assert_equal_training(Qwen2ForSequenceClassification(config), dataset)


def test_so_they_are_of_the_labs_router_start(tmp_path: Path) -> None:
    start = resolve(ROUTER_START)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(
        ROUTER_START, num_labels=2, ignore_mismatched_sizes=True, dtype=torch.float32
    )
    assert load_file(ROUTER_START / "model.safetensors")["score.weight"].shape != model.score.weight.shape
    assert_equal_training(model, dataset_of(tmp_path, start.tokenizer(), Variant(balance=False), of_the_lab()))


def test_the_path_is_read_once_and_of_a_rejected_step_no_more_than_itself(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, build_tokenizer("char"), Variant(balance=False))
    config = llama(tmp_path).config
    frame = read_frame(dataset / TRAIN, "examples")
    rows, tokens = judged_rows(dataset, "label", config, 4096)
    assert len(rows) == frame["question_id"].nunique()
    expected = 0
    for question, examples in frame.groupby("question_id"):
        lengths = [len(ids) for ids in examples["input_ids"]]
        path = PATHS[int(question[1:]) % len(PATHS)]
        # What follows a rejected step shares all but it; the tag, one id here, and the first letter differ at once.
        branches = [f"Model 0: So x = {index} of {question}.\n\n" for index, yes in enumerate(path[:-1]) if yes]
        expected += lengths[-1] + sum(len(build_tokenizer("char").encode(branch)) for branch in branches)
    assert tokens == {"inputs": sum(map(len, frame["input_ids"])), "read": expected}
