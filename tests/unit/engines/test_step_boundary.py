from __future__ import annotations

import pytest

from arbitrage.engines.step_boundary import StepWriter, StopRule
from arbitrage.speculation.protocols import EngineError
from tests.support.tiny_models import EOS, PAD, TURN, TokenizerKind, build_tokenizer


def write(kind: TokenizerKind, pieces: list[str], separator: str = "\n\n", limit: int = 50) -> StepWriter:
    """Push the ids of `pieces`, each encoded alone, until the step ends; fail where it never does."""
    tokenizer = build_tokenizer(kind)
    eos = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(TURN)}
    writer = StepWriter(StopRule(tokenizer, separator, eos), limit)
    ids = [index for piece in pieces for index in tokenizer.encode(piece, add_special_tokens=False)]
    for index in ids:
        if writer.push(index, -0.5, 0.25):
            return writer
    pytest.fail(f"no step ended within {pieces}")


@pytest.mark.parametrize(
    ("kind", "pieces", "text", "tokens", "reason"),
    [
        ("char", ["ab", "\n\n", "c"], "ab\n\n", 3, "separator"),
        ("char", ["a", "\n", "\n", "c"], "a\n\n", 3, "separator"),  # across two tokens
        ("char", ["\n\n", "a"], "\n\n", 1, "separator"),  # an empty step is a step
        ("char", ["a", "\n", "b", "\n\n"], "a\nb\n\n", 4, "separator"),  # a single line break is not a separator
        ("bpe", ["{a", "}\n\n", "b"], "{a}\n\n", 3, "separator"),  # inside a token
        ("bpe", ["4", ".\n\n\n", "b"], "4.\n\n", 2, "separator"),  # inside a token that goes on: cut at its end
        ("bpe", ["a", "\n\n\n", "b"], "a\n\n", 2, "separator"),
        ("char", ["ab", EOS], "ab", 3, "eos"),
        ("char", ["ab", TURN], "ab", 3, "eos"),  # a secondary end of sequence
        ("char", [EOS], "", 1, "eos"),
        ("char", ["a", PAD, "b\n\n"], "ab\n\n", 4, "separator"),  # other special tokens are not text
    ],
)
def test_a_step_ends_at_the_separator_in_the_text_or_at_an_end_of_sequence(
    kind: TokenizerKind, pieces: list[str], text: str, tokens: int, reason: str
) -> None:
    step = write(kind, pieces).step()
    assert (step.text, step.tokens, step.finish_reason) == (text, tokens, reason)
    assert step.mean_logprob == -0.5 and step.entropies == (0.25,) * tokens


def test_the_limit_ends_a_step_without_its_separator() -> None:
    step = write("char", ["abcdef\n\n"], limit=4).step()
    assert (step.text, step.tokens, step.finish_reason) == ("abcd", 4, "length")


@pytest.mark.parametrize(("pieces", "reason"), [(["abc", "\n\n"], "separator"), (["abc", EOS], "eos")])
def test_what_ends_the_step_with_the_last_token_allowed_is_not_the_limit(pieces: list[str], reason: str) -> None:
    assert write("char", pieces, limit=4).step().finish_reason == reason


def test_a_separator_outside_ascii_is_found_though_its_bytes_are_tokens_of_their_own() -> None:
    tokenizer = build_tokenizer("bpe")
    assert len(tokenizer.encode("§")) == 2
    assert write("bpe", ["ab§c"], separator="§").step().text == "ab§"


def test_a_separator_that_the_tokenizer_cannot_write_is_refused() -> None:
    with pytest.raises(EngineError, match="does not survive"):
        StopRule(build_tokenizer("char"), EOS, {2})
