"""A trained router's scores on the questions held out from it: the table `heldout`, from which Tables 1-3 are made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from arbitrage.engines.hf.packed import Integers, batch_of, last_states, pack_questions, passes
from arbitrage.engines.scoring.scorers import RouterScorer
from arbitrage.io.tables import read_table
from arbitrage.runtime.paths import VALIDATION
from arbitrage.runtime.progress import Progress

COLUMNS = 4096  # ids read in one pass, or one input where it is longer: a training reads as many, and keeps gradients


class ExampleScorer(Protocol):
    """A trained router. column: of the table `examples` that holds what it reads."""

    column: str

    def score(self, inputs: Sequence[Any]) -> list[float]:
        """Its scalar for each input, in (0, 1)."""


def heldout_rows(dataset_dir: str | Path, router: ExampleScorer, variant: str, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of the table `heldout`, one a held-out step, in the order of the dataset's validation part.

    seed: which training of the variant. router: what was trained on `dataset_dir` (`engines.scoring`). Advantage and
    label are by the PRM, whatever the router has learnt, so that variants are compared by one measure.
    Raises TableError where the validation part cannot be read, ScoreError where a score is not finite.
    """
    examples = read_table(Path(dataset_dir) / VALIDATION, "examples")
    if isinstance(router, RouterScorer):
        inputs = [np.asarray(example[router.column]) for example in examples]
        scores = packed_scores(router, inputs, [example["question_id"] for example in examples])
    else:
        scores = router.score([tuple(example[router.column]) for example in examples])
    return [
        {
            "study": example["study"],
            "pair": example["pair"],
            "variant": variant,
            "router_seed": seed,
            "question_id": example["question_id"],
            "step_index": example["step_index"],
            "advantage": example["advantage"],
            "label": int(example["advantage"] > 0),
            "router_score": score,
            "draft_score": example["draft_score"],
            "draft_confidence": example["draft_confidence"],
        }
        for example, score in zip(examples, scores, strict=True)
    ]


@torch.inference_mode()
def packed_scores(router: RouterScorer, inputs: Sequence[Integers], questions: Sequence[str]) -> list[float]:
    """As `router.score(inputs)` up to rounding, the inputs of a question read together (`engines.hf.packed`).

    questions: the id of the question that each input is of. Raises ScoreError where a score is not finite.
    """
    trees = list(pack_questions(inputs, questions, COLUMNS))
    scores = [0.0] * len(inputs)
    progress = Progress(len(inputs), "steps", f"scoring with {router.name}", quiet=True)
    for places in passes(trees, COLUMNS):
        together = [trees[place] for place in places]
        members = [member for tree in together for member in tree.members]
        logits = router.logits(last_states(router.model, batch_of(together)))
        for index, score in zip(members, router.scalars(logits.double()).tolist(), strict=True):
            scores[index] = router.checked(score, index, inputs[index].tolist())
        progress.advance(len(members), tokens=sum(map(len, together)))
    return scores
