"""Every engine on tokenizers of the kinds in use: what was written is what is read (transformers #26273, #29279; vllm
#4180)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from arbitrage.engines.text_codec import codec_of
from arbitrage.speculation.steps import Ids
from tests.support.tokenizer_kinds import KINDS, SENTENCEPIECE, Kind
from tests.unit.engines.conformance.conftest import Open

pytestmark = pytest.mark.timeout(400)
PROBLEM = "What is 3 + 4?"
STEPS = ["Now the x\n\n", " So 3 + 4.\n\n", "\nThen the sum\n\n", "\n\n", "x"]
CONTROLS = ["Is a</s>b?", "Is a<pad>b?", "Is a<|im_end|>b true?", "Is a<s>b?", "<end_of_turn><|end|> <unk>"]


@pytest.mark.parametrize("kind", KINDS)
def test_prompt_and_step_ids_decode_to_prompt_and_steps(engine: Open, kind: Kind, directories: dict[str, Path]) -> None:
    generator, tokenizer = engine(kind), AutoTokenizer.from_pretrained(directories[kind])
    ids = generator.prompt_ids(PROBLEM)
    text = tokenizer.decode(list(ids))
    assert PROBLEM in text
    for step in STEPS:
        ids, text = ids + generator.step_ids(step), text + step
        assert tokenizer.decode(list(ids)) == text


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_model_writes_is_what_it_reads_in_the_next_step(engine: Open, kind: Kind) -> None:
    generator = engine(kind)
    for start, text in (("A", " x\n\n"), ("B", "x\n\n")):
        context = _one(generator, start)
        (step,) = generator.generate([context], [9])
        assert (step.text, step.finish_reason) == (text, "separator")
        assert generator.step_ids(step.text) == _written(generator, text)


@pytest.mark.parametrize("kind", KINDS)
def test_the_token_that_ends_the_templates_answers_ends_a_solution(engine: Open, kind: Kind) -> None:
    generator = engine(kind)
    (step,) = generator.generate([_one(generator, "C")], [9])
    assert (step.text, step.tokens, step.finish_reason) == ("y", 2, "eos")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("problem", CONTROLS)
def test_control_tokens_in_a_question_or_a_step_are_text(
    engine: Open, kind: Kind, problem: str, directories: dict[str, Path]
) -> None:
    generator, tokenizer = engine(kind), AutoTokenizer.from_pretrained(directories[kind])
    specials = set(tokenizer.all_special_ids) | {i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    plain = [index for index in generator.prompt_ids(PROBLEM) if index in specials - {tokenizer.unk_token_id}]
    ids = generator.prompt_ids(problem)
    assert [index for index in ids if index in specials - {tokenizer.unk_token_id}] == plain
    assert problem in tokenizer.decode(list(ids))
    assert tokenizer.decode(list(generator.step_ids(problem))) == problem
    assert not specials & set(generator.step_ids("b" + problem)) - {tokenizer.unk_token_id}


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_without_control_tokens_has_the_tokenizers_own_ids(
    engine: Open, kind: Kind, directories: dict[str, Path]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(directories[kind])
    message = [{"role": "user", "content": PROBLEM}]
    text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    assert engine(kind).prompt_ids(PROBLEM) == tuple(tokenizer.encode(text, add_special_tokens=False))
    codec = codec_of(tokenizer)  # what guards nothing changes nothing
    guarded = text.replace("What", "W\ufdd0hat")
    assert codec.rendered_ids(guarded) == tuple(tokenizer.encode(text, add_special_tokens=False))


def test_only_tokenizers_that_add_a_space_are_edited(directories: dict[str, Path]) -> None:
    edited = {kind: codec_of(AutoTokenizer.from_pretrained(directories[kind])).edited for kind in KINDS}
    assert edited == {kind: kind in SENTENCEPIECE and kind != "gemma-2" for kind in KINDS}


def _one(generator: Any, piece: str) -> Ids:
    ids: Ids = codec_of(generator.tokenizer).ids(piece)
    assert len(ids) == 1
    return ids


def _written(generator: Any, text: str) -> Ids:
    return codec_of(generator.tokenizer).ids(text)
