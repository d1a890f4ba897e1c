from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from performance import router
from transformers import AutoModelForSequenceClassification

from tests.support.tiny_models import build_classifier, build_tokenizer


def test_a_path_is_counted_once_and_a_rejected_step_beside_it() -> None:
    accepted = (np.array([1, 2, 3]), 0)
    rejected = (np.array([1, 2, 3, 4, 5]), 1)
    after = (np.array([1, 2, 3, 6, 7, 8]), 0)
    assert router.tokens_ratio([[accepted, rejected, after]]) == (3 + 5 + 6) / (3 + 2 + 3)
    assert router.tokens_ratio([[accepted], [rejected]]) == 1.0


def test_simulated_questions_have_the_papers_share_and_share_their_path() -> None:
    questions = list(router.simulated(300))
    labels = [label for question in questions for _, label in question]
    assert np.mean(labels) == pytest.approx(router.POSITIVE, abs=0.02)
    assert np.median([len(question) for question in questions]) == pytest.approx(11, abs=1)
    longest = max(len(ids) for question in questions for ids, _ in question)
    assert longest <= router.MAX_LENGTH
    drawn = [label for question in router.balanced(questions, random.Random(0)) for _, label in question]
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.02)
    tokens = sum(len(row.tree) for row in router.together(questions[:20]))
    path = sum(len(question[-1][0]) for question in questions[:20])
    assert path < tokens < 2 * path


def test_both_ways_are_timed_on_the_same_examples(tmp_path: Path) -> None:
    start = build_classifier(tmp_path / "start", labels=2)
    model = AutoModelForSequenceClassification.from_pretrained(start, dtype=torch.float32)
    questions = [[(np.arange(5, 8 + index), index % 2) for index in range(9)] for _ in range(8)]
    together, apart = router.together(questions), router.apart(questions)
    assert sum(len(row.labels) for row in together) == sum(len(row.labels) for row in apart) == len(apart) == 72
    seconds = router.measure(model, questions, most=2)
    assert {name: len(values) for name, values in seconds.items()} == {"together": 2, "one by one": 2}
    assert all(value > 0 for values in seconds.values() for value in values)


def test_both_ways_of_scoring_read_the_same_examples(tmp_path: Path) -> None:
    start = build_classifier(tmp_path / "start", labels=2)
    model = AutoModelForSequenceClassification.from_pretrained(start, dtype=torch.float32)
    questions = [[(np.arange(5 + number, 20 + number + index), 0) for index in range(9)] for number in range(2)]
    measured = router.measure_scoring(model, build_tokenizer("char"), questions, rounds=1)
    assert len(measured["together"]) == len(measured["one by one"]) == 1
    assert measured["tokens, together"] == [2 * 23]
    assert measured["tokens, one by one"][0] > 2 * 23


def test_the_last_layer_is_trained_both_ways_on_the_same_start(tmp_path: Path) -> None:
    start = build_classifier(tmp_path / "start", labels=2)
    model = AutoModelForSequenceClassification.from_pretrained(start, dtype=torch.float32)
    questions = [[(np.arange(5, 8 + index), index % 2) for index in range(9)] for _ in range(8)]
    seconds = router.measure_frozen(model, questions, rounds=1)
    assert {name: len(values) for name, values in seconds.items()} == {"once": 1, "every epoch": 1}
    assert all(value > 0 for values in seconds.values() for value in values)
