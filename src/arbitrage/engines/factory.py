"""From a study to loaded engines: the one place that reads its models' keys."""

from __future__ import annotations

from pathlib import Path

from arbitrage.engines.protocols import EngineError
from arbitrage.engines.scorers import PrmScorer, RouterScorer
from arbitrage.engines.transformers import TransformersGenerator
from arbitrage.study import Study


def load_generator(study: Study, name: str, path: str | Path | None = None) -> TransformersGenerator:
    """Load `models.<name>`; `path` says where its weights are, and must be given for a model made by quantisation.

    Raises EngineError where the study has no such model, or it cannot be loaded.
    """
    if name not in study.models:
        raise EngineError(f"models.{name}: the study has no such model; it has {', '.join(study.models)}")
    model = study.models[name]
    where = path or model.path
    if where is None:
        raise EngineError(
            f"models.{name}: made by quantisation, so its directory must be given; run the stage that makes it"
        )
    return TransformersGenerator(str(where), model, study.generation, study.threads)


def load_prm(study: Study) -> PrmScorer:
    """Load the study's process reward model. Raises EngineError."""
    return PrmScorer(study.prm.path, study.prm, study.generation.separator, study.threads)


def load_router(study: Study, directory: str | Path) -> RouterScorer:
    """Load a trained router from `directory`. Raises EngineError."""
    return RouterScorer(str(directory), study.router, study.threads)
