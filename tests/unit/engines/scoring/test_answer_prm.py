from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from arbitrage.config.prm import FORMATS, Prm
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.hf.incremental import LiveScorer
from arbitrage.engines.scoring.answer_prm import AnswerScorer
from arbitrage.speculation.protocols import EngineError, ScoreError
from arbitrage.speculation.steps import AuthoredStep
from tests.support.tiny_models import Architecture
from tests.support.tiny_prms import PROBLEM, STEPS, TEXTS, build_answering, prm_tokenizer

SHEPHERD = ("ки", " +", " -")


def load(directory: Path, kind: Any, **keys: Any) -> AnswerScorer:
    return AnswerScorer(resolve(directory), Prm(path=str(directory), kind=kind, batch_size=4, **keys), "\n\n")


def choice(directory: Path, text: str, words: tuple[str, str], bos: bool = False) -> float:
    """P(words[1]) against words[0], from the model's whole logits after `text`, encoded here."""
    tokenizer: Any = AutoTokenizer.from_pretrained(directory)
    ids = ([tokenizer.bos_token_id] if bos else []) + tokenizer.encode(text, add_special_tokens=False)
    logits = AutoModelForCausalLM.from_pretrained(directory)(torch.tensor([ids])).logits[0, -1]
    return float(
        logits[[tokenizer.convert_tokens_to_ids(tokenizer.tokenize(word))[0] for word in words]].softmax(-1)[1]
    )


def scored(prm: AnswerScorer) -> list[float]:
    """Scores of the three steps, batched; the live scorer must agree."""
    inputs = [prm.input_ids(PROBLEM, STEPS[:number], STEPS[number]) for number in range(3)]
    found, live = prm.score(inputs), LiveScorer(prm)
    assert [live.score_one(ids) for ids in inputs] == pytest.approx(found, abs=1e-5)
    assert len(set(found)) == 3
    return found


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_math_shepherd_answers_at_the_mark_after_each_step(tmp_path: Path, architecture: Architecture) -> None:
    build_answering(tmp_path, prm_tokenizer(*SHEPHERD, chat_template=None), architecture)
    text, expected = f"{PROBLEM} ", []
    for number, step in enumerate(TEXTS, start=1):
        text += f"Step {number}: {step} ки"
        expected.append(choice(tmp_path, text, (" -", " +")))
        text += "\n"
    assert scored(load(tmp_path, "token")) == pytest.approx(expected, abs=1e-5)


def test_rlhflow_answers_a_step_a_turn(tmp_path: Path) -> None:
    build_answering(tmp_path, prm_tokenizer())
    text, expected = "", []
    for number, step in enumerate(TEXTS):
        opening = f"{PROBLEM} " if number == 0 else ""
        text += f"<|im_start|>user\n{opening}{step}<|im_end|>\n<|im_start|>assistant\n"
        expected.append(choice(tmp_path, text, ("-", "+")))
        text += "+<|im_end|>\n"
    assert scored(load(tmp_path, "token", format="rlhflow")) == pytest.approx(expected, abs=1e-5)


def test_a_judge_says_yes_or_no_to_one_question(tmp_path: Path) -> None:
    build_answering(tmp_path, prm_tokenizer("Yes", "No"), "qwen2")
    expected = []
    for number, step in enumerate(TEXTS):
        question = FORMATS["judge"].question or ""
        for name, value in (("problem", PROBLEM), ("history", "\n\n".join(TEXTS[:number])), ("step", step)):
            question = question.replace(f"{{{name}}}", value)
        text = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        expected.append(choice(tmp_path, text, ("No", "Yes")))
    assert scored(load(tmp_path, "judge")) == pytest.approx(expected, abs=1e-5)


def test_an_input_opens_with_one_bos_where_the_tokenizer_has_one(tmp_path: Path) -> None:
    tokenizer = prm_tokenizer(*SHEPHERD, chat_template=None)
    tokenizer.bos_token = "<s>"
    prm = load(build_answering(tmp_path / "without", tokenizer), "token")
    ids = prm.input_ids(PROBLEM, [], STEPS[0])
    assert prm.score([ids])[0] == pytest.approx(
        choice(tmp_path / "without", f"{PROBLEM} Step 1: {TEXTS[0]} ки", (" -", " +"), bos=True), abs=1e-5
    )
    tokenizer.chat_template = "{{ bos_token }}{{ messages[0].content }}<|im_end|>"
    tokenizer.add_tokens(["Yes", "No"])
    judge = load(build_answering(tmp_path / "with", tokenizer), "judge")
    assert judge.input_ids(PROBLEM, [], STEPS[0]).count(tokenizer.bos_token_id) == 1


@pytest.mark.parametrize(
    ("words", "kind", "template", "message"),
    [
        ((" +", " -"), "token", {}, "the mark 'ки' is no token"),
        (("ки",), "token", {"right": " correct"}, r"' correct' is not one token after .*prm\.template\.right"),
        (("No",), "judge", {"right": "Certainly"}, "'Certainly' is not one token"),
    ],
)
def test_a_mark_or_an_answer_that_is_no_token_is_refused_before_weights_are_read(
    tmp_path: Path, words: tuple[str, ...], kind: str, template: dict[str, str], message: str
) -> None:
    build_answering(tmp_path, prm_tokenizer(*words, " -"))
    save_file({"none of the model's": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(EngineError, match=message):
        load(tmp_path, kind, template=template)


def test_an_answer_that_merges_with_the_prompt_is_refused(tmp_path: Path) -> None:
    ends_in_a_space = "{{ messages[0].content }}<|im_end|>assistant: "
    build_answering(tmp_path, prm_tokenizer(" +", " -", chat_template=ends_in_a_space))
    with pytest.raises(EngineError, match=r"'-' is not one token after '.*assistant: '"):
        load(tmp_path, "token", format="rlhflow")


def test_a_score_that_is_not_finite_is_told(tmp_path: Path) -> None:
    prm = load(build_answering(tmp_path, prm_tokenizer("Yes", "No")), "judge")
    prm.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(ScoreError, match=r"the score of input 0 .* is nan"):
        prm.score([prm.input_ids(PROBLEM, [], STEPS[0])])


def test_two_rows_in_float32_tell_steps_apart_that_bfloat16_ties(tmp_path: Path) -> None:
    """A judge in bfloat16 scores on a grid of 0.03 where its logits are large: a third of different steps tied."""
    build_answering(tmp_path, prm_tokenizer("Yes", "No"))
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        model.lm_head.weight *= 8  # logits of a size at which bfloat16 has steps of 1/8 and more
    model.save_pretrained(tmp_path)
    prm = load(tmp_path, "judge", dtype="bfloat16")
    inputs = [prm.input_ids(PROBLEM, STEPS[:1], AuthoredStep("draft", f"So x = {number}.")) for number in range(40)]
    scores = prm.score(inputs)
    half = model.to(torch.bfloat16)
    with torch.inference_mode():
        rows = [half(torch.tensor([ids])).logits[0, -1, list(prm.candidates)].double() for ids in inputs]
    rounded = [float(row.softmax(-1)[1]) for row in rows]
    assert len(inputs) - len(set(rounded)) > 2 * (len(inputs) - len(set(scores)))
