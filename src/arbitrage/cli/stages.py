"""Commands of the stages from questions to latency, those that need models among them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from arbitrage.cli.common import (
    Out,
    PairName,
    QuestionsPath,
    RouterPaths,
    Shard,
    StudyPath,
    Training,
    VariantName,
    load,
    refuse_missing_routers,
    stage,
)
from arbitrage.config import devices
from arbitrage.config.policies import TIMED_POLICIES
from arbitrage.runtime import resources

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
def dataset(
    study: StudyPath,
    variant: VariantName,
    steps: Annotated[Path, typer.Option(help="The pair's `steps` table")],
    out: Out,
    lookahead: Annotated[
        list[Path] | None, typer.Option(help="A `lookahead` table, where the variant's labels are such; all shards")
    ] = None,
    states: Annotated[
        list[Path] | None, typer.Option(help="A `states` table, where the variant reads states; all shards")
    ] = None,
) -> None:
    """Build a router's training and validation data: annotated, split by question, balanced."""
    looked, given = lookahead or [], states or []
    with stage("dataset", study, [steps, *looked, *given], [out], variant=variant) as run:
        from arbitrage.routing.dataset import build_dataset
        from arbitrage.routing.inputs import encoding

        settings = run.study.router.variants[variant]
        read = encoding(run.study, settings, steps, given)
        build_dataset(steps, settings, run.study.dataset, read, run.study.seed, out, looked)


@app.command()
def router(
    study: StudyPath,
    dataset: Annotated[Path, typer.Option(help="From `arbitrage dataset`")],
    out: Out,
    variant: VariantName = "default",
    seed: Training = 0,
) -> None:
    """Fine-tune a router from its starting checkpoint, or fit one that reads numbers.

    Fine-tuning goes on where a killed training stopped.
    """
    with stage("router", study, [dataset], [out], models=True, variant=variant) as run:
        settings, begin = run.study.router, run.study.seed + seed
        if settings.variants[variant].kind == "classifier":
            from arbitrage.engines.factory import router_start
            from arbitrage.routing.train import train_router
            from arbitrage.runtime.gpu_memory import training
            from arbitrage.runtime.memory import shape

            device, start = devices.alone(settings.device), router_start(run.study)
            cards = resources.gpus(run.study, "router", None, variant) if device != "cpu" else 1
            report = train_router(
                dataset,
                start,
                settings.training,
                seed=begin,
                device=device,
                out_dir=out,
                processes=max(1, cards),
                sharded=cards > 1 and training(run.study, shape(*run.study.router_init)).sharded,
            )
        else:
            from arbitrage.routing.scalars import fit_scalars

            report = fit_scalars(dataset, settings.variants[variant].network, begin, out)
        run.extra["work"] = {"router": {"seconds": report["seconds"], "calls": report["updates"]}}


@app.command()
def heldout(
    study: StudyPath,
    variant: VariantName,
    router: Annotated[
        list[Path],
        typer.Option(help="Directory of a trained router of the variant; again for each further training, in order"),
    ],
    dataset: Annotated[Path, typer.Option(help="From `arbitrage dataset`")],
    out: Out,
) -> None:
    """Score the held-out steps with every training of a router."""
    with stage("heldout", study, [*router, dataset], [out], models=True, variant=variant) as run:
        from arbitrage.engines.checkpoints import resolve
        from arbitrage.engines.scoring.scalar_router import ScalarRouter, kind_of
        from arbitrage.engines.scoring.scorers import RouterScorer
        from arbitrage.io.tables import write_table
        from arbitrage.routing.heldout import heldout_rows

        settings = run.study.router.model_copy(update={"device": devices.alone(run.study.router.device)})

        def scored(seed: int, directory: Path) -> tuple[list[dict[str, Any]], float]:
            """A training's rows, and seconds it took; the router is not kept."""
            text = kind_of(directory) == "classifier"  # read by torch, whatever the engine: a question's steps together
            scorer = RouterScorer(resolve(directory, key="router"), settings) if text else ScalarRouter(directory)
            begin = time.perf_counter()
            return heldout_rows(dataset, scorer, variant, seed), time.perf_counter() - begin

        trainings = [scored(seed, directory) for seed, directory in enumerate(router)]
        table = [row for rows, _ in trainings for row in rows]
        seconds = sum(seconds for _, seconds in trainings)
        run.extra["work"] = {"router": {"seconds": round(seconds, 2), "scored": len(table)}}
        write_table(out, "heldout", table)


@app.command()
def quantiles(
    study: StudyPath,
    pair: PairName,
    steps: Annotated[Path, typer.Option(help="The pair's `steps` table")],
    out: Out,
    heldout: Annotated[
        list[Path] | None, typer.Argument(help="`heldout` tables of the variants that route, one a variant")
    ] = None,
) -> None:
    """Thresholds to sweep: at quantiles of each policy's own scores on the labelling questions."""
    from arbitrage.evaluation.quantiles import write_quantiles

    tables = heldout or []
    with stage("quantiles", study, [steps, *tables], [out], pair=pair) as run:
        variants = {policy: run.study.variant_of(policy) for policy in run.study.sweep.policies}
        write_quantiles(steps, tables, variants, run.study.sweep.quantiles, out)


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
