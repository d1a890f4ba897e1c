from __future__ import annotations

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from arbitrage.engines.scoring.step_format import learn, step_input_ids
from arbitrage.speculation.steps import AuthoredStep
from tests.support.tiny_models import build_tokenizer

HISTORY = [AuthoredStep("draft", "a = 4.\n\n"), AuthoredStep("target", "b\n\n\n\n")]
LAST = AuthoredStep("draft", "no separator")


def test_an_input_is_problem_and_steps_each_closed_by_the_separators_last_token() -> None:
    tokenizer = build_tokenizer("bpe")
    pieces = [
        "What?\n",
        "a = 4.",
        "\n\n",
        "b\n\n",
        "\n\n",
        "no separator",
        "\n\n",
    ]  # one trailing separator is stripped
    expected = [tokenizer.bos_token_id] + [index for piece in pieces for index in tokenizer.encode(piece)]
    assert list(step_input_ids(tokenizer, "What?", HISTORY, LAST, "\n\n", annotate=False)) == expected


def test_annotation_says_who_wrote_each_step() -> None:
    tokenizer = build_tokenizer("char")
    ids = step_input_ids(tokenizer, "What?", HISTORY, LAST, "\n\n", annotate=True)
    text = "<s>What?\nModel 0: a = 4.\n\nModel 1: b\n\n\n\nModel 0: no separator\n\n"
    assert tokenizer.decode(list(ids), clean_up_tokenization_spaces=False) == text


def test_of_a_separator_of_several_tokens_the_last_one_closes_the_step() -> None:
    tokenizer = build_tokenizer("char")
    ids = step_input_ids(tokenizer, "a", [], AuthoredStep("draft", "b##"), "##", annotate=False)
    assert tokenizer.decode(list(ids)) == "<s>a\nb#"


def test_pieces_are_never_merged_across_their_boundary() -> None:
    tokenizer = build_tokenizer("bpe")
    assert len(tokenizer.encode("4.\n\n")) == 2  # "." and the line breaks are one token when encoded together
    ids = step_input_ids(tokenizer, "a", [], AuthoredStep("draft", "4.\n\n"), "\n\n", annotate=False)
    assert [tokenizer.decode([index]) for index in ids[-3:]] == ["4", ".", "\n\n"]


def test_a_tokenizer_without_bos_gets_none() -> None:
    tokenizer = build_tokenizer("char")
    tokenizer.bos_token = None
    assert (
        tokenizer.decode(list(step_input_ids(tokenizer, "a", [], LAST, "\n\n", annotate=False)))
        == "a\nno separator\n\n"
    )


def _merging_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE in the way of GPT-2, Llama 3 and Qwen: a word's token holds the blank before it."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    backend.train_from_iterator(["Model 0: ## Step 1\n\n", "Model 1: ## x", "a ## Step 2"] * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>")


def test_tag_and_step_are_one_piece_as_in_the_release() -> None:
    """A tokenizer that merges a blank with the word after it reads other ids where the two are encoded apart."""
    tokenizer = _merging_tokenizer()
    step = AuthoredStep("draft", "## Step 1")
    ids = list(step_input_ids(tokenizer, "a", [], step, "\n\n", annotate=True))
    together = tokenizer.encode("Model 0: ## Step 1")
    apart = tokenizer.encode("Model 0: ") + tokenizer.encode("## Step 1")
    assert together != apart
    opening = [tokenizer.bos_token_id, *tokenizer.encode("a\n")]
    assert ids == [*opening, *together, tokenizer.encode("\n\n")[-1]]
    learn(tokenizer, ["b"], [AuthoredStep("target", "## x")], "\n\n", annotate=True)
    learned = step_input_ids(tokenizer, "b", [AuthoredStep("target", "## x")], step, "\n\n", annotate=True)
    assert list(learned[len(tokenizer.encode("b\n")) + 1 :])[: len(tokenizer.encode("Model 1: ## x"))] == (
        tokenizer.encode("Model 1: ## x")
    )
