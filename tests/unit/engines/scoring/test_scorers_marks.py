from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForTokenClassification, Qwen2Model

from arbitrage.config.prm import Prm
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.hf.incremental import LiveScorer
from arbitrage.engines.scoring.scorers import PrmScorer
from arbitrage.speculation.protocols import EngineError
from tests.support.tiny_prms import PROBLEM, STEPS, TEXTS, build_marked, prm_tokenizer, save, small

MARK = "<extra_0>"
SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_marked(tmp_path_factory.mktemp("marked"), prm_tokenizer(MARK))


def load(directory: Path, **keys: Any) -> PrmScorer:
    return PrmScorer(resolve(directory), Prm(path=str(directory), kind="marks", batch_size=4, **keys), "\n\n")


def card_scores(directory: Path) -> list[float]:
    """As the model card has it: the whole conversation at once, P(label 1) at every mark."""
    from safetensors.torch import load_file

    tokenizer: Any = AutoTokenizer.from_pretrained(directory)
    messages = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": PROBLEM},
        {"role": "assistant", "content": MARK.join(TEXTS) + MARK},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
    ids = torch.tensor([tokenizer.encode(text)])
    weights = load_file(directory / "model.safetensors")
    body = Qwen2Model(Qwen2Config.from_pretrained(directory))
    body.load_state_dict({name.removeprefix("model."): w for name, w in weights.items() if name.startswith("model.")})
    states = body.eval()(ids).last_hidden_state[0]
    hidden = torch.relu(states @ weights["score.0.weight"].T + weights["score.0.bias"])
    probabilities = (hidden @ weights["score.2.weight"].T + weights["score.2.bias"]).softmax(-1)
    return [float(p) for p in probabilities[ids[0] == tokenizer.convert_tokens_to_ids(MARK), 1]]


def test_a_step_is_scored_at_its_mark_as_the_model_card_says(directory: Path) -> None:
    prm = load(directory)
    inputs = [prm.input_ids(PROBLEM, STEPS[:number], STEPS[number]) for number in range(3)]
    expected = card_scores(directory)
    assert len(set(expected)) == 3
    assert prm.score(inputs) == pytest.approx(expected, abs=1e-5)
    live = LiveScorer(prm)
    assert [live.score_one(ids) for ids in inputs] == pytest.approx(expected, abs=1e-5)
    assert live.last_tokens < 15  # only what came since the mark before


def test_which_label_is_right_can_be_chosen_and_is_part_of_the_identity(directory: Path) -> None:
    usual, other = load(directory), load(directory, right_label=0)
    ids = usual.input_ids(PROBLEM, [], STEPS[0])
    assert usual.score([ids])[0] + other.score([ids])[0] == pytest.approx(1, abs=1e-6)
    assert usual.identity != other.identity


def test_a_change_of_the_template_changes_input_and_identity(directory: Path) -> None:
    usual, other = load(directory), load(directory, template={"system": "Judge.", "step": "({number}) {step}"})
    text = other.tokenizer.decode(other.input_ids(PROBLEM, STEPS[:1], STEPS[1]))
    assert text.startswith("<|im_start|>system\nJudge.")
    assert text.endswith(f"(1) First we add.{MARK}(2) So x = 7.{MARK}")
    assert usual.identity != other.identity


def test_a_linear_token_classifier_trained_on_marks_is_read_at_them_too(tmp_path: Path) -> None:
    tokenizer = prm_tokenizer(MARK)
    torch.manual_seed(0)
    save(Qwen2ForTokenClassification(Qwen2Config(**small(tokenizer), num_labels=2)), tokenizer, tmp_path)
    prm = load(tmp_path)
    ids = prm.input_ids(PROBLEM, STEPS[:1], STEPS[1])
    logits = Qwen2ForTokenClassification.from_pretrained(tmp_path)(torch.tensor([ids])).logits[0, -1]
    assert prm.score([ids]) == [pytest.approx(float(logits.softmax(-1)[1]), abs=1e-5)]


def test_a_tokenizer_without_the_mark_or_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"the mark '<extra_0>' is no token.*prm\.template\.mark"):
        load(build_marked(tmp_path / "a", prm_tokenizer()))
    with pytest.raises(EngineError, match=r"has no chat template; put a chat_template\.jinja"):
        load(build_marked(tmp_path / "b", prm_tokenizer(MARK, chat_template=None)))
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    with pytest.raises(EngineError, match=r"cannot render the PRM's input \(no system\); change prm\.template"):
        load(build_marked(tmp_path / "c", prm_tokenizer(MARK, chat_template=refusing)))


def test_a_mark_that_merges_with_the_step_is_refused_when_it_happens(directory: Path) -> None:
    prm = load(directory, template={"mark": "\n", "chat": "none"})
    prm.input_ids(PROBLEM, [], STEPS[0])
    from dataclasses import replace

    with pytest.raises(EngineError, match=r"the mark '\\n' is no token of its own"):
        prm.input_ids(PROBLEM, [], replace(STEPS[0], text="a\n"))
