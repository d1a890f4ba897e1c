"""What each model family reads, id by id: templates in the shape of Llama 3's and Qwen 2.5's."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from arbitrage.config.models import Model
from arbitrage.config.prompts import LLAMA3, PROMPTS, QWEN, PromptName
from arbitrage.engines.prompting import Prompter
from arbitrage.speculation.protocols import EngineError
from tests.support.tiny_models import build_tokenizer
from tests.support.tiny_prms import CHAT

LLAMA_BOS = "<|begin_of_text|>"
LLAMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
    "Today Date: {{ date_string if date_string is defined else strftime_now('%d %b %Y') }}\n\n{{ system }}<|eot_id|>"
    "{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
LLAMA_TEXT = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
    "Today Date: 26 Jul 2024\n\n{system}<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
    "What is 3 + 4?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
)
QWEN_TEXT = (
    "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\nWhat is 3 + 4?<|im_end|>\n<|im_start|>assistant\n"
)


def tokenizer_of(family: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with the family's special tokens and template. Qwen's has no BOS token."""
    tokenizer = build_tokenizer("bpe")
    if family == "llama3":
        tokenizer.add_special_tokens({"bos_token": LLAMA_BOS})
        tokenizer.add_tokens(["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"], special_tokens=True)
        tokenizer.chat_template = LLAMA
    else:
        tokenizer.bos_token = None
        tokenizer.add_tokens(["<|im_start|>"], special_tokens=True)
        tokenizer.chat_template = CHAT
    return tokenizer


def prompt_ids(tokenizer: Any, **settings: Any) -> tuple[int, ...]:
    model = Model.model_validate({"path": "m", **settings})
    return Prompter("m", tokenizer, model).prompt_ids("What is 3 + 4?")


@pytest.mark.parametrize(("family", "text"), [("llama3", LLAMA_TEXT), ("qwen", QWEN_TEXT)])
def test_a_familys_prompt_is_its_template_around_its_system_message_id_by_id(family: PromptName, text: str) -> None:
    tokenizer = tokenizer_of(family)
    ids = prompt_ids(tokenizer, prompt=family)
    expected = text.replace("{system}", str(PROMPTS[family]))
    assert tokenizer.decode(list(ids)) == expected
    assert ids == tuple(tokenizer.encode(expected, add_special_tokens=False))


def test_llamas_prompt_has_one_bos_the_pinned_date_and_ends_where_the_assistant_begins() -> None:
    tokenizer = tokenizer_of("llama3")
    ids = prompt_ids(tokenizer, prompt="llama3")
    assert ids[0] == tokenizer.bos_token_id and ids.count(ids[0]) == 1
    assert "Today Date: 26 Jul 2024" in tokenizer.decode(list(ids))
    opening = tokenizer.encode("<|start_header_id|>assistant<|end_header_id|>\n\n", add_special_tokens=False)
    assert list(ids[-len(opening) :]) == opening


def test_qwens_prompt_has_no_bos_and_ends_where_the_assistant_begins() -> None:
    tokenizer = tokenizer_of("qwen")
    ids = prompt_ids(tokenizer, prompt="qwen")
    assert ids[0] == tokenizer.convert_tokens_to_ids("<|im_start|>")
    opening = tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False)
    assert list(ids[-len(opening) :]) == opening


def test_plain_has_no_system_message_and_ones_own_words_go_before_the_familys() -> None:
    tokenizer = tokenizer_of("qwen")
    assert "system" not in tokenizer.decode(list(prompt_ids(tokenizer)))
    own = tokenizer.decode(list(prompt_ids(tokenizer, prompt="qwen", system_prompt="Think.")))
    assert "Think." in own and QWEN not in own


def test_the_llama_format_asks_for_numbered_steps_a_blank_line_apart_and_a_boxed_last_sentence() -> None:
    steps = LLAMA3.split("\n\n")
    assert [step.partition(":")[0] for step in steps if step.startswith("## ")] == ["## Step 1", "## Step 2"]
    assert "Therefore, the final answer is: $\\boxed{answer}$." in LLAMA3 and "\\boxed{}" in QWEN


def _llama_tokenizer(*missing: str) -> PreTrainedTokenizerFast:
    tokenizer = build_tokenizer("char")
    special = {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"} - set(missing)
    tokenizer.add_special_tokens({"bos_token": LLAMA_BOS, "additional_special_tokens": sorted(special - {LLAMA_BOS})})
    tokenizer.chat_template = LLAMA
    return tokenizer


def test_the_releases_llama_prompt_is_read_as_it_is_without_the_templates_dates() -> None:
    model = Model(path="x", prompt="arbitrage-llama3")
    tokenizer = _llama_tokenizer()
    text = tokenizer.decode(Prompter("x", tokenizer, model).prompt_ids("What is 3 + 4?"))
    assert text.startswith("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nSolve the following math")
    assert "the final answer is: \\boxed{}. I hope it is correct." in text
    assert "Date" not in text and "$" not in text
    assert text.endswith(
        "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWhat is 3 + 4?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    ours = tokenizer.decode(Prompter("x", tokenizer, Model(path="x", prompt="llama3")).prompt_ids("What is 3 + 4?"))
    assert "Cutting Knowledge Date" in ours and "$\\boxed{answer}$" in ours


def test_a_tokenizer_that_is_not_llamas_is_refused_for_llamas_prompt() -> None:
    with pytest.raises(EngineError, match=r"needs <\|end_header_id\|>, which its tokenizer lacks"):
        Prompter("x", _llama_tokenizer("<|end_header_id|>"), Model(path="x", prompt="arbitrage-llama3"))
