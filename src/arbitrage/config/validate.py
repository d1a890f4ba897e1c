"""What must hold between the keys of a study, and between the study, disk and hub; pydantic checks each value."""

from __future__ import annotations

import difflib
import math
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from arbitrage.config.messages import KeyPath, Problem, shown
from arbitrage.config.pipeline import Sharded
from arbitrage.config.questions import Benchmark, QuestionSource, is_generated
from arbitrage.config.revisions import HUB_ID, hub_entries
from arbitrage.config.study import Study
from arbitrage.config.validate_sweep import sweep_problems

DEVICE = re.compile(r"cpu|cuda(:\d{1,3})?")
UNWRITABLE = re.compile("[\0\ud800-\udfff]")
MOST_JOBS = 10_000  # of a stage: Snakemake plans them all before the first starts
URL = re.compile(r"https?://\S+")
PINNING = "`arbitrage check` prints the line to write"


def value_problems(value: Any, path: KeyPath = ()) -> Iterator[Problem]:
    """Values that are no good anywhere: numbers that are not finite or too large, texts that no file can hold."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, f"expected a finite number, got {shown(value)}"
    elif isinstance(value, int) and abs(value) >= 2**63:
        yield path, f"expected a whole number of 64 bits, got {shown(value)}"
    elif isinstance(value, str) and UNWRITABLE.search(value):
        yield path, f"expected text without NUL and without halves of characters, got {value!a}"
    elif len(path) < 8:  # deeper than any key: a YAML alias inside itself ends here
        items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        for part, item in items:
            yield from value_problems(item, (*path, part))


def study_problems(study: Study) -> Iterator[Problem]:
    """What does not fit between the keys of a study."""
    yield from _names(study)
    yield from sweep_problems(study)
    yield from _sizes(study)
    yield from _jobs(study.steps, "steps", study.questions.sample)
    yield from _jobs(study.sweep, "sweep", max(benchmark.size for benchmark in study.benchmarks.values()))
    yield from _devices(study)
    yield from _results(study.results)
    yield from _router_start(study)
    yield from _questions(("questions",), study.questions)
    for name, benchmark in study.benchmarks.items():
        yield from _questions(("benchmarks", name), benchmark)
        yield from _answers(("benchmarks", name), benchmark)


def source_problems(study: Study) -> Iterator[Problem]:
    """Models and data that are not on this disk though the study says so, and hub repositories without a commit."""
    checkpoints: list[tuple[KeyPath, str | None]] = [
        (("prm", "path"), study.prm.path),
        (("router", "init"), study.router.init),
        *((("models", name, "path"), model.path) for name, model in study.models.items()),
    ]
    for path, value in checkpoints:
        if value is not None and not stat.S_ISDIR(_mode(value)) and (_mode(value) or not HUB_ID.fullmatch(value)):
            yield path, f"expected a directory, or a hub id (owner/name); {shown(value)} is neither"
    tables: list[tuple[KeyPath, str | None]] = [
        (("questions", "path"), study.questions.path),
        *((("benchmarks", name, "path"), benchmark.path) for name, benchmark in study.benchmarks.items()),
    ]
    for path, value in tables:
        if value is not None and not stat.S_ISREG(_mode(value)):
            yield path, f"expected a file of questions, got {shown(value)}, which is not there"
    for entry in hub_entries(study):
        if entry.revision is None and HUB_ID.fullmatch(entry.name):
            here = ", which is no directory here" if entry.kind == "model" else ""
            yield entry.key, f"expected the commit of the hub's {shown(entry.name)}{here}, got none; {PINNING}"


def _names(study: Study) -> Iterator[Problem]:
    """Keys that name other entries: a pair's models, what is quantised, the ablation pair."""
    for name, pair in study.pairs.items():
        for role, model in (("draft", pair.draft), ("target", pair.target)):
            yield from _unknown(("pairs", name, role), model, study.models, "models")
        if pair.draft == pair.target:
            yield ("pairs", name, "target"), f"expected another model than the draft, got {shown(pair.draft)} twice"
    for name, entry in study.models.items():
        if entry.quantise is None:
            continue
        path, origin = ("models", name, "quantise", "model"), entry.quantise.model
        yield from _unknown(path, origin, study.models, "models")
        if origin in study.models and study.models[origin].quantise:
            yield path, f"expected a model with weights of its own, got {shown(origin)}, which is quantised itself"
    if "labelling" in study.benchmarks:
        yield ("benchmarks", "labelling"), "expected another name: the questions that are labelled have this one"
    if study.router.ablation_pair is not None:
        yield from _unknown(("router", "ablation_pair"), study.router.ablation_pair, study.pairs, "pairs")


