"""From a study to loaded engines: the one place that reads its models' keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from arbitrage.engines.answering import AnswerScorer
from arbitrage.engines.checkpoints import head_of
from arbitrage.engines.live import LiveGenerator
from arbitrage.engines.prefix_cached import PrefixCachedGenerator, PrefixCaching
from arbitrage.engines.protocols import EngineError, Generator, IncrementalGenerator
from arbitrage.engines.scorers import CLASSIFIERS, MARKED, PrmScorer, RouterScorer, TransformersScorer
from arbitrage.engines.transformers import TransformersGenerator
from arbitrage.study import Study


@contextmanager
def open_pair(study: Study, pair: str) -> Iterator[tuple[Generator, Generator]]:
    """Draft and target of `pair`, for as long as the context lasts; then whatever was started for them is stopped.

    Raises EngineError.
    """
    names = (study.pairs[pair].draft, study.pairs[pair].target)
    yield load_generator(study, names[0]), load_generator(study, names[1])


def load_generator(study: Study, name: str) -> TransformersGenerator:
    """Load `models.<name>` in this process. Raises EngineError where it cannot be loaded, or is still to be made."""
    model, path = study.models[name], study.model_path(name)
    if model.quantise and not Path(path).is_dir():
        raise EngineError(
            f"models.{name}: {path} is missing, which the rule quantise makes; run the pipeline, "
            f"or `arbitrage quantise --model {name} --out {path}`"
        )
    return TransformersGenerator(path, model, study.generation, study.threads)


def live_generator(generator: Generator) -> IncrementalGenerator:
    """`generator` for one question at a time, with a cache that is kept between calls."""
    if isinstance(generator, TransformersGenerator):
        return LiveGenerator(generator)
    if isinstance(generator, PrefixCaching):
        return PrefixCachedGenerator(generator)
    raise EngineError(f"{type(generator).__name__} cannot decode live")


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
