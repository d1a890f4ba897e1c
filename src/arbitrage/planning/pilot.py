"""The stages of a pair on a few questions, by their own commands, as a study of its own in a folder of its own.

Nothing the study has computed is read but its low-bit models and its trained router: its step store above all is left
alone, or the work would look smaller than it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from arbitrage.config.load import write_resolved
from arbitrage.config.study import Study
from arbitrage.errors import UserError
from arbitrage.io.tables import read_table, write_table
from arbitrage.runtime.child_processes import end_descendants
from arbitrage.runtime.paths import StudyPaths
from arbitrage.runtime.provenance import record_of

Rows = list[dict[str, Any]]
ARBITRAGE = (sys.executable, "-c", "from arbitrage.cli import main; main()")
KIB = 1024 if sys.platform == "linux" else 1  # the unit in which getrusage counts memory
STEP_TOKENS = 64  # length of the one step whose passes are timed


class PlanError(UserError, RuntimeError):
    """A pilot that cannot be run; the message is that of the command that failed."""


@dataclass(frozen=True)
class Measured:
    """One job of a stage in the pilot, or several together.

    questions: it worked on; seconds: of the whole process; units: tokens by draft and target, inputs scored by PRM and
    router; model_s: seconds in each of them; lengths: of what it wrote for each question, in any unit; disk: bytes it
    left; memory: most bytes its process held; examples: steps a router was trained on; parts: `jobs` of several.
    """

    questions: int
    seconds: float
    units: Mapping[str, float] = field(default_factory=dict)
    model_s: Mapping[str, float] = field(default_factory=dict)
    lengths: Sequence[float] = ()
    disk: int = 0
    memory: int = 0
    examples: int = 0
    parts: Sequence[tuple[int, float]] = ()

    @property
    def jobs(self) -> Sequence[tuple[int, float]]:
        """Questions and seconds of each job."""
        return self.parts or [(self.questions, self.seconds)]

    def __add__(self, other: Measured) -> Measured:
        return Measured(
            self.questions + other.questions,
            self.seconds + other.seconds,
            Counter(self.units) + Counter(other.units),
            Counter(self.model_s) + Counter(other.model_s),
            [*self.lengths, *other.lengths],
            self.disk + other.disk,
            max(self.memory, other.memory),
            self.examples + other.examples,
            [*self.jobs, *other.jobs],
        )


class Pilot:
    """Runs the jobs of one pair below `folder`, on questions that are given round by round."""

    def __init__(self, study: Study, pair: str, folder: Path) -> None:
        """Makes the low-bit models of the pair that are not there yet. Raises PlanError."""
        self.pair, self.folder = pair, folder
        one_job = {"shards": 1, "questions_per_job": None}
        changes: dict[str, Any] = {name: getattr(study, name).model_copy(update=one_job) for name in ("steps", "sweep")}
        self._variants = list(dict.fromkeys(["default", *study.routing_variants]))
        trained = {variant: StudyPaths.of(study).router(pair, variant) for variant in self._variants}
        self._trained = {variant: path for variant, path in trained.items() if path.is_dir()}
        self._routers = self._trained
        self._scored: tuple[Path, list[Path]] | None = None  # the last round's steps, and its routers' held-out scores
        models = dict(study.models)
        for name in (study.pairs[pair].draft, study.pairs[pair].target):
            path = Path(study.model_path(name))
            if models[name].quantise and not path.is_dir():
                path = StudyPaths(folder).model(name)
                self._run(study, "quantise", path, model=name)
            models[name] = models[name].model_copy(update={"path": str(path), "quantise": None})
        if study.prm_path != study.prm.path:
            path = Path(study.prm_path)
            if not path.is_dir():
                path = StudyPaths(folder).model("_prm")
                self._run(study, "convert-prm", path)
            plain = {"path": str(path), "revision": None, "kind": "classifier"}
            changes["prm"] = study.prm.model_copy(update=plain)
        self.study = study.model_copy(update={"models": models, "pairs": {pair: study.pairs[pair]}, **changes})

    def passes(self, questions: Rows) -> Measured:
        """Label no more than the first step of these questions. Raises PlanError."""
        limits = {"max_steps": 1, "max_step_tokens": min(STEP_TOKENS, self.study.generation.max_step_tokens)}
        study = self._study(f"passes-{len(questions)}", generation=self.study.generation.model_copy(update=limits))
        _, job = self._label(study, questions)
        return job

    def round(self, name: str, labelling: Rows, benchmarks: Mapping[str, Rows]) -> Iterator[tuple[str, Measured]]:
        """Label, train a router, sweep and time; the stage and its job as each ends. Raises PlanError.

        benchmarks: rows of questions by name. Until there is a router (it needs steps of both labels), what needs one
        is left to the next round.
        """
        study = self._study(name, benchmarks={each: self.study.benchmarks[each] for each in benchmarks})
        if labelling:
            steps, job = self._label(study, labelling)
            yield "label", job
            looked = []
            if study.looks_ahead(self.pair):
                looked = [StudyPaths.of(study).lookahead(self.pair, 0)]
                yield "lookahead", self._lookahead(study, steps, looked[0], job)
            options: dict[str, Any] = {"lookahead": looked}
            if study.reads_states(self.pair):
                options["states"] = [StudyPaths.of(study).states(self.pair, 0)]
                read = self._run(study, "states", options["states"][0], pair=self.pair, shard=0, steps=steps)
                yield "states", replace(read, questions=job.questions, lengths=job.lengths)
            yield from self._train(study, steps, options, job)
        if not self._routers.keys() >= set(study.routing_variants):
            return
        if study.sweep.thresholds == "quantiles" and not self._scored:
            return
        for benchmark, rows in benchmarks.items():
            yield f"sweep {benchmark}", self._sweep(study, benchmark, rows)
        if self._routers and benchmarks and study.pairs[self.pair].latency:
            yield "latency", self._latency(study)

    def _study(self, name: str, **changes: Any) -> Study:
        return self.study.model_copy(update={"results": str(self.folder / name), **changes})

    def _label(self, study: Study, questions: Rows) -> tuple[Path, Measured]:
        paths = StudyPaths.of(study)
        out, table = paths.steps(self.pair), _written(paths.labelling_questions, questions)
        job = self._run(study, "label", out, pair=self.pair, shard=0, questions=table)
        texts = [(row["question_id"], [row["draft_step"], *row["target_steps"]]) for row in read_table(out, "steps")]
        return out, replace(job, questions=len(questions), lengths=_lengths(texts))

    def _lookahead(self, study: Study, steps: Path, out: Path, labelled: Measured) -> Measured:
        questions = StudyPaths.of(study).labelling_questions
        job = self._run(study, "lookahead", out, pair=self.pair, shard=0, questions=questions, steps=steps)
        return replace(job, questions=labelled.questions, lengths=labelled.lengths)

    def _train(
        self, study: Study, steps: Path, options: dict[str, Any], labelled: Measured
    ) -> Iterator[tuple[str, Measured]]:
        paths, count, lengths = StudyPaths.of(study), labelled.questions, labelled.lengths
        routers, scored = {}, []
        for variant in self._variants:
            name = (self.pair, variant)
            dataset, model, heldout = paths.dataset(*name), paths.router(*name), paths.heldout(*name)
            try:
                job = self._run(study, "dataset", dataset, steps=steps, variant=variant, **options)
            except PlanError:  # too few steps, or all of one label
                return
            jobs = {"dataset": replace(job, questions=count, lengths=lengths)}
            job = self._run(study, "router", model, dataset=dataset, variant=variant)
            examples = json.loads((model / "training.json").read_text(encoding="utf-8"))["examples"]
            jobs["router"] = replace(job, questions=count, lengths=lengths, examples=examples)
            job = self._run(study, "heldout", heldout, router=model, dataset=dataset, variant=variant)
            jobs["heldout"] = replace(job, questions=count, lengths=lengths)
            if variant == "default":  # what the other variants take is told from it
                yield from jobs.items()
            routers[variant] = model
            scored.append(heldout)
        self._routers, self._scored = routers | self._trained, (steps, scored)

    def _sweep(self, study: Study, benchmark: str, questions: Rows) -> Measured:
        paths = StudyPaths.of(study)
        out, table = paths.trajectories(self.pair, benchmark), _written(paths.questions(benchmark), questions)
        options: dict[str, Any] = {
            "benchmark": benchmark,
            "shard": 0,
            "questions": table,
            "router": self._routed(study),
        }
        if study.sweep.thresholds == "quantiles":
            options["thresholds"] = self._quantiles(study)
        job = self._run(study, "sweep", out, pair=self.pair, **options)
        steps = {  # the different ones: one context has one next step of a model
            (row["question_id"], "".join(step["text"] for step in row["steps"][:index]), step["model"]): step["text"]
            for row in read_table(out, "trajectories")
            for index, step in enumerate(row["steps"])
        }
        lengths = _lengths((key[0], [text]) for key, text in steps.items())
        return replace(job, questions=len(questions), lengths=lengths)

    def _quantiles(self, study: Study) -> Path:
        """Thresholds at quantiles of the pilot's own scores."""
        assert self._scored is not None
        (steps, heldout), out = self._scored, StudyPaths.of(study).quantiles(self.pair)
        self._run(study, "quantiles", out, *heldout, pair=self.pair, steps=steps)
        return out

    def _latency(self, study: Study) -> Measured:
        out = StudyPaths.of(study).latency(self.pair)
        job = self._run(study, "latency", out, pair=self.pair, router=self._routed(study))
        seconds = Counter[tuple[str, str]]()
        for row in read_table(out, "latency"):
            seconds[row["benchmark"], row["question_id"]] += row["wall_s"]
        return replace(job, questions=len(seconds), lengths=list(seconds.values()))

    def _routed(self, study: Study) -> list[Path]:
        return [self._routers[variant] for variant in study.routing_variants]

    def _run(self, study: Study, command: str, out: Path, *tables: Path, **options: Any) -> Measured:
        """Run a stage's command; what it took, whatever its questions. Raises PlanError."""
        out.parent.mkdir(parents=True, exist_ok=True)
        resolved = write_resolved(study)
        each = {name: value if isinstance(value, list) else [value] for name, value in options.items()}
        words = [f"--{name}={value}" for name, values in each.items() for value in values]
        begin = time.perf_counter()
        memory = _finished([*ARBITRAGE, command, f"--study={resolved}", *words, f"--out={out}", *map(str, tables)], out)
        seconds = time.perf_counter() - begin
        work = json.loads(record_of(out).read_text(encoding="utf-8")).get("work", {})
        files = out.rglob("*") if out.is_dir() else [out]
        return Measured(
            0,
            seconds,
            units={model: did.get("tokens", did.get("scored", 0)) for model, did in work.items()},
            model_s={model: did["seconds"] for model, did in work.items()},
            disk=sum(file.stat().st_size for file in files if file.is_file()),
            memory=memory,
        )


def _written(table: Path, questions: Rows) -> Path:
    write_table(table, "questions", questions)
    return table


def _lengths(texts: Iterable[tuple[str, Sequence[str]]]) -> list[float]:
    """Characters by question, of pairs of a question's id and what was written for it."""
    counts = Counter[str]()
    for question, written in texts:
        counts[question] += sum(map(len, written))
    return [float(count) for count in counts.values()]


def _finished(command: list[str], out: Path) -> int:
    """Most bytes a command held until its end; none of its processes is left, however this function ends.

    What it says is beside `out`, in a .log. Raises PlanError where it fails.
    """
    log = out.with_name(f"{out.name}.log")
    with log.open("w") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)  # noqa: S603
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            end_descendants()
            process.wait()
            raise
    if status:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no message"]
        own = [line for line in lines if line.startswith("arbitrage: ")]  # what is buffered may come after it
        raise PlanError(f"the pilot failed: {(own or lines)[-1].removeprefix('arbitrage: ')}")
    return int(usage.ru_maxrss) * KIB
