"""What a finished study consists of: every result, with its path in the study's folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from arbitrage.config.study import Study
from arbitrage.runtime.paths import StudyPaths

FigureName = Literal["fig3", "fig4", "fig5", "fig6", "figA1", "figE1", "routers"]
TableName = Literal["table1", "table2", "table3", "tableC1", "routers", "latencies"]
RouterDetail = Literal["shares", "lengths", "calibration", "families", "mistakes"]
CurveKind = Literal["accuracy_acceptance", "outcomes", "comparison"]  # those of trajectories alone

FIGURES: tuple[FigureName, ...] = get_args(FigureName)
TABLES: tuple[TableName, ...] = get_args(TableName)
CURVES: tuple[CurveKind, ...] = get_args(CurveKind)
ROUTER_DETAILS: tuple[RouterDetail, ...] = get_args(RouterDetail)
LATENCY_CURVES = ("accuracy_latency", "speedup")


@dataclass(frozen=True)
class Result:
    """path: of a file or directory, in the study's folder; table: its schema, where it is a Parquet table;
    published: whether `arbitrage export` packs it."""

    path: str
    table: str | None = None
    published: bool = True


def results(study: Study) -> list[Result]:
    """Everything the pipeline leaves of `study`, in the order in which it is written."""
    return [Result(path.as_posix(), table, published) for path, table, published in _results(study, StudyPaths(Path()))]


def _results(study: Study, paths: StudyPaths) -> Iterator[tuple[Path, str | None, bool]]:
    for benchmark in study.benchmarks:
        yield paths.questions(benchmark), "questions", True
    yield paths.labelling_questions, "questions", True
    yield paths.sampling_report, None, True
    for name in quantised_models(study, *study.pairs):
        yield paths.model(name), None, False
    if study.prm.kind == "value-head":
        yield paths.model("_prm"), None, False
    for pair in study.pairs:
        yield from _results_of(study, pair, paths)
    yield paths.router_quality, None, True
    for detail in ROUTER_DETAILS:
        yield paths.router_detail(detail), None, True
    for kind in (*CURVES, *LATENCY_CURVES):
        yield paths.curves(kind), None, True
    for figure in FIGURES:
        yield paths.figure(figure, "pdf"), None, True
        yield paths.figure(figure, "png"), None, True
    for table in TABLES:
        yield paths.table(table, "csv"), None, True
        yield paths.table(table, "md"), None, True
    yield paths.summary, None, True
    yield paths.page, None, False  # it names where things are on this machine


def _results_of(study: Study, pair: str, paths: StudyPaths) -> Iterator[tuple[Path, str | None, bool]]:
    for shard in range(study.steps_shards):
        yield paths.label(pair, shard), "steps", False
    yield paths.steps(pair), "steps", True
    if study.looks_ahead(pair):
        for shard in range(study.steps_shards):
            yield paths.lookahead(pair, shard), "lookahead", True
    if study.reads_states(pair):
        for shard in range(study.steps_shards):
            yield paths.states(pair, shard), "states", False  # large, and made anew from the steps
    for variant in study.variants_of(pair):
        yield paths.dataset(pair, variant), None, variant == "default"
        for seed in range(study.router.seeds):
            yield paths.router(pair, variant, seed), None, variant in ("default", *study.routing_variants)
        yield paths.heldout(pair, variant), "heldout", True
    if study.sweep.thresholds == "quantiles":
        yield paths.quantiles(pair), None, True
    for benchmark in study.benchmarks:
        for shard in range(study.sweep_shards(benchmark)):
            yield paths.sweep(pair, benchmark, shard), "trajectories", False
        yield paths.trajectories(pair, benchmark), "trajectories", True
    if study.pairs[pair].latency:
        yield paths.latency(pair), "latency", True
        yield paths.cost_model(pair), None, True


def quantised_models(study: Study, *pairs: str) -> list[str]:
    """Names of the models of `pairs` that the study makes from others."""
    names = {name for pair in pairs for name in (study.pairs[pair].draft, study.pairs[pair].target)}
    return sorted(name for name in names if study.models[name].quantise)
