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
from arbitrage.lab.generation import context_ids, load_language_model, load_tokenizer, split_steps
from arbitrage.lab.optimise import Schedule
from arbitrage.lab.question_stream import lab_questions
from arbitrage.lab.tokenizer import ADDED, BOS, VOCABULARY_SIZE
from arbitrage.lab.training import train_language_model
from arbitrage.lab.zoo_cards import ROLES, card_text, file_sha256, recipe_line
from arbitrage.quantisation.rounding import quantise_directory, round_to_bits
from arbitrage.speculation.protocols import EngineError

ZOO = Path(__file__).parents[3] / "src" / "arbitrage" / "lab" / "zoo"


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


def test_a_model_of_the_lab_is_rounded(tokenizer_folder: Path, tmp_path: Path) -> None:
    schedule = Schedule(steps=2, tokens_per_batch=512, batches_per_step=1)
    train_language_model(tokenizer_folder, tmp_path / "target", (16, 2, 2, 32), schedule, 0, "cpu", {})
    quantise_directory(tmp_path / "target", tmp_path / "low", bits=3, group_size=16)
    with pytest.raises(EngineError, match=r"target: .*group_size 5 does not divide .*change `quantise`"):
        quantise_directory(tmp_path / "target", tmp_path / "odd", bits=3, group_size=5)
    model = load_language_model(tmp_path / "low")
    assert model.model.layers[0].mlp.up_proj.weight[0].unique().numel() <= 7


def test_rounding_keeps_the_largest_weights_and_refuses_what_cannot_be() -> None:
    weight = torch.tensor([[1.0, -0.4, 0.1, 3.0]])
    assert round_to_bits(weight, bits=3, group_size=4).tolist() == [[1.0, 0.0, 0.0, 3.0]]
    with pytest.raises(ValueError, match="group_size 3"):
        round_to_bits(weight, bits=3, group_size=3)
    with pytest.raises(ValueError, match="got 1"):
        round_to_bits(weight, bits=1, group_size=4)


@pytest.mark.parametrize("role", ROLES)
def test_the_committed_zoo_is_what_its_cards_say(role: str) -> None:
    card = (ZOO / role / "README.md").read_text()
    assert card == card_text(role, ZOO / role, json.loads((ZOO / "metrics.json").read_text()))
    sums = dict(re.findall(r"- `(.+?)` ([0-9a-f]{64})", card))
    assert "model.safetensors" in sums
    assert sums == {path.name: file_sha256(path) for path in (ZOO / role).iterdir() if path.name != "README.md"}
    assert load_tokenizer(ZOO / role).encode(SEPARATOR, add_special_tokens=False) == [
        load_tokenizer(ZOO / role).convert_tokens_to_ids(SEPARATOR)
    ]


@pytest.mark.parametrize("role", ROLES)
def test_the_recipe_on_a_card_is_the_default_configuration(role: str) -> None:
    written = recipe_line(json.loads((ZOO / role / "training.json").read_text()))
    zoo = Zoo.model_validate(yaml.safe_load(written)["zoo"])
    assert zoo.model_dump(include={"seed", role}) == Zoo().model_dump(include={"seed", role})


def test_the_committed_zoo_is_small() -> None:
    assert sum(path.stat().st_size for path in ZOO.rglob("*") if path.is_file()) <= 20 * 10**6
