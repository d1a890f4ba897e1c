"""What a study will take, stage by stage, from a few questions of it: `arbitrage plan`.

`plan` runs the stages on calibration questions (`calibration`) and multiplies (`estimates`). Questions, merging,
curves, figures and tables run no model and are not counted; nor is quantisation.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from arbitrage.config.study import Study
from arbitrage.io.tables import read_table
from arbitrage.planning.calibration import Rows, Say, open_calibrator
from arbitrage.planning.costs import Cost, costs_of
from arbitrage.questions.normal_form import digest
from arbitrage.questions.sampling import benchmark_questions, sample_questions


def plan(study: Study, questions: int, say: Say, importing_s: float = 0.0) -> list[Cost]:
    """The cost of every stage that runs a model, from `questions` (>= 2) questions of each set.

    importing_s: what a job takes to start before it loads its models. Raises what the stages raise.
    """
    say("choosing questions")
    rows = {name: _benchmark(study, name) for name in study.benchmarks}
    labelling = spread(_labelling(study, [row for each in rows.values() for row in each]), questions, study.seed)
    samples = {name: spread(each, questions, study.seed) for name, each in rows.items()}
    costs = []
    for pair in study.pairs:
        with (
            TemporaryDirectory(prefix="arbitrage-plan-") as folder,
            open_calibrator(study, pair, Path(folder), say) as calibrator,
        ):
            calibration = calibrator.run(labelling, samples)
        costs += costs_of(study, pair, calibration, importing_s)
    return costs


def spread(rows: Rows, count: int, seed: int) -> Rows:
    """`count` of `rows` (all, where there are fewer), evenly over the sources; within one in the seed's hash order."""
    ordered = sorted(rows, key=lambda row: (row["source"], digest(str(seed), "plan", row["question_id"])))
    count = min(count, len(ordered))
    return [ordered[(2 * place + 1) * len(ordered) // (2 * count)] for place in range(count)]


def _benchmark(study: Study, name: str) -> Rows:
    written = Path(study.folder) / "questions" / f"{name}.parquet"
    if written.is_file():
        return read_table(written, "questions")
    return benchmark_questions(study.study, name, study.benchmarks[name], study.seed)


def _labelling(study: Study, barred: Rows) -> Rows:
    written = Path(study.folder) / "questions" / "labelling.parquet"
    if written.is_file():
        return read_table(written, "questions")
    return sample_questions(study.study, study.questions, study.seed, barred)[0]
