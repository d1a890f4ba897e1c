"""The stages that need models: what a rule's command composes from engines, store, method and tables.

Each takes a study and paths, shows progress, and writes its table whole or not at all. Questions are worked off in
chunks of a sorted list; a chunk's new steps and scores are committed to the step store when it is finished, so that a
killed stage goes on with the first unfinished chunk, in the very same batches.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from arbitrage.config.study import Study
from arbitrage.engines import factory
from arbitrage.engines.store.chunk_files import claimed
from arbitrage.engines.store.step_store import StepStore, StoredGenerator, StoredScorer
from arbitrage.grading.grade import grade
from arbitrage.io.tables import read_table, write_table
from arbitrage.runtime.progress import Progress
from arbitrage.speculation.labelling import paired_steps
from arbitrage.speculation.pair import Cast
from arbitrage.speculation.rows import trajectory_rows
from arbitrage.speculation.sweep import sweep
from arbitrage.speculation.tree import Question

Work = dict[str, dict[str, float]]  # by model: seconds and calls, and tokens it generated or inputs it scored


@dataclass(frozen=True)
class StoredCast:
    """A pair's models behind one step store."""

    cast: Cast
    store: StepStore
    generators: dict[str, StoredGenerator]
    scorers: dict[str, StoredScorer]

    @property
    def identities(self) -> dict[str, str]:
        """Identity of each model."""
        return {name: model.identity for name, model in (self.generators | self.scorers).items()}

    @property
    def work(self) -> Work:
        """What each model did so far, for the provenance record."""
        wrote = {
            name: {"seconds": round(model.seconds, 4), "calls": model.calls, "tokens": model.tokens}
            for name, model in self.generators.items()
        }
        scored = {
            name: {"seconds": round(model.seconds, 4), "calls": model.calls, "scored": model.scored}
            for name, model in self.scorers.items()
        }
        return wrote | scored


@contextmanager
def open_cast(study: Study, pair: str, questions: str, part: str, router: Path | None) -> Iterator[StoredCast]:
    """The models of `pair`, and what the store remembers of them on `questions`: those of a source, or `labelling`.

    Raises StoreError where another process works on this `part` of them for the study.
    """
    with factory.open_pair(study, pair) as (draft, target):
        prm = factory.load_prm(study)
        identities = (draft.identity, target.identity, prm.identity)
        namespace = hashlib.sha256("|".join(identities).encode()).hexdigest()[:16]
        store = StepStore(Path(study.results) / ".store", f"{namespace}/{questions}")
        _tell_of_others(store, questions)
        generators = {"draft": StoredGenerator(draft, store), "target": StoredGenerator(target, store)}
        scorers = {"prm": StoredScorer(prm, store)}
        if router is not None:
            scorers["router"] = StoredScorer(factory.load_router(study, router), store)
        cast = Cast(generators["draft"], generators["target"], scorers["prm"], scorers.get("router"), study.generation)
        with claimed(store.directory, f"{study.study}-{pair}-{part}"):  # other studies share the folder
            yield StoredCast(cast, store, generators, scorers)


def _tell_of_others(store: StepStore, questions: str) -> None:
    """Say so where a store that is still empty stands beside others: a model may have changed by accident."""
    namespaces = store.directory.parent.parent
    others = [folder for folder in namespaces.glob(f"*/{questions}") if folder != store.directory]
    if others and not len(store):
        print(
            f"{store.directory}: a new step store, for {questions}; those of other models, tokenizers, types or "
            f"versions ({len(others)}) stay as they are",
            file=sys.stderr,
        )


def label_steps(study: Study, pair: str, shard: int, questions: Path, out: Path) -> tuple[dict[str, str], Work]:
    """Stage `steps`: paired steps of one shard of the labelling questions. Returns the models' identities and work."""
    rows = _shard(read_table(questions, "questions"), shard, study.steps_shards)
    with open_cast(study, pair, "labelling", f"shard-{shard}", router=None) as stored:

        def work(chunk: list[Question], on_round: Callable[[int, int], None]) -> list[dict[str, Any]]:
            return paired_steps(
                stored.cast, chunk, study.steps.target_samples, study.steps.temperature, study.seed, on_round
            )

        title = f"steps {pair} shard {shard}"
        labelled = list(_in_chunks(stored, rows, study.steps.chunk, title, "solutions", work))
    write_table(out, "steps", [{"study": study.study, "pair": pair, **row} for row in labelled])
    return stored.identities, stored.work


def sweep_benchmark(
    study: Study, pair: str, benchmark: str, shard: int, questions: Path, router: Path | None, out: Path
) -> tuple[dict[str, str], Work]:
    """Stage `trajectories`: sweep of all policies over one shard of a benchmark, graded. Returns as `label_steps`."""
    rows = _shard(read_table(questions, "questions"), shard, study.sweep_shards(benchmark))
    gold = {row["question_id"]: row for row in rows}
    thresholds = None if study.sweep.thresholds == "exact" else study.sweep.thresholds

    def grade_solution(question_id: str, solution: str) -> tuple[str | None, bool]:
        row = gold[question_id]
        return grade(solution, row["answers"], row["grading"])

    source = study.benchmarks[benchmark].source  # other studies may name the benchmark otherwise
    with open_cast(study, pair, source, f"{benchmark}-shard-{shard}", router) as stored:

        def work(chunk: list[Question], on_round: Callable[[int, int], None]) -> list[dict[str, Any]]:
            found = sweep(stored.cast, chunk, study.sweep.policies, study.seed, thresholds, on_round)
            return trajectory_rows(stored.cast, found, grade_solution)

        title = f"trajectories {pair} {benchmark} shard {shard}"
        swept = list(_in_chunks(stored, rows, study.sweep.chunk, title, "trajectories", work))
    keys = {"study": study.study, "pair": pair, "benchmark": benchmark}
    write_table(out, "trajectories", [{**keys, **row} for row in swept])
    return stored.identities, stored.work


def _shard(rows: list[dict[str, Any]], shard: int, shards: int) -> list[dict[str, Any]]:
    """Every `shards`-th question of the list sorted by id, from `shard` on."""
    return sorted(rows, key=lambda row: row["question_id"])[shard::shards]


def _in_chunks(
    stored: StoredCast,
    rows: Sequence[dict[str, Any]],
    size: int,
    title: str,
    unit: str,
    work: Callable[[list[Question], Callable[[int, int], None]], list[dict[str, Any]]],
) -> Iterator[dict[str, Any]]:
    """The rows that `work` makes of the questions in `rows`, `size` at a time; unit: what it says are done and open."""
    progress = Progress(len(rows), "questions", title)
    chunks = range(0, len(rows), size)
    for number, start in enumerate(chunks, start=1):
        which = f"chunk {number} of {len(chunks)}"
        chunk = [Question(row["question_id"], row["problem"]) for row in rows[start : start + size]]
        name = hashlib.sha256("\n".join(question.question_id for question in chunk).encode()).hexdigest()[:12]
        yield from work(chunk, partial(_tell_round, progress, which, unit))
        stored.store.commit(name)
        stored.cast.forget()
        progress.advance(len(chunk))
    counts = stored.store
    progress.note(
        f"generated {counts.generated_tokens:,} tokens in {counts.generated_steps:,} steps, scored {counts.scored:,}, "
        f"remembered {counts.hits:,}"
    )


def _tell_round(progress: Progress, chunk: str, unit: str, finished: int, open_: int) -> None:
    progress.note(f"{chunk}: {finished:,} {unit} finished, {open_:,} open")
