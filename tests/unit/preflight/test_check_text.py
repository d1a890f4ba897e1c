"""Questions that a tokenizer would change are told before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from arbitrage.preflight.check_text import text_findings
from tests.support.tokenizer_kinds import KINDS, tokenizer_of

PROBLEMS = ["What is 3 + 4?", "What is ½ of x²?", "Is e\u0301 a letter?"]


def normalising(folder: Path, *forms: str) -> Path:
    """A tokenizer of Llama 2's kind that normalises what it reads."""
    tokenizer_of("llama-2").save_pretrained(folder)
    file = folder / "tokenizer.json"
    state = json.loads(file.read_text(encoding="utf-8"))
    state["normalizer"]["normalizers"] = [{"type": form} for form in forms] + state["normalizer"]["normalizers"]
    file.write_text(json.dumps(state), encoding="utf-8")
    return folder


def test_a_question_that_compatibility_normalisation_changes_is_named_with_what_becomes_of_it(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(normalising(tmp_path, "NFKC"))
    question, steps = text_findings("models.draft", tokenizer, PROBLEMS)
    assert question.verdict == steps.verdict == "warning"
    assert "1 of 3 questions" in question.detail
    assert "makes '1⁄2 of x2?' of '½ of x²?' in 'What is ½ of x²?'" in question.detail
    assert "makes '21⁄2' of '²½': a step of another model" in steps.detail


def test_what_canonical_normalisation_changes_is_the_same_text(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(normalising(tmp_path, "NFC"))
    assert tokenizer.decode(tokenizer.encode("e\u0301", add_special_tokens=False)).strip() == "\u00e9"
    assert list(text_findings("models.draft", tokenizer, PROBLEMS)) == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "character"])
def test_tokenizers_that_keep_text_are_not_warned_of(kind: str) -> None:
    assert list(text_findings("models.draft", tokenizer_of(kind), PROBLEMS)) == []  # type: ignore[arg-type]


def test_a_character_that_a_tokenizer_lacks_is_told() -> None:
    (warning,) = text_findings("prm", tokenizer_of("character"), PROBLEMS[:2])
    assert "1 of 2 questions" in warning.detail and "of '½ of x²?'" in warning.detail
