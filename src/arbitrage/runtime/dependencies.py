"""What each stage reads of a study: the keys whose change makes its result stale, the checkpoints and data it loads.

Rules turn the keys into `params` and local sources into inputs (rules/common.smk), so that a change reruns the stages
that read it; commands note both in the provenance record, so that `arbitrage verify` can tell what is out of date.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from arbitrage.config.study import Study
from arbitrage.runtime.provenance import files_of

PAIR = ("study", "seed", "threads", "generation", "prm", "models.{draft}", "models.{target}")
QUANTISE = ("models.{model}.quantise", "models.{origin}.path", "models.{origin}.revision")
ZOO = ("zoo.seed", "zoo.device", "zoo.threads")

READS: dict[str, tuple[str, ...]] = {
    "check": (),  # it looks at all, once: a job that waits for one about to run is not looked at by Snakemake itself
    "benchmark": ("study", "seed", "benchmarks.{benchmark}"),
    "questions": ("study", "seed", "questions"),
    "quantise": QUANTISE,
    "quantise_gptq": (*QUANTISE, "seed"),
    "zoo_tokenizer": ("zoo.tokenizer_questions", "zoo.seed"),
    "zoo_model": ("zoo.{role}", "zoo.marked_share", *ZOO),
    "zoo_target": ("zoo.target", *ZOO),
    "zoo_solutions": ("zoo.solutions", *ZOO),
    "zoo_judge": ("zoo.{role}", *ZOO),
    "zoo": ("zoo.evaluation_questions", "zoo.low_bits", "zoo.low_bit_group_size", "zoo.threads"),
    "convert_prm": ("prm.path", "prm.revision", "prm.kind"),
    "steps": (*PAIR, "steps"),
    "dataset": (
        *("seed", "dataset", "router.variants.{variant}", "router.init", "router.revision"),
        *("prm", "generation.separator"),
    ),
    "router": (
        *("seed", "threads", "router.variants.{variant}", "router.training", "router.init", "router.revision"),
        *("router.device", "prm", "generation.separator"),
    ),
    "heldout": ("study", "threads", "router.device", "router.dtype", "router.batch_size"),
    "router_quality": ("seed", "curves"),
    "trajectories": (*PAIR, "sweep", "router.device", "router.dtype", "router.batch_size"),
    "merge": (),
    "latency": (
        *(*PAIR, "latency.questions", "latency.acceptances", "latency.warmup", "router.device", "router.dtype"),
    ),
    "cost_model": ("seed", "latency.heldout"),
    "curves": ("seed", "curves"),
    "accuracy_latency": ("seed", "curves"),
    "figure": ("study", "seed", "figures", "curves.confidence"),
    "table": ("curves.confidence", "router", "dataset"),
    "report": ("study", "seed", "curves"),
}


def keys_read(study: Study, stage: str, **names: str) -> tuple[str, ...]:
    """Dotted keys that a job of `stage` reads.

    names: which pair, benchmark, variant, model or role in the zoo the job is for, by those words; others are ignored.
    """
    if pair := names.get("pair"):
        names |= {"draft": study.pairs[pair].draft, "target": study.pairs[pair].target}
    if model := names.get("model"):
        recipe = study.models[model].quantise
        names["origin"] = recipe.model if recipe else model
    return tuple(key.format_map(names) for key in READS[stage])


def settings_read(study: Study, stage: str, **names: str) -> dict[str, Any]:
    """The values at `keys_read`."""
    return study.reads(*keys_read(study, stage, **names))


def sources_read(study: Study, stage: str, **names: str) -> list[str]:
    """Local paths or hub ids of the checkpoints and data files that a job of `stage` reads beside its input tables."""
    if stage == "benchmark":
        return _given(study.benchmarks[names["benchmark"]].path)
    if stage == "questions":
        return _given(study.questions.path)
    if stage in ("dataset", "router"):
        return [study.router_init[0]]
    if stage == "convert_prm":
        return [study.prm.path]
    if stage in ("quantise", "quantise_gptq"):
        recipe = study.models[names["model"]].quantise
        return [study.model_path(recipe.model)] if recipe else []
    if stage in ("steps", "trajectories", "latency"):
        pair = study.pairs[names["pair"]]
        return [study.model_path(pair.draft), study.model_path(pair.target), study.prm_path]
    return []


def source_files(study: Study, stage: str, **names: str) -> list[str]:
    """The local files of `sources_read`, but not those that the study itself makes; a hub id has none.

    Of a checkpoint's directory they are the files that count (`provenance.files_of`).
    """
    given = [source for source in sources_read(study, stage, **names) if not Path(source).is_relative_to(study.folder)]
    return [file for source in given for file in _files(source)]


@cache
def _files(source: str) -> list[str]:
    """Looked for once a process: all shards of a stage, thousands at times, read the same checkpoints."""
    path = Path(source)
    if not path.exists():
        return []
    return [str(file) for file in (files_of(path) if path.is_dir() else [path])]


def _given(path: str | None) -> list[str]:
    return [path] if path else []
