"""The lab's models and questions for the benchmarks, and counters to put before models.

Counters stand where a model would be called, so that they see what a procedure asks of the models and nothing else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arbitrage.cli.stages import register_lab
from arbitrage.config.study import Study
from arbitrage.engines.scoring.labels import RouterFormat
from arbitrage.engines.scoring.scalar_router import ROUTER_FILE
from arbitrage.engines.store.cached import StoredGenerator, StoredScorer
from arbitrage.engines.store.step_store import StepStore
from arbitrage.questions.sampling import benchmark_questions
from arbitrage.runtime.paths import StudyPaths
from arbitrage.speculation.forwarding import ForwardingGenerator, ForwardingScorer
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.protocols import Generator, Scorer
from arbitrage.speculation.steps import GREEDY, GeneratedStep, Ids, Sampling
from arbitrage.speculation.tree import Question


@dataclass
class Work:
    """What was asked of the models: tokens generated, steps generated, inputs scored."""

    draft_tokens: int = 0
    target_tokens: int = 0
    steps: int = 0
    scored: int = 0

    @property
    def tokens(self) -> int:
        return self.draft_tokens + self.target_tokens

    def __add__(self, other: Work) -> Work:
        return Work(
            self.draft_tokens + other.draft_tokens,
            self.target_tokens + other.target_tokens,
            self.steps + other.steps,
            self.scored + other.scored,
        )


class CountedGenerator(ForwardingGenerator[Generator]):
    """A generator that counts in `work` what passes through it (`protocols.Generator`)."""

    def __init__(self, generator: Generator, work: Work, tokens: str) -> None:
        """tokens: the field of `work` that counts this model's tokens."""
        super().__init__(generator)
        self.work, self.field = work, tokens

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        steps = self.generator.generate(contexts, limits, sampling)
        setattr(self.work, self.field, getattr(self.work, self.field) + sum(step.tokens for step in steps))
        self.work.steps += len(steps)
        return steps


class CountedScorer(ForwardingScorer[Scorer]):
    """A scorer that counts in `work` what passes through it (`protocols.Scorer`)."""

    def __init__(self, scorer: Scorer, work: Work) -> None:
        super().__init__(scorer)
        self.work = work

    def score(self, inputs: Sequence[Ids]) -> list[float]:
        self.work.scored += len(inputs)
        return self.scorer.score(inputs)


def stored(models: PairModels, folder: Path) -> PairModels:
    """The same models behind a step store in `folder`."""
    store = StepStore(folder, "store")
    assert models.router is not None
    return PairModels(
        StoredGenerator(models.draft, store),
        StoredGenerator(models.target, store),
        StoredScorer(models.prm, store),
        StoredScorer(models.router, store),
        models.generation,
        models.scalar_routers,
    )


def counted(models: PairModels) -> tuple[PairModels, Work]:
    """The same models with counters in front, and what they count."""
    work = Work()
    assert models.router is not None
    counting = PairModels(
        CountedGenerator(models.draft, work, "draft_tokens"),
        CountedGenerator(models.target, work, "target_tokens"),
        CountedScorer(models.prm, work),
        CountedScorer(models.router, work),
        models.generation,
    )
    return counting, work


def lab_questions(study: Study, benchmark: str, count: int) -> list[Question]:
    """`count` questions of one of the study's benchmarks, of all its families: these come one after the other."""
    register_lab()
    rows = benchmark_questions(study.study, benchmark, study.benchmarks[benchmark], study.seed)
    return spread([Question(row["question_id"], row["problem"]) for row in rows], count)


def spread(questions: Sequence[Question], count: int) -> list[Question]:
    """`count` of the questions, evenly spaced; all where there are no more."""
    count = min(count, len(questions))
    return [questions[index * len(questions) // count] for index in range(count)]


def lab_models(study: Study, pair: str, router: Path) -> PairModels:
    """The study's models, with nothing remembered."""
    from arbitrage.engines import factory

    draft, target = (
        factory.load_generator(study, name) for name in (study.pairs[pair].draft, study.pairs[pair].target)
    )
    return PairModels(draft, target, factory.load_prm(study), factory.load_router(study, router), study.generation)


def first_pair(study: Study, router: Path | None) -> tuple[PairModels, dict[str, str]]:
    """The models of the study's first pair, with nothing remembered, and what each is, by role.

    router: directory of a trained one, or as `find_router` finds it.
    """
    name = next(iter(study.pairs))
    pair = study.pairs[name]
    with tempfile.TemporaryDirectory() as folder:
        directory, described = find_router(study, name, router, Path(folder))
        models = lab_models(study, name, directory)
    return models, {"draft": pair.draft, "target": pair.target, "prm": study.prm.path, "router": described}


def forget(models: PairModels) -> None:
    """Have contexts, keys and values of earlier runs dropped, so that the next one pays for its own."""
    models.forget()
    for engine in (models.draft, models.target, models.prm, models.router):
        drop: Any = getattr(engine, "forget", None)
        if drop is not None:
            drop()


def find_router(study: Study, pair: str, directory: Path | None, folder: Path) -> tuple[Path, str]:
    """A router and what it is: in `directory`, or the study's trained one, or for want of both one made of the PRM."""
    trained = directory or StudyPaths.of(study).router(pair)
    if directory or (trained / ROUTER_FILE).is_file():
        return trained, f"trained, {trained}"
    return router_from_prm(Path(study.prm.path), study.generation.separator, folder / "router"), "made of the PRM"


def router_from_prm(prm: Path, separator: str, folder: Path) -> Path:
    """A router for want of a trained one: the PRM's weights with a two-class head whose softmax is 1 - P(right).

    Raises EngineError where the PRM's head is not one that `engines.scorers` reads.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from arbitrage.io.atomic import write_text

    model: Any = AutoModelForSequenceClassification.from_pretrained(prm, dtype=torch.float32)
    weight = model.score.weight.data  # row 1 (or the only one) speaks for "right": acceptance, class 0
    right = weight[-1] - weight[0] if len(weight) == 2 else weight[0]
    model.score = torch.nn.Linear(weight.shape[1], 2, bias=False)
    model.score.weight.data = torch.stack([right, torch.zeros_like(right)])
    model.config.num_labels = 2
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(prm).save_pretrained(folder)
    layout = RouterFormat(classes=2, boundary=1, ordinal=False, annotate=False, separator=separator)
    write_text(folder / ROUTER_FILE, layout.model_dump_json() + "\n")
    return folder
