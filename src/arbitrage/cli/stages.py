"""Commands of the stages from questions to latency; those of routers are in `cli.routers`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli.common import (
    Out,
    PairName,
    QuestionsPath,
    RouterPaths,
    Shard,
    StudyPath,
    load,
    refuse_missing_routers,
    stage,
)
from arbitrage.config.policies import TIMED_POLICIES

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
def lookahead(
    study: StudyPath,
    pair: PairName,
    shard: Shard,
    questions: QuestionsPath,
    steps: Annotated[Path, typer.Option(help="The shard's `steps` table")],
    out: Out,
) -> None:
    """Look ahead from one shard of labelled steps: do accepting and escalating end in right answers?"""
    with stage("lookahead", study, [questions, steps], [out], models=True, shard=shard, pair=pair) as run:
        from arbitrage.stages.lookahead import lookahead

        run.models, report = lookahead(run.study, pair, shard, questions, steps, out)
        run.extra |= report


@app.command()
def states(
    study: StudyPath,
    pair: PairName,
    shard: Shard,
    steps: Annotated[Path, typer.Option(help="The shard's `steps` table")],
    out: Out,
) -> None:
    """Have the draft read one shard of its labelled steps, for the hidden states after them."""
    with stage("states", study, [steps], [out], models=True, shard=shard, pair=pair) as run:
        from arbitrage.stages.states import states

        run.models, report = states(run.study, pair, shard, steps, out)
        run.extra |= report


@app.command()
def sweep(
    study: StudyPath,
    pair: PairName,
    benchmark: Annotated[str, typer.Option(help="A key of `benchmarks`")],
    shard: Shard,
    questions: QuestionsPath,
    out: Out,
    router: RouterPaths = None,
    thresholds: Annotated[
        Path | None, typer.Option(help="From `arbitrage quantiles`, where sweep.thresholds is `quantiles`")
    ] = None,
) -> None:
    """Sweep all policies over one shard of a benchmark, and grade the answers."""
    loaded, routers = load(study), router or []
    settings = loaded.sweep
    if thresholds is None and settings.thresholds == "quantiles":
        message = "missing, but sweep.thresholds is `quantiles`; give the file that `arbitrage quantiles` writes"
        raise typer.BadParameter(message, param_hint="--thresholds")
    refuse_missing_routers(settings.policies, routers)
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
    out: Out,
    router: RouterPaths = None,
) -> None:
    """Time the live decoder at batch 1: draft only, target only, RSD and routers at several thresholds."""
    routers = router or []
    refuse_missing_routers([policy for policy in load(study).sweep.policies if policy in TIMED_POLICIES], routers)
    with stage("latency", study, routers, [out], models=True, pair=pair) as run:
        from arbitrage.stages.latency import measure_latency

        read, report = measure_latency(run.study, pair, routers, out)
        run.inputs += read
        run.extra |= report
