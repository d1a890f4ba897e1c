"""A router before there is one: trained on the steps of the calibration questions alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arbitrage.config import devices
from arbitrage.config.router import Dataset, Router, Variant
from arbitrage.config.study import Study
from arbitrage.engines import factory
from arbitrage.engines.checkpoints import load_tokenizer
from arbitrage.engines.scoring.scorers import RouterScorer
from arbitrage.io.tables import read_arrow, write_table
from arbitrage.routing.dataset import TRAIN, VALIDATION, build_dataset
from arbitrage.routing.label_classes import RoutingError
from arbitrage.routing.train import train_router


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


@dataclass(frozen=True)
class Training:
    """What a router took: seconds of its data set and of its training, shares of the labels, bytes of its files."""

    steps: int
    positive: float
    dataset_s: float
    dataset_bytes: float
    seconds_an_example: float
    model_bytes: float


def calibration_router(
    study: Study, pair: str, labelled: list[dict[str, Any]], folder: Path
) -> tuple[Training, RouterScorer]:
    """A router trained on `labelled`, and what it took; the study's own router where it has been trained."""
    steps, dataset, out = folder / "steps.parquet", folder / "dataset", folder / "router"
    write_table(steps, "steps", labelled)
    init, revision = study.router_init
    shape = Dataset(validation=0.01, max_length=study.dataset.max_length)
    begin = time.perf_counter()
    try:
        build_dataset(
            steps,
            Variant(balance=False, annotate=study.router.variants["default"].annotate),
            shape,
            load_tokenizer(init, revision),
            study.generation.separator,
            study.seed,
            dataset,
        )
    except RoutingError as error:
        raise RoutingError(
            f"{len(labelled)} steps are too few to plan the router's training by ({error}): give more --questions"
        ) from error
    dataset_s = time.perf_counter() - begin
    told = train_router(
        dataset,
        init,
        revision,
        study.router.training,
        seed=study.seed,
        device=devices.alone(study.router.device),
        threads=study.threads,
        out_dir=out,
    )
    training = Training(
        steps=len(labelled),
        positive=sum(row["label"] for row in labelled) / len(labelled),
        dataset_s=dataset_s,
        dataset_bytes=_bytes(dataset),
        seconds_an_example=told["seconds"] / (told["examples"] * study.router.training.epochs),
        model_bytes=_bytes(out),
    )
    trained = Path(study.folder) / "router" / pair / "default" / "model"
    if trained.is_dir():
        return training, factory.load_router(study, trained)
    return training, EvenRouter(str(out), study.router, study.threads, dataset)


def _bytes(folder: Path) -> float:
    return float(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))
