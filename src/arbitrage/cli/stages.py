"""Commands of the stages from questions to latency, those that need models among them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli.common import (
    Out,
    PairName,
    QuestionsPath,
    RouterPath,
    Shard,
    StudyPath,
    Training,
    VariantName,
    load,
    stage,
)
from arbitrage.config import devices
from arbitrage.config.policies import needing

app = typer.Typer()

Shards = Annotated[list[Path], typer.Argument(help="The shards, in order")]


def register_lab() -> None:
    """Make the lab's questions known as sources; only the command line knows the lab."""
    from arbitrage.lab.register import register_sources

    register_sources()


@app.command()
def evaluation_questions(
    study: StudyPath, name: Annotated[str, typer.Option(help="A key of `benchmarks`")], out: Out
) -> None:
    """Write the questions of a benchmark."""
    from arbitrage.io.tables import write_table
    from arbitrage.questions.sampling import benchmark_questions

    with stage("evaluation_questions", study, [], [out], benchmark=name) as run:
        register_lab()
        write_table(
            out, "questions", benchmark_questions(run.study.study, name, run.study.benchmarks[name], run.study.seed)
        )


@app.command()
def questions(
    study: StudyPath,
    out: Out,
    report: Annotated[Path, typer.Option(help="JSON: duplicates, overlaps and strata")],
) -> None:
    """Sample the labelling questions: de-duplicated, without any of the benchmarks', stratified by source."""
    from arbitrage.io.tables import write_table
    from arbitrage.questions.sampling import kept_out, sample_questions
    from arbitrage.runtime.provenance import write_json

    with stage("questions", study, [], [out, report]) as run:
        register_lab()
        rows, counts = sample_questions(run.study.study, run.study.questions, run.study.seed, kept_out(run.study))
        write_json(report, counts)
        write_table(out, "questions", rows)


@app.command()
def label(study: StudyPath, pair: PairName, shard: Shard, questions: QuestionsPath, out: Out) -> None:
    """Label one shard: draft and target continue each context, the PRM scores both."""
    with stage("label", study, [questions], [out], models=True, shard=shard, pair=pair) as run:
        from arbitrage.stages.label import label

        run.models, report = label(run.study, pair, shard, questions, out)
        run.extra |= report


@app.command()
def steps(study: StudyPath, shards: Shards, out: Out) -> None:
    """Join the shards of a pair's labelled steps."""
    from arbitrage.io.merge import merge_tables

    with stage("steps", study, shards, [out]):
        merge_tables(shards, "steps", out)


@app.command()
def dataset(
    study: StudyPath,
    variant: VariantName,
    steps: Annotated[Path, typer.Option(help="The pair's `steps` table")],
    out: Out,
) -> None:
    """Build a router's training and validation data: annotated, split by question, balanced."""
    with stage("dataset", study, [steps], [out], variant=variant) as run:
        from arbitrage.engines.factory import router_start
        from arbitrage.routing.dataset import build_dataset

        build_dataset(
            steps,
            run.study.router.variants[variant],
            run.study.dataset,
            router_start(run.study).tokenizer(),
            run.study.generation.separator,
            run.study.seed,
            out,
        )


@app.command()
def router(
    study: StudyPath,
    dataset: Annotated[Path, typer.Option(help="From `arbitrage dataset`")],
    out: Out,
    variant: VariantName = "default",
    seed: Training = 0,
) -> None:
    """Fine-tune a router from its starting checkpoint; goes on where a killed training stopped."""
    with stage("router", study, [dataset], [out], models=True, variant=variant) as run:
        from arbitrage.engines.factory import router_start
        from arbitrage.routing.train import train_router

        settings = run.study.router
        report = train_router(
            dataset,
            router_start(run.study),
            settings.training,
            seed=run.study.seed + seed,
            device=devices.alone(settings.device),
            out_dir=out,
        )
        run.extra["work"] = {"router": {"seconds": report["seconds"], "calls": report["updates"]}}


