"""Labels, corruptions and quality of the PRM, and a tiny one through its whole recipe."""

import json
import math
from pathlib import Path
from random import Random

import pytest
import torch

from arbitrage.lab import batches, prm
from arbitrage.lab import judged_batches as judged_batches_module
from arbitrage.lab.batches import IGNORED
from arbitrage.lab.checker import check_step
from arbitrage.lab.generation import load_classifier, load_tokenizer
from arbitrage.lab.judged_batches import (
    PLAIN,
    RIGHT,
    TOKEN_RIGHT,
    TOKEN_WRONG,
    WRONG,
    encode_judged,
    judged_batches,
)
from arbitrage.lab.models import llama_config, new_language_model
from arbitrage.lab.optimise import Schedule
from arbitrage.lab.prm import classifier_on, train_judge
from arbitrage.lab.prm_quality import area_under_curve, calibration_error, score_judged
from arbitrage.lab.question_stream import draw_questions
from arbitrage.lab.training import deepen_language_model, train_language_model
from arbitrage.lab.verdicts import corrupted, judge, load_judged, write_solutions

PROBLEM = "Compute 1/2 + 1/3."
STEPS = ("The common denominator is 6", "1/2 = 2/6", "1/3 = 2/6", "2/6 + 2/6 = 4/6")
TINY = Schedule(steps=2, tokens_per_batch=512, batches_per_step=1)


def test_after_the_first_error_nothing_is_right() -> None:
    judged = judge(PROBLEM, STEPS, [0, 1, 1, 0])
    assert judged.claims == (True, False, True, False)
    assert judged.right == (True, False, False, False)


def test_labels_blame_the_separator_and_spare_what_is_not_known(tokenizer_folder: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    judged = judge(PROBLEM, STEPS, [0, 1, 1, 0])
    _, labels = encode_judged(tokenizer, judged)
    separators = [label for label in labels if label in (WRONG, RIGHT)]
    assert separators == [RIGHT, WRONG, WRONG, WRONG]
    runs = [label for place, label in enumerate(labels) if place == 0 or label != labels[place - 1]]
    assert runs == [IGNORED, TOKEN_RIGHT, RIGHT, PLAIN, WRONG, TOKEN_WRONG, WRONG, TOKEN_WRONG, WRONG]
    marked, marked_labels = encode_judged(tokenizer, judged, (0, 1, 1, 0))
    assert tokenizer.decode(marked).count("Model 1: ") == 2
    assert [label for label in marked_labels if label != IGNORED] == [label for label in labels if label != IGNORED]


def test_corruptions_change_one_number_and_are_judged_by_the_checker() -> None:
    questions, rng = draw_questions("zoo-training", 3, "lessons"), Random(0)
    spoilt = 0
    for _ in range(100):
        question = next(questions)
        judged = corrupted(question, rng)
        text = "\n\n".join(judged.steps)
        assert len(text) == len(question.solution)
        assert sum(a != b for a, b in zip(text, question.solution, strict=True)) <= 1
        for index, step in enumerate(judged.steps):
            assert judged.claims[index] == check_step(question.problem, judged.steps[:index], step)
        spoilt += not all(judged.claims)
    assert spoilt > 80


@pytest.mark.parametrize(
    ("scores", "right", "expected"),
    [([0.1, 0.9], [False, True], 1.0), ([0.9, 0.1], [False, True], 0.0), ([0.5, 0.5], [False, True], 0.5)],
)
def test_area_under_curve(scores: list[float], right: list[bool], expected: float) -> None:
    assert area_under_curve(scores, right) == expected


def test_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    assert calibration_error([0.25] * 4 + [0.75] * 4, [True, False, False, False] + [True] * 3 + [False]) == 0
    assert calibration_error([0.9, 0.9, 0.1, 1.0], [True, False, False, True]) == pytest.approx((0.8 + 0.1) / 4)


@pytest.fixture(autouse=True)
def small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "DOCUMENTS_PER_POOL", 64)
    monkeypatch.setattr(judged_batches_module, "POOL", 64)
    monkeypatch.setattr(prm, "MEASURED_BATCHES", 4)


def test_a_tiny_zoo_goes_through_its_recipe(tokenizer_folder: Path, tmp_path: Path) -> None:
    recipe = {"seed": 0}
    draft, base, target, judge_folder = (tmp_path / name for name in ("draft", "base", "target", "prm"))
    train_language_model(tokenizer_folder, draft, (16, 1, 2, 32), TINY, 0, "cpu", recipe)
    train_language_model(tokenizer_folder, base, (16, 2, 4, 96), TINY, 0, "cpu", recipe, marked_share=0.5)
    deepen_language_model(base, target, 3, TINY, 1, "cpu", recipe)
    solutions = tmp_path / "solutions.parquet"
    write_solutions(draft, target, solutions, questions=2, held_out=2, seed=0, device="cpu")
    learned, held_out = load_judged(solutions)
    assert len(learned) == len(held_out) == 12
    assert not {one.problem for one in learned} & {one.problem for one in held_out}
    train_judge(base, solutions, judge_folder, 10, 2, TINY, 0, "cpu", recipe)
    record = json.loads((judge_folder / "training.json").read_text())
    assert record["measured"]["held_out_steps"] == sum(len(one.steps) - one.written for one in held_out)
    model = load_classifier(judge_folder)
    assert type(model).__name__ == "LlamaForSequenceClassification" and model.config.num_hidden_layers == 5
    with pytest.raises(ValueError, match=r"rank 13 needs 13 channels of all heads but one.*; the base has 12 and 96"):
        train_judge(base, solutions, judge_folder, 13, 2, TINY, 0, "cpu", recipe)


def test_scores_in_batches_are_those_of_the_ids_that_the_pipeline_reads(tokenizer_folder: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    base = new_language_model(llama_config(tokenizer, 16, 2, 4, 96), seed=0)
    model = classifier_on(base, tokenizer, 10, 1, seed=0).eval()
    torch.nn.init.normal_(model.score.weight)
    judged = [judge(PROBLEM, STEPS[:count], [0] * count) for count in (1, 4, 2)]
    for one, scores in zip(judged, score_judged(model, tokenizer, judged), strict=True):
        for count, score in enumerate(scores, start=1):
            ids, _ = encode_judged(tokenizer, judge(PROBLEM, one.steps[:count], [0] * count))
            with torch.no_grad():
                logit = float(model(torch.tensor([ids])).logits)
            assert 1 / (1 + math.exp(-logit)) == pytest.approx(score, abs=1e-5)


def test_pools_of_judged_solutions_mix_corruptions_and_marks(tokenizer_folder: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    stream = judged_batches(tokenizer, [judge(PROBLEM, STEPS, [0] * 4)] * 44, seed=0, tokens_per_batch=4096)
    texts = [tokenizer.decode(row) for batch in (next(stream) for _ in range(12)) for row in batch.ids.tolist()]
    shown = sum(PROBLEM in text for text in texts) / len(texts)
    assert 0.5 < shown < 0.95
    assert 0.25 < sum("Model 0: " in text or "Model 1: " in text for text in texts) / len(texts) < 0.55
