"""A trained router's scores on the questions held out from it: the table `heldout`, from which Tables 1-3 are made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from arbitrage.io.tables import read_table
from arbitrage.routing.dataset import VALIDATION


class ExampleScorer(Protocol):
    """A trained router. column: of the table `examples` that holds what it reads."""

    column: str

    def score(self, inputs: Sequence[Any]) -> list[float]:
        """Its scalar for each input, in (0, 1)."""


def heldout_rows(dataset_dir: str | Path, router: ExampleScorer, variant: str, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of the table `heldout`, one a held-out step, in the order of the dataset's validation part.

    seed: which training of the variant. router: what was trained on `dataset_dir` (`engines.scoring`).
    Raises TableError where the validation part cannot be read, ScoreError where a score is not finite.
    """
    examples = read_table(Path(dataset_dir) / VALIDATION, "examples")
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