@app.command()
def heldout(
    study: StudyPath,
    variant: VariantName,
    router: RouterPath,
    dataset: Annotated[Path, typer.Option(help="From `arbitrage dataset`")],
    out: Out,
    seed: Training = 0,
) -> None:
    """Score the held-out steps with a trained router."""
    with stage("heldout", study, [router, dataset], [out], models=True, variant=variant) as run:
        from arbitrage.engines.checkpoints import resolve
        from arbitrage.engines.scoring.scorers import RouterScorer
        from arbitrage.io.tables import write_table
        from arbitrage.routing.heldout import heldout_rows

        settings = run.study.router
        here = settings.model_copy(update={"device": devices.alone(settings.device)})
        scorer = RouterScorer(resolve(router, key="router"), here)
        begin = time.perf_counter()
        rows = heldout_rows(dataset, scorer, variant, seed)
        run.extra["work"] = {"router": {"seconds": round(time.perf_counter() - begin, 2), "scored": len(rows)}}
        write_table(out, "heldout", rows)


@app.command()
def quantiles(
    study: StudyPath,
    pair: PairName,
    steps: Annotated[Path, typer.Option(help="The pair's `steps` table")],
    out: Out,
    heldout: Annotated[
        list[Path] | None, typer.Argument(help="`heldout` tables of the default router, one a training")
    ] = None,
) -> None:
    """Thresholds to sweep: at quantiles of each policy's own scores on the labelling questions."""
    from arbitrage.evaluation.quantiles import write_quantiles

    tables = heldout or []
    with stage("quantiles", study, [steps, *tables], [out], pair=pair) as run:
        write_quantiles(steps, tables, run.study.sweep.policies, run.study.sweep.quantiles, out)


@app.command()
def sweep(
    study: StudyPath,
    pair: PairName,
    benchmark: Annotated[str, typer.Option(help="A key of `benchmarks`")],
    shard: Shard,
    questions: QuestionsPath,
    out: Out,
    router: Annotated[
        list[Path] | None,
        typer.Option(help="Directory of a trained router, if that policy is swept; again for each further training"),
    ] = None,
    thresholds: Annotated[
        Path | None, typer.Option(help="From `arbitrage quantiles`, where sweep.thresholds is `quantiles`")
    ] = None,
) -> None:
    """Sweep all policies over one shard of a benchmark, and grade the answers."""
    settings, routers = load(study).sweep, router or []
    if thresholds is None and settings.thresholds == "quantiles":
        message = "missing, but sweep.thresholds is `quantiles`; give the file that `arbitrage quantiles` writes"
        raise typer.BadParameter(message, param_hint="--thresholds")
    routed = needing("router").intersection(settings.policies)
    if not routers and routed:
        message = f"missing, but sweep.policies has {', '.join(sorted(routed))}; give the directory of a trained one"
        raise typer.BadParameter(message, param_hint="--router")
    inputs = [questions, *routers, *([thresholds] if thresholds else [])]
    with stage("sweep", study, inputs, [out], models=True, shard=shard, pair=pair, benchmark=benchmark) as run:
        from arbitrage.stages.sweep import sweep

        run.models, report = sweep(run.study, pair, benchmark, shard, questions, routers, thresholds, out)
        run.extra |= report


@app.command()
def trajectories(study: StudyPath, shards: Shards, out: Out) -> None:
    """Join the shards of a pair's trajectories on a benchmark."""
    from arbitrage.io.merge import merge_tables

    with stage("trajectories", study, shards, [out]):
        merge_tables(shards, "trajectories", out)


@app.command()
def latency(
    study: StudyPath,
    pair: PairName,
    router: RouterPath,
    out: Out,
) -> None:
    """Time the live decoder at batch 1: draft only, target only, RSD and router at several thresholds."""
    with stage("latency", study, [router], [out], models=True, pair=pair) as run:
        from arbitrage.stages.latency import measure_latency

        read, report = measure_latency(run.study, pair, router, out)
        run.inputs += read
        run.extra |= report
