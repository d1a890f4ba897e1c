"""What must hold between the keys of a study, and between the study and the disk; pydantic checks single values.

The checks read the configuration as it was written, not the `Study`: one wrong value must not hide the faults of the
others. They therefore pass over whatever has the wrong type; that is another fault's line.
"""

from __future__ import annotations

import difflib
import itertools
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from arbitrage.config.messages import KeyFault, dotted, shown
from arbitrage.config.pipeline import Latency, Sweep
from arbitrage.config.questions import BENCHMARK_SIZES, Questions
from arbitrage.config.router import RouterTraining

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
DEVICE = re.compile(r"cpu|cuda(:\d{1,3})?")
UNWRITABLE = re.compile("[\0\ud800-\udfff]")
MOST_JOBS = 10_000  # of a stage: Snakemake plans them all before the first starts
URL = re.compile(r"https?://\S+")
LAB_SOURCES = ("lab", "lab500", "labolympiad")
HUB_SOURCES = ("numina", "math500", "olympiadbench")
TIMED_POLICIES = ("draft_only", "target_only", "rsd", "router")


def study_faults(config: Mapping[str, Any], check_paths: bool) -> list[KeyFault]:
    """Every fault between keys; with `check_paths` also local files and directories that are not there."""
    faults = [*_unusable(config, ()), *_names(config), *_sweep(config), *_sizes(config), *_jobs(config)]
    faults += [*_devices(config), *_results(config), *_router_start(config)]
    return [*faults, *_checkpoints(config, check_paths), *_data(config, check_paths)]


def _get(config: Any, *path: str, default: Any = None) -> Any:
    """The value at `path`; `default` where it, or a section on the way, is absent or of another type."""
    for part in path:
        if not isinstance(config, Mapping) or part not in config:
            return default
        config = config[part]
    return config


def _entries(config: Mapping[str, Any], *path: str) -> dict[str, Mapping[str, Any]]:
    entries = _get(config, *path, default={})
    if not isinstance(entries, Mapping):
        return {}
    return {name: entry for name, entry in entries.items() if isinstance(name, str) and isinstance(entry, Mapping)}


def _unusable(value: Any, path: tuple[Any, ...]) -> Iterator[KeyFault]:
    """Values that are no good anywhere: numbers that are not finite or too large, texts that no file can hold."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, f"expected a finite number, got {shown(value)}"
    elif isinstance(value, int) and abs(value) >= 2**63:
        yield path, f"expected a whole number of 64 bits, got {shown(value)}"
    elif isinstance(value, str) and UNWRITABLE.search(value):
        yield path, f"expected text without NUL and without halves of characters, got {value!a}"
    elif len(path) < 8:  # deeper than any key: a YAML alias inside itself ends here
        children: Iterable[tuple[Any, Any]] = ()
        if isinstance(value, Mapping):
            children = value.items()
        elif isinstance(value, list):
            children = enumerate(value)
        for part, child in children:
            yield from _unusable(child, (*path, part))


def _names(config: Mapping[str, Any]) -> Iterator[KeyFault]:
    """Keys that name other entries: a pair's models, what is quantised, the ablation pair."""
    models, pairs = _entries(config, "models"), _entries(config, "pairs")
    for name, pair in pairs.items():
        for role in ("draft", "target"):
            yield from _unknown(("pairs", name, role), pair.get(role), models, "models")
        if isinstance(pair.get("draft"), str) and pair["draft"] == pair.get("target"):
            yield (
                ("pairs", name, "target"),
                f"expected another model than the draft, got {shown(pair['draft'])} twice",
            )
    for name, model in models.items():
        origin = _get(model, "quantise", "model")
        path = ("models", name, "quantise", "model")
        yield from _unknown(path, origin, models, "models")
        if isinstance(origin, str) and isinstance(_get(models, origin, "quantise"), Mapping):
            yield path, f"expected a model with weights of its own, got {shown(origin)}, which is quantised itself"
    if "labelling" in _entries(config, "benchmarks"):
        yield ("benchmarks", "labelling"), "expected another name: the questions that are labelled have this one"
    yield from _unknown(("router", "ablation_pair"), _get(config, "router", "ablation_pair"), pairs, "pairs")


