"""What a finished study consists of: every result, with its place in the study's folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from arbitrage.config.study import Study

FigureName = Literal["fig3", "fig4", "fig5", "fig6", "figA1", "figE1"]
TableName = Literal["table1", "table2", "table3", "tableC1"]
CurveKind = Literal["accuracy_acceptance", "outcomes", "comparison"]  # those of trajectories alone

FIGURES: tuple[FigureName, ...] = get_args(FigureName)
TABLES: tuple[TableName, ...] = get_args(TableName)
CURVES = (*get_args(CurveKind), "accuracy_latency", "speedup")


@dataclass(frozen=True)
class Result:
    """path: of a file or directory, in the study's folder; table: its schema, where it is a Parquet table;
    published: whether `arbitrage export` packs it."""

    path: str
    table: str | None = None
    published: bool = True


def results(study: Study) -> list[Result]:
    """Everything the pipeline leaves of `study`, in the order in which it is made."""
    found = [Result("check.json", published=False)]  # names places of this machine
    found += [Result(f"questions/{benchmark}.parquet", "questions") for benchmark in study.benchmarks]
    found += [Result("questions/labelling.parquet", "questions"), Result("questions/labelling.json")]
    found += [Result(f"models/{name}", published=False) for name in _made_models(study)]
    for pair in study.pairs:
        found += _results_of(study, pair)
    found.append(Result("router/quality.csv"))
    found += [Result(f"curves/{name}.csv") for name in CURVES]
    found += [Result(f"figures/{name}.{kind}") for name in FIGURES for kind in ("pdf", "png")]
    found += [Result(f"tables/{name}.{kind}") for name in TABLES for kind in ("csv", "md")]
    return [*found, Result("summary.md")]


def shards(study: Study, table: str) -> list[str]:
    """Paths of the shards that the merged table at `table` (`steps/<pair>.parquet` ...) is joined from."""
    kind, *_, last = table.removesuffix(".parquet").split("/")
    count = study.steps_shards if kind == "steps" else study.sweep_shards(last)
    return [f"{table.removesuffix('.parquet')}/shard-{shard}.parquet" for shard in range(count)]


def _made_models(study: Study) -> list[str]:
    names = {name for pair in study.pairs.values() for name in (pair.draft, pair.target)}
    made = sorted(name for name in names if study.models[name].quantise)
    return made + (["_prm"] if study.prm.kind == "value-head" else [])


def _results_of(study: Study, pair: str) -> list[Result]:
    found = _merged(study, f"steps/{pair}.parquet", "steps")
    for variant in study.variants_of(pair):
        router = f"router/{pair}/{variant}"
        found += [
            Result(f"{router}/dataset", published=False),
            Result(f"{router}/model", published=variant == "default"),
            Result(f"{router}/heldout.parquet", "heldout"),
        ]
    for benchmark in study.benchmarks:
        found += _merged(study, f"trajectories/{pair}/{benchmark}.parquet", "trajectories")
    if study.pairs[pair].latency:
        found += [Result(f"latency/{pair}.parquet", "latency"), Result(f"latency/{pair}.cost.json")]
    return found


def _merged(study: Study, path: str, table: str) -> list[Result]:
    return [*(Result(shard, table, published=False) for shard in shards(study, path)), Result(path, table)]
