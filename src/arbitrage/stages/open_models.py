"""A pair's models behind one step store, for the stages that label and sweep."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from arbitrage.config.study import Study
from arbitrage.engines import factory
from arbitrage.engines.store.cached import StoredGenerator, StoredScorer
from arbitrage.engines.store.chunk_files import claimed
from arbitrage.engines.store.step_store import StepStore
from arbitrage.runtime.paths import StudyPaths
from arbitrage.speculation.pair import PairModels
from arbitrage.stages.attempts import Attempts, Work


@dataclass(frozen=True)
class CachedPair:
    """A pair's models behind one step store."""

    models: PairModels
    store: StepStore
    generators: dict[str, StoredGenerator]
    scorers: dict[str, StoredScorer]
    attempts: Attempts
    released: dict[str, tuple[str, dict[str, float]]] = field(default_factory=dict)  # identity and work of scorers
    left_out: dict[str, str] = field(default_factory=dict)  # by id, why: too long a prompt, or too little memory

    @property
    def engines(self) -> tuple[StoredGenerator | StoredScorer, ...]:
        """All models."""
        return (*self.generators.values(), *self.scorers.values())

    @property
    def identities(self) -> dict[str, str]:
        """Identity of each model."""
        own = {name: model.identity for name, model in (self.generators | self.scorers).items()}
        return own | {name: identity for name, (identity, _) in self.released.items()}

    @property
    def report(self) -> dict[str, Any]:
        """What the provenance record holds besides: what each model did, killed attempts, and questions left out."""
        further = {"earlier_attempts": self.attempts.earlier, "left_out": self.left_out}
        return {"work": self.work, **{name: value for name, value in further.items() if value}}

    @property
    def work(self) -> Work:
        """What each model did so far."""
        wrote = {
            name: {"seconds": round(model.seconds, 4), "calls": model.calls, "tokens": model.tokens}
            | ({"read": model.read_steps} if model.read_steps else {})
            for name, model in self.generators.items()
        }
        scored = {name: _work_of(model) for name, model in self.scorers.items()}
        return wrote | scored | {name: work for name, (_, work) in self.released.items()}

    def commit(self, name: str) -> None:
        """Have what was added to the store on disk, as a chunk of this name. Raises StoreError, OSError."""
        self.store.commit(name)
        self.attempts.note(self.work)

    @contextmanager
    def routed(self, study: Study, pair: str, routers: Sequence[Path], training: int) -> Iterator[CachedPair]:
        """This pair with trained routers beside it; their memory is free again once the context ends and `own` is gone.

        routers: their directories, at most one a kind; training: which of the variant's, from 0. Raises EngineError.
        """
        name = f"router-{training}" if training else "router"
        with factory.open_scorers(study, pair, "sweep", routers, prm=False) as (_, classifier, scalar_routers):
            if classifier is not None:
                self.scorers[name] = StoredScorer(classifier, self.store)
            models = replace(self.models, router=self.scorers.get(name), scalar_routers=scalar_routers)
            yield replace(self, models=models, left_out={})
            if classifier is not None:
                scorer = self.scorers.pop(name)
                self.released[name] = scorer.identity, _work_of(scorer)

    def forget(self) -> None:
        """Have contexts, keys and values dropped: what follows is then the same bit for bit, restarted here or not."""
        self.models.forget()
        for model in self.engines:
            if (forget := getattr(model.engine, "forget", None)) is not None:
                forget()


def _work_of(scorer: StoredScorer) -> dict[str, float]:
    work = {"seconds": round(scorer.seconds, 4), "calls": scorer.calls, "scored": scorer.scored}
    shortened = getattr(scorer.engine, "shortened", 0)
    return work | ({"shortened": shortened} if shortened else {})


@contextmanager
def open_pair_cached(study: Study, stage: str, pair: str, questions: str, part: str) -> Iterator[CachedPair]:
    """The models of `pair`, and what the store remembers of them on `questions`: those of a source, or `labelling`.

    study: with the models placed as a job of `stage` has them (`runtime.placement`). Raises StoreError where another
    process works on this `part` of the questions for the study.
    """
    with (
        factory.open_pair(study, pair, stage) as (draft, target),
        factory.open_scorers(study, pair, stage, []) as (prm, *_),
    ):
        assert prm is not None, "asked for"
        identities = (draft.identity, target.identity, prm.identity)
        namespace = hashlib.sha256("|".join(identities).encode()).hexdigest()[:16]
        store = StepStore(StudyPaths.of(study).store, f"{namespace}/{questions}")
        _report_others(store, questions)
        generators = {"draft": StoredGenerator(draft, store), "target": StoredGenerator(target, store)}
        scorers = {"prm": StoredScorer(prm, store)}
        models = PairModels(generators["draft"], generators["target"], scorers["prm"], None, study.generation)
        name = f"{study.study}-{pair}-{part}"  # other studies share the folder
        with claimed(store.directory, name):
            attempts = Attempts(store.directory / f".{name}.attempts.json")
            yield CachedPair(models, store, generators, scorers, attempts)
            attempts.close()


def _report_others(store: StepStore, questions: str) -> None:
    """Say so where a store that is still empty stands beside others: a model may have changed by accident."""
    namespaces = store.directory.parent.parent
    others = [folder for folder in namespaces.glob(f"*/{questions}") if folder != store.directory]
    if others and not len(store):
        print(
            f"{store.directory}: a new step store, for {questions}; those of other models, tokenizers, types or "
            f"versions ({len(others)}) stay as they are",
            file=sys.stderr,
        )
