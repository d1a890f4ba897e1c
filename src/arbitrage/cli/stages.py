"""Commands of the stages from questions to latency, those that need models among them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from arbitrage.cli.common import Out, PairName, QuestionsPath, RouterPath, Shard, StudyPath, VariantName, load, stage
from arbitrage.config import devices

app = typer.Typer()


def register_lab() -> None:
    """Make the lab's questions known as sources; only the command line knows the lab."""
    from arbitrage.lab.register import register_sources

    register_sources()


@app.command()
def benchmark(study: StudyPath, name: Annotated[str, typer.Option(help="A key of `benchmarks`")], out: Out) -> None:
    """Write the questions of a benchmark."""
    from arbitrage.io.tables import write_table
    from arbitrage.questions.sampling import benchmark_questions

    with stage("benchmark", study, [], [out], benchmark=name) as run:
        register_lab()
        write_table(
            out, "questions", benchmark_questions(run.study.study, name, run.study.benchmarks[name], run.study.seed)
        )


@app.command()
def questions(
    study: StudyPath,
    benchmarks: Annotated[list[Path], typer.Argument(help="Question tables that must not be sampled from")],
    out: Out,
    report: Annotated[Path, typer.Option(help="JSON: duplicates, overlaps and strata")],
) -> None:
    """Sample the labelling questions: de-duplicated, without the benchmarks', stratified by source."""
    from arbitrage.io.tables import read_table, write_table
    from arbitrage.questions.sampling import sample_questions
    from arbitrage.runtime.provenance import write_json

    with stage("questions", study, benchmarks, [out, report]) as run:
        register_lab()
        barred = [row for path in benchmarks for row in read_table(path, "questions")]
        rows, counts = sample_questions(run.study.study, run.study.questions, run.study.seed, barred)
        write_json(report, counts)
        write_table(out, "questions", rows)


@app.command()
def steps(study: StudyPath, pair: PairName, shard: Shard, questions: QuestionsPath, out: Out) -> None:
    """Label one shard: draft and target continue each context, the PRM scores both."""
    with stage("steps", study, [questions], [out], "steps", shard, pair=pair) as run:
        from arbitrage.stages.generate import label_steps

        run.models, run.extra["work"] = label_steps(run.study, pair, shard, questions, out)


@app.command()
def merge(
    study: StudyPath,
    shards: Annotated[list[Path], typer.Argument(help="The shards, in order")],
    table: Annotated[Literal["steps", "trajectories"], typer.Option(help="Which table they are")],
    out: Out,
) -> None:
    """Join the shards of a table."""
    from arbitrage.io.merge import merge_tables

    with stage("merge", study, shards, [out]):
        merge_tables(shards, table, out)


@app.command()
def dataset(
    study: StudyPath,
    variant: VariantName,
    steps: Annotated[Path, typer.Option(help="The pair's `steps` table")],
    out: Out,
) -> None:
    """Build a router's training and validation data: annotated, split by question, balanced."""
    with stage("dataset", study, [steps], [out], variant=variant) as run:
        from arbitrage.engines.checkpoints import load_tokenizer
        from arbitrage.routing.dataset import build_dataset

        path, revision = run.study.router_init
        build_dataset(
            steps,
            run.study.router.variants[variant],
            run.study.dataset,
            load_tokenizer(path, revision),
            run.study.generation.separator,
            run.study.seed,
            out,
        )


@app.command("train-router")
def train_router_command(
    study: StudyPath,
    dataset: Annotated[Path, typer.Option(help="From `arbitrage dataset`")],
    out: Out,
    variant: VariantName = "default",
) -> None:
    """Fine-tune a router from its starting checkpoint; goes on where a killed training stopped."""
    with stage("router", study, [dataset], [out], "router", variant=variant) as run:
        from arbitrage.routing.train import train_router

        init, revision = run.study.router_init
        settings = run.study.router
        told = train_router(
            dataset,
            init,
            revision,
            settings.training,
            seed=run.study.seed,
            device=devices.alone(settings.device),
            threads=run.study.threads,
            out_dir=out,
        )
        run.extra["work"] = {"router": {"seconds": told["seconds"], "calls": told["updates"]}}


@app.command()
def heldout(
    study: StudyPath,
    variant: VariantName,
    router: RouterPath,
    dataset: Annotated[Path, typer.Option(help="From `arbitrage dataset`")],
    out: Out,
) -> None:
    """Score the held-out steps with a trained router."""
    with stage("heldout", study, [router, dataset], [out], "router", variant=variant) as run:
        from arbitrage.engines.scoring.scorers import RouterScorer
        from arbitrage.io.tables import write_table
        from arbitrage.routing.heldout import heldout_rows

        settings = run.study.router
        here = settings.model_copy(update={"device": devices.alone(settings.device)})
        scorer = RouterScorer(str(router), here, run.study.threads)
        begin = time.perf_counter()
        rows = heldout_rows(dataset, scorer, variant)
        run.extra["work"] = {"router": {"seconds": round(time.perf_counter() - begin, 2), "scored": len(rows)}}
        write_table(out, "heldout", rows)


@app.command()
def trajectories(
    study: StudyPath,
    pair: PairName,
    benchmark: Annotated[str, typer.Option(help="A key of `benchmarks`")],
    shard: Shard,
    questions: QuestionsPath,
    out: Out,
    router: Annotated[Path | None, typer.Option(help="Directory of a trained router, if that policy is swept")] = None,
) -> None:
    """Sweep all policies over one shard of a benchmark, and grade the answers."""
    if router is None and "router" in load(study).sweep.policies:
        told = "missing, but sweep.policies has router; give the directory of a trained one"
        raise typer.BadParameter(told, param_hint="--router")
    inputs = [questions, *([router] if router else [])]
    with stage("trajectories", study, inputs, [out], "trajectories", shard, pair=pair, benchmark=benchmark) as run:
        from arbitrage.stages.generate import sweep_benchmark

        run.models, run.extra["work"] = sweep_benchmark(run.study, pair, benchmark, shard, questions, router, out)


@app.command()
def latency(
    study: StudyPath,
    pair: PairName,
    router: RouterPath,
    out: Out,
) -> None:
    """Time the live decoder at batch 1: draft only, target only, RSD and router at several thresholds."""
    with stage("latency", study, [router], [out], "latency", pair=pair) as run:
        from arbitrage.stages.latency import measure_latency

        read, told = measure_latency(run.study, pair, router, out)
        run.inputs += read
        run.extra |= told
