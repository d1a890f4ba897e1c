"""What each stage reads of a study: the keys whose change makes its result stale, the checkpoints and data it loads.

Rules turn the keys into `params` and local sources into inputs (rules/common.smk), so that a change reruns the stages
that read it; commands note both in the provenance record, so that `arbitrage verify` can tell what is out of date.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from arbitrage.config.revisions import hub_entries
from arbitrage.config.study import Study
from arbitrage.runtime.outputs import CURVES, LATENCY_CURVES, ROUTER_DETAILS, TABLES
from arbitrage.runtime.paths import StudyPaths
from arbitrage.runtime.placement import STAGES
from arbitrage.runtime.provenance import files_of

PAIR = ("study", "seed", "threads", "generation", "prm", "models.{draft}", "models.{target}")
SCORING = ("router.engine", "router.vllm", "router.device", "router.dtype")
ZOO = ("zoo.seed", "zoo.device", "zoo.threads")

READS: dict[str, tuple[str, ...]] = {
    "fetch": (),  # each repository at each commit has a note of its own
    "evaluation_questions": ("study", "seed", "benchmarks.{benchmark}"),
    "questions": ("study", "seed", "questions", "whole_benchmarks"),
    "quantise": ("models.{model}.quantise", "models.{origin}.path", "models.{origin}.revision", "seed"),
    "zoo_tokenizer": ("zoo.tokenizer_questions", "zoo.seed"),
    "zoo_model": ("zoo.{role}", "zoo.marked_share", *ZOO),
    "zoo_target": ("zoo.target", *ZOO),
    "zoo_solutions": ("zoo.solutions", *ZOO),
    "zoo_judge": ("zoo.{role}", *ZOO),
    "zoo_metrics": (
        *("zoo.evaluation_questions", "zoo.low_bits", "zoo.low_bit_group_size", "zoo.device", "zoo.threads"),
    ),
    "convert_prm": ("prm.path", "prm.revision", "prm.kind"),
    "label": (*PAIR, "scheduler", "steps", "target_reads_labelled"),
    "steps": (),
    "lookahead": (*PAIR, "scheduler", "steps", "sweep.chunk"),
    "states": ("study", "threads", "generation", "steps", "models.{draft}"),
    "dataset": (
        *("seed", "dataset", "router.variants.{variant}", "router.init", "router.revision"),
        *("prm", "generation.separator"),
    ),
    "router": (
        *("seed", "threads", "router.variants.{variant}", "router.training", "router.init", "router.revision"),
        *("router.device", "prm", "generation.separator"),
    ),
    "heldout": ("study", "threads", "router.device", "router.dtype"),
    "quantiles": ("sweep.policies", "sweep.quantiles"),
    "router_quality": ("seed", "curves"),
    "router_details": ("seed", "curves", "router.variants"),
    "sweep": (*PAIR, "scheduler", "sweep", *SCORING, "router.batch_size"),
    "trajectories": (),
    "latency": (
        *(*PAIR, "latency.questions", "latency.acceptances", "latency.warmup", "latency.speculative_tokens"),
        *("latency.speculative_policies", *SCORING),
    ),
    "cost_model": ("seed", "latency.heldout"),
    "curves": ("seed", "curves", "sweep.thresholds"),
    "accuracy_latency": ("seed", "curves", "sweep.thresholds"),
    "figure": ("study", "seed", "figures", "curves.confidence", "sweep.thresholds"),
    "table": ("curves.confidence", "router", "dataset", "sweep.policies"),
    "report": ("study", "seed", "curves", "router.seeds"),
    "page": ("study", "curves.confidence", "figures"),
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
    if stage == "evaluation_questions":
        benchmark = study.benchmarks[names["benchmark"]]
        return _optional(benchmark.path or benchmark.hub)
    if stage == "questions":
        read = (study.questions, *study.benchmarks.values())
        return [path for source in read for path in _optional(source.path or source.hub)]
    if stage in ("dataset", "router"):
        return [study.router_init[0]]
    if stage == "states":
        return [study.model_path(study.pairs[names["pair"]].draft)]
    if stage == "convert_prm":
        return [study.prm.path]
    if stage == "quantise":
        recipe = study.models[names["model"]].quantise
        return [study.model_path(recipe.model)] if recipe else []
    if stage in STAGES:
        pair = study.pairs[names["pair"]]
        return [study.model_path(pair.draft), study.model_path(pair.target), study.prm_path]
    return []


def results_read(study: Study, stage: str, name: str = "") -> list[Path]:
    """The study's results that a job of `stage` finds by itself: those of a figure, a table or a detail of the routers
    (`name`), the report.

    Stages of which a rule says what they read are not among them.
    """
    paths, timed = StudyPaths.of(study), study.timed_pairs
    if stage == "accuracy_latency":
        swept = [paths.trajectories(pair, benchmark) for pair in timed for benchmark in study.benchmarks]
        return [*swept, *map(paths.latency, timed)]
    if stage == "router_details":
        trained = [(pair, variant) for pair in study.pairs for variant in study.variants_of(pair)]
        datasets = [paths.dataset(*each) for each in trained]
        heldout = [paths.heldout(*each) for each in trained]
        return {
            "shares": datasets,
            "lengths": [*map(paths.steps, study.pairs)],
            "calibration": [*heldout, *datasets],
            "families": [*heldout, paths.labelling_questions],
            "mistakes": [*heldout, paths.labelling_questions],
        }[name]
    if stage == "figure":
        pair, benchmark = next(iter(study.pairs)), next(iter(study.benchmarks))
        return {
            "fig3": [paths.curves("outcomes")],
            "fig4": [paths.curves("accuracy_acceptance")],
            "fig5": [paths.curves("accuracy_latency"), paths.curves("speedup")],
            "fig6": [paths.trajectories(pair, benchmark), paths.questions(benchmark)],
            "figA1": [paths.curves("outcomes")],
            "figE1": [paths.curves("accuracy_acceptance")],
            "routers": [
                *(paths.curves("comparison"), paths.curves("accuracy_latency"), paths.router_quality),
                *map(paths.latency, timed),
                *_deciding(study),
            ],
        }[name]
    if stage == "table":
        return {
            "routers": [
                *(paths.router_quality, paths.curves("comparison"), *map(paths.latency, timed), *_deciding(study))
            ],
            "latencies": [paths.curves("accuracy_latency")],
        }.get(name, [paths.router_quality])
    if stage == "report":
        kinds = (*CURVES, *LATENCY_CURVES)
        return [*map(paths.curves, kinds), *map(paths.cost_model, timed), paths.router_quality, paths.sampling_report]
    if stage == "page":
        swept = [paths.trajectories(pair, benchmark) for pair in study.pairs for benchmark in study.benchmarks]
        curves = map(paths.curves, (*CURVES, *LATENCY_CURVES))
        tables = [paths.table(name, "md") for name in TABLES]
        beside = [*map(paths.questions, study.benchmarks), *map(paths.latency, timed), paths.router_quality]
        routers = [*map(paths.router_detail, ROUTER_DETAILS), *map(paths.steps, study.pairs)]
        return [*swept, *beside, *routers, *curves, *tables, paths.summary]
    return []


def _deciding(study: Study) -> list[Path]:
    """The first training of each router that decides on a timed pair."""
    paths = StudyPaths.of(study)
    return [paths.router(pair, variant) for pair in study.timed_pairs for variant in study.routing_variants]


def source_files(study: Study, stage: str, **names: str) -> list[str]:
    """The local files of `sources_read`, but not models that its rules make; and notes that the others are here.

    Of a checkpoint's directory they are the files that count (`provenance.files_of`); of a repository it is the note
    that the rule `fetch` writes.
    """
    sources = sources_read(study, stage, **names)
    made = StudyPaths.of(study).model("")
    external = [source for source in sources if not Path(source).is_relative_to(made)]
    notes = {str(StudyPaths.of(study).fetched(each.file_name)) for each in hub_entries(study) if each.name in sources}
    return [*(file for source in external for file in _files(source)), *sorted(notes)]


@cache
def _files(source: str) -> list[str]:
    """Looked for once a process: all shards of a stage, thousands at times, read the same checkpoints."""
    path = Path(source)
    if not path.exists():
        return []
    return [str(file) for file in (files_of(path) if path.is_dir() else [path])]


def _optional(path: str | None) -> list[str]:
    return [path] if path else []
