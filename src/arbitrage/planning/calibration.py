"""The stages of a pair on a few questions: what `arbitrage plan` reckons with.

Everything runs as in the stages themselves, behind a step store of its own in a temporary folder. The study's store is
neither read, or the work would look smaller than it is, nor written: results repeat byte for byte only where a chunk is
computed in its own batches, and these are others.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arbitrage.engines import factory
from arbitrage.engines.checkpoints import load_tokenizer, resolve
from arbitrage.engines.live import LiveGenerator, LiveScorer
from arbitrage.engines.scorers import RouterScorer
from arbitrage.engines.store import StepStore, StoredGenerator, StoredScorer
from arbitrage.engines.transformers import TransformersGenerator
from arbitrage.evaluation.grading import grade
from arbitrage.planning.recording import Call, RecordedGenerator, RecordedScorer
from arbitrage.planning.router import EvenRouter
from arbitrage.quantisation.rounding import quantise_directory
from arbitrage.routing.dataset import build_dataset
from arbitrage.routing.labels import RoutingError
from arbitrage.routing.training import train_router
from arbitrage.sections.routing import Dataset, Variant
from arbitrage.speculation.live import LiveDecoder
from arbitrage.speculation.models import Cast
from arbitrage.speculation.paired import paired_steps
from arbitrage.speculation.records import trajectory_rows
from arbitrage.speculation.sweep import sweep
from arbitrage.speculation.tree import Question
from arbitrage.study import Study
from arbitrage.tables import write_table
from arbitrage.timing import Run, row_of, settings_of, timed

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
class Training:
    """What a router took: seconds of its data set and of its training, shares of the labels, bytes of its files."""

    steps: int
    positive: float
    dataset_s: float
    dataset_bytes: float
    seconds_an_example: float
    model_bytes: float


@dataclass(frozen=True)
class Calibration:
    """A pair on the calibration questions. live: rows of the `latency` table; load_s: seconds to load its models."""

    load_s: float
    steps: Sample
    training: Training
    sweeps: dict[str, Sample]
    live: Rows


class Calibrator:
    """Runs the stages of `pair`, in `folder`, which is the caller's to delete."""

    def __init__(self, study: Study, pair: str, folder: Path, say: Say) -> None:
        self.study, self.pair, self.folder, self.say = study, pair, folder, say
        begin = time.perf_counter()
        say(f"{pair}: loading the models")
        self.draft, self.target = (
            self._generator(name) for name in (study.pairs[pair].draft, study.pairs[pair].target)
        )
        self.prm = factory.load_prm(study)
        self.load_s = time.perf_counter() - begin

    def run(self, labelling: Rows, benchmarks: dict[str, Rows]) -> Calibration:
        """Label `labelling`, train a router on that, sweep and time each of `benchmarks` (rows of `questions`)."""
        self._warm_up(labelling[0]["problem"])
        self.say(f"{self.pair}: labelling {len(labelling)} questions")
        steps, labelled = self._steps(labelling)
        self.say(f"{self.pair}: training a router on {len(labelled)} steps")
        training, router = self._router(labelled)
        sweeps, live = {}, []
        for name, rows in benchmarks.items():
            self.say(f"{self.pair}: sweeping {len(rows)} questions of {name}")
            sweeps[name], swept = self._sweep(name, rows, router)
            if self.study.pairs[self.pair].latency:
                self.say(f"{self.pair}: timing solutions of {name}")
                live += self._live(name, rows, swept, router)
        return Calibration(self.load_s, steps, training, sweeps, live)

    def _generator(self, name: str) -> TransformersGenerator:
        """Model `name`; where it is to be rounded and is not there yet, it is rounded here."""
        path, recipe = Path(self.study.model_path(name)), self.study.models[name].quantise
        if recipe is not None and recipe.method == "round" and not path.exists():
            assert recipe.bits is not None
            origin, path = self.study.models[recipe.model], self.folder / "models" / name
            if not path.exists():
                source = resolve(self.study.model_path(recipe.model), origin.revision)
                quantise_directory(source, path, recipe.bits, recipe.group_size)
        return factory.load_generator(self.study, name, path)

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
            if engine is not None:
                engine.forget()
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

    def _router(self, labelled: Rows) -> tuple[Training, RouterScorer]:
        """A router trained on `labelled`, and what it took; the study's own router where it has been trained."""
        study, steps, dataset = self.study, self.folder / "steps.parquet", self.folder / "dataset"
        write_table(steps, "steps", labelled)
        init, revision = study.router_init
        shape = Dataset(validation=0.01, max_length=study.dataset.max_length)
        begin = time.perf_counter()
        try:
            build_dataset(
                steps,
                Variant(balance=False, annotate=study.router.variants["default"].annotate),
                shape,
                load_tokenizer(init, revision),
                study.generation.separator,
                study.seed,
                dataset,
            )
        except RoutingError as fault:
            raise RoutingError(
                f"{len(labelled)} steps are too few to train a router on ({fault}); give --questions more"
            ) from fault
        dataset_s = time.perf_counter() - begin
        out = self.folder / "router"
        told = train_router(
            dataset,
            init,
            revision,
            study.router.training,
            seed=study.seed,
            device=study.router.device,
            threads=study.threads,
            out_dir=out,
        )
        training = Training(
            steps=len(labelled),
            positive=sum(row["label"] for row in labelled) / len(labelled),
            dataset_s=dataset_s,
            dataset_bytes=_bytes(dataset),
            seconds_an_example=told["seconds"] / (told["examples"] * study.router.training.epochs),
            model_bytes=_bytes(out),
        )
        trained = Path(study.folder) / "router" / self.pair / "default" / "model"
        if trained.is_dir():
            return training, factory.load_router(study, trained)
        return training, EvenRouter(str(out), study.router, study.threads, dataset)

    def _live(self, benchmark: str, rows: Rows, swept: Rows, router: RouterScorer) -> Rows:
        """One solution at each setting that is timed, of one question after the other."""
        decoder = LiveDecoder(
            LiveGenerator(self.draft),
            LiveGenerator(self.target),
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


def _bytes(folder: Path) -> float:
    return float(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))