def _unknown(path: tuple[str, ...], name: Any, known: Mapping[str, Any], section: str) -> Iterator[KeyFault]:
    if isinstance(name, str) and name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        yield path, f"expected a key of `{section}` ({', '.join(known) or 'there is none'}), got {shown(name)}{hint}"


def _sweep(config: Mapping[str, Any]) -> Iterator[KeyFault]:
    thresholds = _get(config, "sweep", "thresholds")
    if isinstance(thresholds, list):
        numbers = [value for value in thresholds if isinstance(value, int | float) and not isinstance(value, bool)]
        if not thresholds:
            yield ("sweep", "thresholds"), "expected `exact` or at least one threshold, got []"
        elif any(low >= high for low, high in itertools.pairwise(numbers)):
            yield ("sweep", "thresholds"), f"expected rising thresholds, none twice, got {shown(thresholds)}"
    policies = _get(config, "sweep", "policies", default=Sweep().policies)
    if not isinstance(policies, list):
        return
    twice = sorted({shown(policy) for policy in policies if policies.count(policy) > 1})
    if twice:
        yield ("sweep", "policies"), f"expected each policy once, got {', '.join(twice)} more than once"
    missing = [policy for policy in TIMED_POLICIES if policy not in policies]
    timed = [name for name, pair in _entries(config, "pairs").items() if pair.get("latency", True) is True]
    if missing and timed:
        keys = ", ".join(dotted(("pairs", name, "latency")) for name in timed)
        yield (
            ("sweep", "policies"),
            f"lacks {', '.join(missing)}, whose latency is timed: add them, or set {keys} to false",
        )


def _sizes(config: Mapping[str, Any]) -> Iterator[KeyFault]:
    """Numbers that bound each other."""
    questions = Questions()
    pool = _get(config, "questions", "pool", default=questions.pool)
    sample = _get(config, "questions", "sample", default=questions.sample)
    generated = _get(config, "questions", "source", default="lab") == "lab"
    if generated and isinstance(pool, int) and isinstance(sample, int) and sample > pool:
        yield ("questions", "sample"), f"expected at most questions.pool ({shown(pool)}) questions, got {shown(sample)}"
    timed = any(pair.get("latency", True) is True for pair in _entries(config, "pairs").values())
    each = _get(config, "latency", "questions", default=Latency().questions)
    limits = [_get(benchmark, "limit") or each for benchmark in _entries(config, "benchmarks").values()]
    if timed and limits and all(isinstance(number, int) for number in (each, *limits)):
        questions_timed = sum(min(each, limit) for limit in limits)
        if questions_timed < 2:
            yield (
                ("latency", "questions"),
                f"expected two or more timed questions over all benchmarks, for the cost model; got {questions_timed}",
            )
    training = RouterTraining()
    batch = _get(config, "router", "training", "batch_size", default=training.batch_size)
    micro = _get(config, "router", "training", "micro_batch_size", default=training.micro_batch_size)
    if isinstance(batch, int) and isinstance(micro, int) and micro > 0 and batch % micro:
        path = ("router", "training", "micro_batch_size")
        yield path, f"expected a divisor of router.training.batch_size ({shown(batch)}), got {shown(micro)}"


def _jobs(config: Mapping[str, Any]) -> Iterator[KeyFault]:
    """Stages that would be cut into more jobs than can be planned."""
    sample = _get(config, "questions", "sample", default=Questions().sample)
    for stage, questions in (("steps", sample), ("sweep", max(BENCHMARK_SIZES.values()))):
        shards, each = _get(config, stage, "shards"), _get(config, stage, "questions_per_job")
        if not isinstance(questions, int):
            continue
        if isinstance(each, int) and 0 < each * MOST_JOBS < questions:
            yield (
                (stage, "questions_per_job"),
                f"{shown(questions)} questions make more than {MOST_JOBS:,} jobs at {each} a job; give each more",
            )
        elif each is None and isinstance(shards, int) and shards > min(questions, MOST_JOBS):
            yield (
                (stage, "shards"),
                f"expected at most {min(questions, MOST_JOBS):,}, a question a job, got {shown(shards)}",
            )


