"""Labelled steps made by hand, and a tiny checkpoint to train from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_models import build_classifier


def step_row(question: str, index: int, advantage: float, draft_step: str = "So x = 3\n\n") -> dict[str, Any]:
    """A row of the table `steps`, with one step of history before every step but the first."""
    return {
        "study": "lab",
        "pair": "small",
        "question_id": question,
        "problem": f"Find x of {question}.",
        "step_index": index,
        "history": [{"model": "target" if i % 2 else "draft", "text": f"line {i}\n\n"} for i in range(index)],
        "draft_step": draft_step,
        "target_steps": ["So x = 4\n\n"],
        "draft_score": 0.5,
        "target_scores": [0.5 + advantage],
        "advantage": advantage,
        "label": int(advantage > 0),
        "draft_confidence": 0.25,
        "draft_logprobs": [-0.125 * (1 + index), -0.5, -0.25],
        "draft_entropies": [1.5, 0.5, 0.25],
        "target_logprobs": [-0.25, -2.0],
        "tokens_so_far": 4 * index,
    }


def path_rows(question: str, escalations: Sequence[bool]) -> list[dict[str, Any]]:
    """Rows of a question whose chosen path has the target's step where True, and the draft's elsewhere.

    The draft's steps open with `So`, the target's with `Then`.
    """
    rows, history = [], []
    for index, escalated in enumerate(escalations):
        draft, target = f"So x = {index} of {question}.\n\n", f"Then it is {index + 1}.\n\n"
        row = step_row(question, index, 0.1 + index / 100 if escalated else -0.1 - index / 100, draft)
        rows.append(row | {"history": list(history), "target_steps": [target]})
        history.append({"model": "target" if escalated else "draft", "text": target if escalated else draft})
    return rows


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PRM with random weights: Llama, 2 layers, width 32, one label."""
    return build_classifier(tmp_path_factory.mktemp("prm"))
