"""Labelling: paired steps of one shard of the labelling questions, scored by the PRM (paper, section 4.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arbitrage.config.study import Study
from arbitrage.io.tables import read_table, write_table
from arbitrage.runtime.placement import placed
from arbitrage.speculation.labelling import Labelling
from arbitrage.speculation.tree import Question
from arbitrage.stages.open_models import open_pair_cached
from arbitrage.stages.work_through import shard_of, work_through


def label(study: Study, pair: str, shard: int, questions: Path, out: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Write the `steps` table of one shard, whole or not at all.

    questions: the `questions` table. Returns the models' identities and `CachedPair.report`.
    Raises EngineError, TableError.
    """
    rows = shard_of(read_table(questions, "questions"), shard, study.steps_shards)
    settings = study.steps
    labelled: list[dict[str, Any]] = []

    def finished(question: Question, own: list[dict[str, Any]]) -> None:
        labelled.extend(own)

    study = placed(study, "label", pair)
    with open_pair_cached(study, "label", pair, "labelling", f"shard-{shard}") as stored:
        course = Labelling(settings.target_samples, settings.temperature, study.seed, study.target_reads_labelled)
        title = f"steps {pair} shard {shard}"
        work_through(stored, study, pair, rows, settings.chunk, course, finished, title, "solutions")
    labelled.sort(key=lambda row: (row["question_id"], row["step_index"]))
    write_table(out, "steps", [{"study": study.study, "pair": pair, **row} for row in labelled])
    return stored.identities, stored.report
