"""The stages of a pair on a few questions: what `arbitrage plan` reckons with.

Everything runs as in the stages themselves, behind a step store of its own in a temporary folder. The study's store is
neither read, or the work would look smaller than it is, nor written: results repeat byte for byte only where a chunk is
computed in its own batches, and these are others.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arbitrage.config.models import Model
from arbitrage.config.study import Study
from arbitrage.engines import factory
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.hf.incremental import LiveScorer
from arbitrage.engines.scoring.scorers import RouterScorer, TransformersScorer
from arbitrage.engines.store.step_store import StepStore, StoredGenerator, StoredScorer
from arbitrage.grading.grade import grade
from arbitrage.io.tables import write_table
from arbitrage.planning.calibration_router import Training, calibration_router
from arbitrage.planning.recording import Call, RecordedGenerator, RecordedScorer
from arbitrage.quantisation.rounding import quantise_directory
from arbitrage.speculation.decoder import LiveDecoder
from arbitrage.speculation.labelling import paired_steps
from arbitrage.speculation.pair import Cast
from arbitrage.speculation.protocols import Generator
from arbitrage.speculation.rows import trajectory_rows
from arbitrage.speculation.sweep import sweep
from arbitrage.speculation.tree import Question
from arbitrage.stages.latency import Run, row_of, settings_of, timed

Rows = list[dict[str, Any]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Sample:
    """What a stage took on some questions. calls: by model; own_s: seconds outside the models; disk: bytes."""

    problems: list[str]
    calls: dict[str, list[Call]]
    own_s: float
    disk: float


@dataclass(frozen=True)
class Calibration:
    """A pair on the calibration questions. live: rows of the `latency` table; load_s: seconds to load its models."""

    load_s: float
    steps: Sample
    training: Training
    sweeps: dict[str, Sample]
    live: Rows


@contextmanager
def open_calibrator(study: Study, pair: str, folder: Path, say: Say) -> Iterator[Calibrator]:
    """The models of `pair`, to be tried; `folder` is the caller's to delete."""
    say(f"{pair}: loading the models")
    begin = time.perf_counter()
    names = (study.pairs[pair].draft, study.pairs[pair].target)
    study = study.model_copy(update={"models": study.models | dict(_rounded(study, names, folder))})
    with factory.open_pair(study, pair) as (draft, target):
        prm = factory.load_prm(study)
        yield Calibrator(study, pair, folder, say, draft, target, prm, load_s=time.perf_counter() - begin)


def _rounded(study: Study, names: Sequence[str], folder: Path) -> Iterator[tuple[str, Model]]:
    """Those of `names` that are to be rounded from another model and are not there yet, rounded into `folder`."""
    for name in dict.fromkeys(names):
        model = study.models[name]
        recipe = model.quantise
        if recipe is not None and recipe.method == "round" and not Path(study.model_path(name)).is_dir():
            assert recipe.bits is not None
            source = resolve(study.model_path(recipe.model), study.models[recipe.model].revision)
            quantise_directory(source, folder / name, recipe.bits, recipe.group_size)
            yield name, model.model_copy(update={"path": str(folder / name), "quantise": None})