def _unknown(path: KeyPath, name: str, known: Collection[str], section: str) -> Iterator[Problem]:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        yield path, f"expected a key of `{section}` ({', '.join(known)}), got {shown(name)}{hint}"


def _sizes(study: Study) -> Iterator[Problem]:
    """Numbers that bound each other."""
    questions = study.questions
    if is_generated(questions.source) and questions.sample > questions.pool:
        yield (
            ("questions", "sample"),
            f"expected at most questions.pool ({shown(questions.pool)}) questions, got {shown(questions.sample)}",
        )
    timed = sum(min(study.latency.questions, benchmark.size) for benchmark in study.benchmarks.values())
    if study.timed_pairs and timed < 2:
        yield (
            ("latency", "questions"),
            f"expected two or more timed questions over all benchmarks, for the cost model; got {timed}",
        )


def _jobs(stage: Sharded, section: str, questions: int) -> Iterator[Problem]:
    """A stage that would be cut into more jobs than can be planned."""
    each = stage.questions_per_job
    if each is not None:
        if each * MOST_JOBS < questions:
            yield (
                (section, "questions_per_job"),
                f"{shown(questions)} questions make more than {MOST_JOBS:,} jobs at {each} a job; give each more",
            )
    elif stage.shards > MOST_JOBS:
        yield (section, "shards"), f"expected at most {MOST_JOBS:,} jobs, got {shown(stage.shards)}"


def _results(results: str) -> Iterator[Problem]:
    """Results need a folder that is there, or can be made."""
    nearest = next((at for at in (Path(results), *Path(results).parents) if _mode(str(at))), Path())
    usable = stat.S_ISDIR(_mode(str(nearest))) and os.access(nearest, os.W_OK)
    too_long = any(len(part.encode(errors="replace")) > 255 for part in Path(results).parts)
    if "{" in results or "}" in results:
        yield ("results",), f"expected a folder without braces, which are wildcards to Snakemake, got {shown(results)}"
    if results.startswith("~"):
        yield ("results",), f"expected a folder written out, for nothing here reads ~ as a home, got {shown(results)}"
    if not results.strip() or not usable or too_long:
        yield ("results",), f"expected a folder, or a place where one can be made, got {shown(results)}"


def _mode(path: str) -> int:
    """What is at `path` (`stat.S_ISDIR` and the like read it); 0 where nothing is, or nothing can be."""
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):
        return 0


def _devices(study: Study) -> Iterator[Problem]:
    """Where models run: torch devices, and URLs of servers."""
    owners: list[tuple[KeyPath, str]] = [
        (("prm",), study.prm.device),
        (("router",), study.router.device),
        (("zoo",), study.zoo.device),
        *((("models", name), model.device) for name, model in study.models.items()),
    ]
    for owner, device in owners:
        if not DEVICE.fullmatch(device):
            yield (*owner, "device"), f"expected a torch device (cpu, cuda, cuda:1), got {shown(device)}"
    for name, model in study.models.items():
        url = model.server.url
        if url is not None and not URL.fullmatch(url):
            yield ("models", name, "server", "url"), f"expected a base URL (http://host:port/v1), got {shown(url)}"


def _router_start(study: Study) -> Iterator[Problem]:
    """Routers start from the PRM only where it is a classifier that reads what they read."""
    if study.prm.kind in ("marks", "token", "judge") and study.router.init is None:
        yield (
            ("router", "init"),
            f"expected a checkpoint for routers to start from, as a PRM of kind {study.prm.kind} is none; got none",
        )


def _questions(owner: KeyPath, source: QuestionSource) -> Iterator[Problem]:
    """Questions are generated, or read from a file or a data set of the hub."""
    if is_generated(source.source):
        for key in ("path", "dataset"):
            if (value := getattr(source, key)) is not None:
                yield (*owner, key), f"expected none, as {source.source} generates its questions, got {shown(value)}"
    elif source.path is None and source.dataset is None:
        yield (*owner, "path"), "expected a file of questions, or a data set of the hub as `dataset`, got neither"


def _answers(owner: KeyPath, benchmark: Benchmark) -> Iterator[Problem]:
    """A benchmark needs an answer, and choices a letter."""
    if benchmark.columns.answer is None:
        expected = "expected the column of the right answer (or of a solution, with answer_boxed)"
        yield (*owner, "columns", "answer"), f"{expected}, got none"
    if benchmark.columns.choices is not None and benchmark.kind != "choice":
        yield (*owner, "kind"), f"expected `choice`, as there is a column of choices, got {shown(benchmark.kind)}"
