"""A router before there is one: trained on the steps of the calibration questions alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arbitrage.engines.scorers import RouterScorer
from arbitrage.routing.dataset import TRAIN, VALIDATION
from arbitrage.sections.routing import Router
from arbitrage.tables import read_arrow


class EvenRouter(RouterScorer):
    """A router whose scores are spread evenly over (0, 1): where the steps of `dataset` score, in their ranks.

    A router hardly trained scores all steps alike; on a grid of thresholds it would never change its mind between two
    of them, and look cheaper than the trained one. The order of the scores, which is all that matters to the exact
    sweep, stays as it is.
    """

    def __init__(self, path: str, router: Router, threads: int, dataset: Path) -> None:
        """dataset: the directory it was trained from."""
        super().__init__(path, router, threads)
        parts = [read_arrow(dataset / part, "examples")["input_ids"].to_pylist() for part in (TRAIN, VALIDATION)]
        self._known: np.ndarray[Any, np.dtype[np.float64]] | None = None
        scores = sorted(set(self.score([tuple(ids) for part in parts for ids in part])))
        self._known = np.array([0.0, *scores, 1.0])

    def scalars(self, logits: Tensor) -> Tensor:
        scores = super().scalars(logits)
        if self._known is None:
            return scores
        ranks = np.linspace(0.0, 1.0, len(self._known))
        return torch.from_numpy(np.interp(scores.cpu().numpy(), self._known, ranks))
