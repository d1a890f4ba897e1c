"""The draft's hidden states after its labelled steps, for routers that read them: each is read once, by its text."""

from __future__ import annotations

import hashlib
from itertools import groupby
from pathlib import Path
from typing import Any

from arbitrage.config.devices import alone
from arbitrage.config.study import Study
from arbitrage.engines import factory
from arbitrage.engines.hf.generator import TransformersGenerator
from arbitrage.engines.store.cached import StoredGenerator
from arbitrage.engines.store.chunk_files import claimed
from arbitrage.engines.store.step_store import StepStore
from arbitrage.io.tables import read_batches, write_table
from arbitrage.runtime.paths import StudyPaths
from arbitrage.runtime.progress import Progress
from arbitrage.speculation.pair import require_states
from arbitrage.speculation.protocols import StateReading
from arbitrage.speculation.steps import AuthoredStep, Ids
from arbitrage.speculation.tree import Contexts, Node, Question
from arbitrage.stages.work_through import chunk_name

READ = ["question_id", "problem", "step_index", "history", "draft_step"]  # of the table `steps`
Row = dict[str, Any]


def states(study: Study, pair: str, shard: int, steps: Path, out: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Write the `states` table of one shard of labelled steps, whole or not at all.

    steps: the shard's `steps` table, whose draft steps the draft reads in their contexts; it writes none. Chunks of
    `steps.chunk` questions are committed to a step store of the draft's own, from which a killed run goes on. Returns
    the draft's identity, and what it did. Raises EngineError where it gives no states; StoreError, TableError.
    """
    name = study.pairs[pair].draft
    placed = {"device": alone(study.models[name].device)}
    study = study.model_copy(update={"models": study.models | {name: study.models[name].model_copy(update=placed)}})
    rows = [row for batch in read_batches(steps, "steps", READ) for row in batch.to_pylist()]
    questions = [list(own) for _, own in groupby(rows, key=lambda row: str(row["question_id"]))]
    draft = factory.load_generator(study, name)
    require_states(f"the stage states of pair {pair}", draft, StateReading)
    assert isinstance(draft, TransformersGenerator), "the engine that gives states"
    contexts = Contexts(draft)
    store = StepStore(StudyPaths.of(study).store, f"{hashlib.sha256(draft.identity.encode()).hexdigest()[:16]}/states")
    stored = StoredGenerator(draft, store)
    progress = Progress(len(questions), "questions", f"states {pair} shard {shard}")
    found: list[Row] = []
    with claimed(store.directory, f"{study.study}-{pair}-{shard}"):
        for start in range(0, len(questions), study.steps.chunk):
            chunk = questions[start : start + study.steps.chunk]
            own = [row for question in chunk for row in question]
            read = stored.states([_ids(contexts, row) for row in own])
            found += [_row(study, pair, row, state) for row, state in zip(own, read, strict=True)]
            store.commit(chunk_name([question[0]["question_id"] for question in chunk]))
            contexts.forget()
            draft.forget()  # what follows is then the same bit for bit, restarted here or not
            progress.advance(len(chunk))
    write_table(out, "states", found)
    work = {"seconds": round(stored.seconds, 4), "calls": stored.calls, "tokens": 0, "read": stored.read_steps}
    return {"draft": draft.identity}, {"work": {"draft": work}}


def _ids(contexts: Contexts, row: Row) -> Ids:
    """What the draft reads of a row of the table `steps`: its context, and the draft's step."""
    history = tuple(AuthoredStep(step["model"], step["text"]) for step in row["history"])
    return contexts.with_step(Node(Question(row["question_id"], row["problem"]), history), row["draft_step"])


def _row(study: Study, pair: str, row: Row, state: tuple[float, ...]) -> Row:
    key = {"study": study.study, "pair": pair, "question_id": row["question_id"], "step_index": row["step_index"]}
    return {**key, "state": state}
