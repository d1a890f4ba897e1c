"""Tokenizer, training, PRM and rounding on tiny sizes; and the committed zoo is what its cards say."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.config.zoo import Zoo
from arbitrage.lab.families import SEPARATOR
from arbitrage.lab.generation import context_ids, continue_texts, load_language_model, load_tokenizer, split_steps
from arbitrage.lab.prm import area_under_curve, train_prm
from arbitrage.lab.question_stream import lab_questions
from arbitrage.lab.tokenizer import ADDED, BOS, VOCABULARY_SIZE, build_tokenizer
from arbitrage.lab.training import Schedule, train_language_model
from arbitrage.lab.zoo_cards import card_text, file_sha256, recipe
from arbitrage.quantisation.rounding import quantise_directory, round_to_bits
from arbitrage.speculation.protocols import EngineError

ZOO = Path(__file__).parents[3] / "src" / "arbitrage" / "lab" / "zoo"


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(questions=500).save_pretrained(folder)
    return folder


def test_a_saved_tokenizer_is_compact_and_exact(tokenizer_folder: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    assert len(tokenizer) <= VOCABULARY_SIZE
    for row in lab_questions("validation", 200, seed=5):
        text = row["problem"] + "\n" + row["solution"]
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text
        # A context's ids are the concatenation of its parts' ids.
        assert context_ids(tokenizer, row["problem"], split_steps(row["solution"]))[1:-1] == ids
    for text in ADDED:
        assert len(tokenizer.encode(text, add_special_tokens=False)) == 1
    assert len(tokenizer.encode("1234567890", add_special_tokens=False)) == 10


@given(text=st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_text_comes_back(tokenizer_folder: Path, text: str) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_the_chat_template_begins_with_one_bos(tokenizer_folder: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    message = [{"role": "user", "content": "Write 57 in base 3."}]
    assert tokenizer.apply_chat_template(message, tokenize=False) == f"{BOS}Write 57 in base 3.\n"
    ids = tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
    assert ids == context_ids(tokenizer, "Write 57 in base 3.")


def test_a_tiny_zoo_trains_writes_and_rounds(tokenizer_folder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    schedule = Schedule(steps=12, tokens_per_batch=512, batches_per_step=1)
    for role, layers in (("draft", 1), ("target", 2)):
        train_language_model(tokenizer, tmp_path / role, (16, layers, 2, 32), schedule, seed=0, device="cpu")
    record = json.loads((tmp_path / "target" / "training.json").read_text())
    assert record["final_loss"] < 6.2, "twelve steps must at least begin to learn"
    more = tmp_path / "more"
    train_language_model(tokenizer, more, (16, 2, 2, 32), schedule, seed=1, device="cpu", start=tmp_path / "target")
    assert json.loads((more / "training.json").read_text())["before"] == record
    measured = train_prm(
        tmp_path / "draft",
        tmp_path / "target",
        tmp_path / "prm",
        layers=1,
        questions=2,
        schedule=schedule,
        seed=0,
        device="cpu",
    )
    assert measured["held_out_steps"] > 0
    quantise_directory(tmp_path / "target", tmp_path / "low", bits=3, group_size=16)
    with pytest.raises(EngineError, match=r"target: .*group_size 5 does not divide .*change `quantise`"):
        quantise_directory(tmp_path / "target", tmp_path / "odd", bits=3, group_size=5)
    model = load_language_model(tmp_path / "low")
    assert model.model.layers[0].mlp.up_proj.weight[0].unique().numel() <= 7
    texts = continue_texts(model, tokenizer, [context_ids(tokenizer, "Write 57 in base 3.")] * 2, max_new_tokens=5)
    assert texts[0] == texts[1]


def test_rounding_keeps_the_largest_weights_and_refuses_what_cannot_be() -> None:
    weight = torch.tensor([[1.0, -0.4, 0.1, 3.0]])
    assert round_to_bits(weight, bits=3, group_size=4).tolist() == [[1.0, 0.0, 0.0, 3.0]]
    with pytest.raises(ValueError, match="group_size 3"):
        round_to_bits(weight, bits=3, group_size=3)
    with pytest.raises(ValueError, match="got 1"):
        round_to_bits(weight, bits=1, group_size=4)


@pytest.mark.parametrize(
    ("scores", "right", "expected"),
    [([0.1, 0.9], [False, True], 1.0), ([0.9, 0.1], [False, True], 0.0), ([0.5, 0.5], [False, True], 0.5)],
)
def test_area_under_curve(scores: list[float], right: list[bool], expected: float) -> None:
    assert area_under_curve(scores, right) == expected


@pytest.mark.parametrize("role", ["draft", "target", "prm"])
def test_the_committed_zoo_is_what_its_cards_say(role: str) -> None:
    card = (ZOO / role / "README.md").read_text()
    assert card == card_text(role, ZOO / role, json.loads((ZOO / "metrics.json").read_text()))
    sums = dict(re.findall(r"- `(.+?)` ([0-9a-f]{64})", card))
    assert "model.safetensors" in sums
    assert sums == {path.name: file_sha256(path) for path in (ZOO / role).iterdir() if path.name != "README.md"}
    assert load_tokenizer(ZOO / role).encode(SEPARATOR, add_special_tokens=False) == [
        load_tokenizer(ZOO / role).convert_tokens_to_ids(SEPARATOR)
    ]


@pytest.mark.parametrize("role", ["draft", "target", "prm"])
def test_the_recipe_on_a_card_is_a_configuration(role: str) -> None:
    written = recipe(role, json.loads((ZOO / role / "training.json").read_text()))
    zoo = Zoo.model_validate(yaml.safe_load(written)["zoo"])
    varied = {"steps": ..., "learning_rate": ...}  # in two parts
    assert getattr(zoo, role).model_dump() | varied == getattr(Zoo(), role).model_dump() | varied


def test_the_committed_zoo_is_small() -> None:
    assert sum(path.stat().st_size for path in ZOO.rglob("*") if path.is_file()) <= 12 * 2**20
