"""A trained router's scores on the questions held out from it: the table `heldout`, from which Tables 1-3 are made."""

from pathlib import Path
from typing import Any

from arbitrage.io.tables import read_table
from arbitrage.routing.dataset import VALIDATION
from arbitrage.speculation.protocols import Scorer


def heldout_rows(dataset_dir: str | Path, router: Scorer, variant: str, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of the table `heldout`, one a held-out step, in the order of the dataset's validation part.

    seed: which training of the variant. router: what was trained on `dataset_dir` (`engines.scoring.RouterScorer`).
    Raises TableError where the validation part cannot be read, ScoreError where a score is not finite.
    """
    examples = read_table(Path(dataset_dir) / VALIDATION, "examples")
    scores = router.score([tuple(example["input_ids"]) for example in examples])
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