def _results(config: Mapping[str, Any]) -> Iterator[KeyFault]:
    """Results need a folder that is there, or can be made."""
    results = _get(config, "results", default="results")
    if not isinstance(results, str):
        return
    nearest = next((at for at in (Path(results), *Path(results).parents) if _mode(str(at))), Path())
    usable = stat.S_ISDIR(_mode(str(nearest))) and os.access(nearest, os.W_OK)
    too_long = any(len(part.encode(errors="replace")) > 255 for part in Path(results).parts)
    if not results.strip() or not usable or too_long:
        yield ("results",), f"expected a folder, or a place where one can be made, got {shown(results)}"


def _mode(path: str) -> int:
    """What is at `path` (`stat.S_ISDIR` and the like read it); 0 where nothing is, or nothing can be."""
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):
        return 0


def _devices(config: Mapping[str, Any]) -> Iterator[KeyFault]:
    """Where models run: torch devices, and URLs of servers."""
    owners: list[tuple[str, ...]] = [("prm",), ("router",), ("zoo",)]
    owners += [("models", name) for name in _entries(config, "models")]
    for owner in owners:
        device = _get(config, *owner, "device")
        if isinstance(device, str) and not DEVICE.fullmatch(device):
            yield (*owner, "device"), f"expected a torch device (cpu, cuda, cuda:1), got {shown(device)}"
        url = _get(config, *owner, "server", "url")
        if isinstance(url, str) and not URL.fullmatch(url):
            yield (*owner, "server", "url"), f"expected a base URL (http://host:port/v1), got {shown(url)}"


def _checkpoints(config: Mapping[str, Any], check_paths: bool) -> Iterator[KeyFault]:
    """Models on disk must be there; hub models must be pinned."""
    owners = [
        (("prm",), "path"),
        (("router",), "init"),
        *((("models", name), "path") for name in _entries(config, "models")),
    ]
    for owner, name in owners:
        value = _get(config, *owner, name)
        if not isinstance(value, str) or stat.S_ISDIR(_mode(value)):
            continue
        revision = (*owner, "revision")
        if HUB_ID.fullmatch(value) and not _mode(value):
            if not isinstance(_get(config, *revision), str) and check_paths:
                yield (
                    revision,
                    f"{shown(value)}, the {name}, is no directory here; as a hub id it needs a commit, got none",
                )
        elif check_paths:
            yield (
                (*owner, name),
                f"expected a directory, or a hub id (owner/name); {shown(value)} is neither",
            )


def _router_start(config: Mapping[str, Any]) -> Iterator[KeyFault]:
    """Routers start from the PRM only where it is a classifier that reads what they read."""
    kind = _get(config, "prm", "kind")
    if kind in ("marks", "token", "judge") and _get(config, "router", "init") is None:
        yield (
            ("router", "init"),
            f"expected a checkpoint for routers to start from, as a PRM of kind {kind} is none; got none",
        )


def _data(config: Mapping[str, Any], check_paths: bool) -> Iterator[KeyFault]:
    """Question files on disk must be there; hub data sets must be pinned; the lab generates its own."""
    owners: list[tuple[str, ...]] = [("questions",), *(("benchmarks", name) for name in _entries(config, "benchmarks"))]
    for owner in owners:
        source = _get(config, *owner, "source", default="lab")
        path = _get(config, *owner, "path")
        if source in LAB_SOURCES:
            if path is not None:
                yield (*owner, "path"), f"expected none, as {source} generates its questions, got {shown(path)}"
        elif path is None and source in HUB_SOURCES:
            if not isinstance(_get(config, *owner, "revision"), str):
                yield (
                    (*owner, "revision"),
                    f"expected the commit of the hub data set of {source}, or a local `path`, got none",
                )
        elif isinstance(path, str) and check_paths and not stat.S_ISREG(_mode(path)):
            yield (*owner, "path"), f"expected a JSONL or Parquet file, got {shown(path)}, which is not there"
