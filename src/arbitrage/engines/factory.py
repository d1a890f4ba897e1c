"""From a study to loaded engines: the one place that reads its models' keys."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from arbitrage.engines.answering import AnswerScorer
from arbitrage.engines.checkpoints import head_of
from arbitrage.engines.protocols import EngineError
from arbitrage.engines.scorers import CLASSIFIERS, MARKED, PrmScorer, RouterScorer, TransformersScorer
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


def load_prm(study: Study) -> TransformersScorer:
    """Load the study's process reward model, of any kind. Raises EngineError."""
    prm, path = study.prm, study.prm_path
    if path != prm.path and not Path(path).is_dir():
        raise EngineError(
            f"prm: {path} is missing, the classifier that {prm.path} is converted to; "
            f"run `arbitrage convert-prm --out {path}`, or the pipeline, which does"
        )
    if prm.kind == "auto":
        prm = prm.model_copy(update={"kind": _kind_of(prm.path, prm.revision)})
    if study.router.init is None and prm.kind not in ("classifier", "value-head"):
        raise EngineError(
            f"router.init: not given, and no router can start from the PRM {prm.path}, which is of kind {prm.kind}; "
            "name a classification checkpoint or a small causal model"
        )
    kind = AnswerScorer if prm.kind in ("token", "judge") else PrmScorer
    return kind(path, prm, study.generation.separator, study.threads)


def _kind_of(path: str, revision: str | None) -> Literal["marks", "classifier"]:
    """What `prm.kind: auto` stands for, by the checkpoint's head."""
    head = head_of(path, revision)
    if head.endswith("ForProcessRewardModel"):
        return "marks"
    if head.endswith(CLASSIFIERS):
        return "classifier"
    raise EngineError(
        f"{path}: its head is {head}, so prm.kind auto does not know what it is; expected "
        f"{', '.join('*' + each for each in dict.fromkeys((*CLASSIFIERS, *MARKED)))}. Set prm.kind: value-head for "
        "Skywork-o1-Open-PRM, token for a PRM that answers with a token, judge for a chat model"
    )


def load_router(study: Study, directory: str | Path) -> RouterScorer:
    """Load a trained router from `directory`. Raises EngineError."""
    return RouterScorer(str(directory), study.router, study.threads)