@dataclass
class Calibrator:
    """Runs the stages of a pair in `folder`."""

    study: Study
    pair: str
    folder: Path
    say: Say
    draft: Generator
    target: Generator
    prm: TransformersScorer
    load_s: float

    def run(self, labelling: Rows, benchmarks: dict[str, Rows]) -> Calibration:
        """Label `labelling`, train a router on that, sweep and time each of `benchmarks` (rows of `questions`)."""
        self._warm_up(labelling[0]["problem"])
        self.say(f"{self.pair}: labelling {len(labelling)} questions")
        steps, labelled = self._steps(labelling)
        self.say(f"{self.pair}: training a router on {len(labelled)} steps")
        training, router = calibration_router(self.study, self.pair, labelled, self.folder)
        sweeps, live = {}, []
        for name, rows in benchmarks.items():
            self.say(f"{self.pair}: sweeping {len(rows)} questions of {name}")
            sweeps[name], swept = self._sweep(name, rows, router)
            if self.study.pairs[self.pair].latency:
                self.say(f"{self.pair}: timing solutions of {name}")
                live += self._live(name, rows, swept, router)
        return Calibration(self.load_s, steps, training, sweeps, live)

    def _warm_up(self, problem: str) -> None:
        """A first call costs more than any later one, and belongs to no question."""
        for generator in (self.draft, self.target):
            generator.generate([generator.prompt_ids(problem)], [2])

    def _steps(self, rows: Rows) -> tuple[Sample, Rows]:
        settings = self.study.steps

        def work(cast: Cast, questions: list[Question]) -> Rows:
            found = paired_steps(cast, questions, settings.target_samples, settings.temperature, self.study.seed)
            return [{"study": self.study.study, "pair": self.pair, **row} for row in found]

        return self._recorded("steps", rows, None, work)

    def _sweep(self, benchmark: str, rows: Rows, router: RouterScorer) -> tuple[Sample, Rows]:
        settings, gold = self.study.sweep, {row["question_id"]: row for row in rows}
        thresholds = None if settings.thresholds == "exact" else settings.thresholds

        def graded(question_id: str, solution: str) -> tuple[str | None, bool]:
            return grade(solution, gold[question_id]["answers"], gold[question_id]["grading"])

        def work(cast: Cast, questions: list[Question]) -> Rows:
            found = sweep(cast, questions, settings.policies, self.study.seed, thresholds)
            keys = {"study": self.study.study, "pair": self.pair, "benchmark": benchmark}
            return [{**keys, **row} for row in trajectory_rows(cast, found, graded)]

        return self._recorded("trajectories", rows, router, work)

    def _recorded(
        self, table: str, rows: Rows, router: RouterScorer | None, work: Callable[[Cast, list[Question]], Rows]
    ) -> tuple[Sample, Rows]:
        """`work` on the questions in `rows` as one chunk, with nothing remembered; and its rows of `table`."""
        folder = self.folder / f"{table}-{len(list(self.folder.iterdir()))}"
        store = StepStore(folder, "store")
        generators = {"draft": RecordedGenerator(self.draft), "target": RecordedGenerator(self.target)}
        scorers = {"prm": RecordedScorer(self.prm)} | ({"router": RecordedScorer(router)} if router else {})
        cast = Cast(
            StoredGenerator(generators["draft"], store),
            StoredGenerator(generators["target"], store),
            StoredScorer(scorers["prm"], store),
            StoredScorer(scorers["router"], store) if router else None,
            self.study.generation,
        )
        for engine in (self.draft, self.target, self.prm, router):
            if (forget := getattr(engine, "forget", None)) is not None:
                forget()
        begin = time.perf_counter()
        made = work(cast, [Question(row["question_id"], row["problem"]) for row in rows])
        chunk = store.commit("chunk")
        write_table(folder / "table.parquet", table, made)
        seconds = time.perf_counter() - begin
        recorded: dict[str, RecordedGenerator | RecordedScorer] = {**generators, **scorers}
        calls = {name: each.calls for name, each in recorded.items()}
        own_s = seconds - sum(call.seconds for each in calls.values() for call in each)
        stored = chunk.stat().st_size if chunk else 0
        disk = stored + 2 * (folder / "table.parquet").stat().st_size  # as a shard, and in the merged table
        return Sample([row["problem"] for row in rows], calls, own_s, disk), made

    def _live(self, benchmark: str, rows: Rows, swept: Rows, router: RouterScorer) -> Rows:
        """One solution at each setting that is timed, of one question after the other."""
        decoder = LiveDecoder(
            factory.live_generator(self.draft),
            factory.live_generator(self.target),
            LiveScorer(self.prm),
            LiveScorer(router),
            self.study.generation,
            self.study.seed,
        )
        found = []
        gc.freeze()  # as `measure_latency` does
        for place, setting in enumerate(settings_of(swept, self.study.latency.acceptances)):
            row = rows[place % len(rows)]
            run = Run(benchmark, Question(row["question_id"], row["problem"]), setting)
            found.append(row_of(run, timed(decoder, run)))
        gc.unfreeze()
        return found
