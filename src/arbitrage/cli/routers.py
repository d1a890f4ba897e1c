"""Commands of a router: its data set, its training, its scores of held-out steps, the thresholds that these give."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from arbitrage.cli.common import Out, PairName, StudyPath, Training, VariantName, stage
from arbitrage.config import devices
from arbitrage.runtime import resources

app = typer.Typer()


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

    Fine-tuning goes on where a killed training stopped, and takes a process for each GPU that the job asks for.
    """
    with stage("router", study, [dataset], [out], models=True, variant=variant) as run:
        settings, begin = run.study.router, run.study.seed + seed
        if settings.variants[variant].kind == "classifier":
            from arbitrage.engines.factory import router_start
            from arbitrage.routing.train import train_router
            from arbitrage.runtime.gpu_memory import training
            from arbitrage.runtime.memory import shape

            device, start = devices.alone(settings.device), router_start(run.study)
            cards = resources.gpus(run.study, "router", None, variant)
            report = train_router(
                dataset,
                start,
                settings.training,
                seed=begin,
                device=device,
                out_dir=out,
                processes=max(1, cards),
                sharded=cards > 1 and device != "cpu" and training(run.study, shape(*run.study.router_init)).sharded,
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
