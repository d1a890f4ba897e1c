"""How good a PRM is on held-out solutions: AUROC for steps, all and of each kind, and calibration."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from arbitrage.lab.batches import group_by_length, pad_documents
from arbitrage.lab.judged_batches import RIGHT, WRONG, encode_judged
from arbitrage.lab.verdicts import Judged

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SCORED_TOKENS = 16384
CALIBRATION_BINS = 15


def area_under_curve(scores: Sequence[float], right: Sequence[bool]) -> float:
    """The chance that a right step scores above a wrong one, ties counting half. NaN without both kinds."""
    values = torch.tensor(scores, dtype=torch.float64)
    truth = torch.tensor(right)
    wrong, good = values[~truth].sort().values, values[truth]
    if not len(wrong) or not len(good):
        return float("nan")
    below = torch.searchsorted(wrong, good, right=False) + torch.searchsorted(wrong, good, right=True)
    return float(below.double().mean() / 2 / len(wrong))


def calibration_error(scores: Sequence[float], right: Sequence[bool], bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error: mean distance of score and share of right steps over equal bins of the score."""
    values, truth = torch.tensor(scores, dtype=torch.float64), torch.tensor(right, dtype=torch.float64)
    which = (values * bins).long().clamp(max=bins - 1)
    gaps = torch.zeros(bins, dtype=torch.float64).scatter_add_(0, which, values - truth)
    return float(gaps.abs().sum() / len(values))


@torch.inference_mode()
def score_judged(
    model: Any, tokenizer: "PreTrainedTokenizerFast", judged: Sequence[Judged], marked: bool = False
) -> list[list[float]]:
    """The score in (0, 1) of every step of every solution; with `marked`, each step begins with its author's mark."""
    documents = [encode_judged(tokenizer, one, one.authors if marked else None) for one in judged]
    indices = {id(document[0]): index for index, document in enumerate(documents)}
    scores: list[list[float]] = [[] for _ in judged]
    for group in group_by_length(documents, SCORED_TOKENS):
        batch = pad_documents(group, int(tokenizer.pad_token_id)).to(model.device)
        hidden = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state
        probabilities = torch.sigmoid(model.score(hidden)[..., 0].float())
        steps = (batch.labels == WRONG) | (batch.labels == RIGHT)
        for row, document in enumerate(group):
            scores[indices[id(document[0])]] = probabilities[row][steps[row]].tolist()
    return scores


def quality(model: Any, tokenizer: "PreTrainedTokenizerFast", judged: Sequence[Judged]) -> dict[str, float]:
    """AUROC and calibration on the steps that each solution has of its own (not taken over from another one).

    after_right: steps whose history is right, all that ProcessBench and PRM800K look at; own_claims: a step is right if
    its own claims are, whatever went before.
    """
    rows = []
    plain = score_judged(model, tokenizer, judged)
    marked = score_judged(model, tokenizer, judged, marked=True)
    for one, scores, scores_marked in zip(judged, plain, marked, strict=True):
        for index in range(one.written, len(one.steps)):
            after_right = index == 0 or one.right[index - 1]
            rows.append(
                (scores[index], scores_marked[index], one.right[index], one.authors[index], one.sampled, after_right,
                 one.claims[index])
            )  # fmt: skip
    score, with_marks, right, author, sampled, history, claim = (list(column) for column in zip(*rows, strict=True))

    def area(keep: Sequence[Any]) -> float:
        kept = [index for index, chosen in enumerate(keep) if chosen]
        return area_under_curve([score[index] for index in kept], [right[index] for index in kept])

    return {
        "held_out_steps": float(len(rows)),
        "wrong_share": 1 - sum(right) / len(rows),
        "auroc": area_under_curve(score, right),
        "auroc_draft_steps": area([one == 0 for one in author]),
        "auroc_target_steps": area(author),
        "auroc_greedy": area([not one for one in sampled]),
        "auroc_sampled": area(sampled),
        "auroc_after_right": area(history),
        "auroc_marked": area_under_curve(with_marks, right),
        "auroc_own_claims": area_under_curve(score, claim),
        "calibration_error": calibration_error(score, right),
        "calibration_error_marked": calibration_error(with_marks, right),
    }
