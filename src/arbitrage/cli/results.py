"""Commands from trajectories to numbers, figures, tables and the summary; none of them imports torch."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import typer

from arbitrage.cli.common import Out, StudyPath, stage
from arbitrage.runtime.outputs import CurveKind, FigureName, RouterDetail, TableName
from arbitrage.runtime.paths import StudyPaths

app = typer.Typer()

Tables = Annotated[list[Path], typer.Argument(help="The study's `trajectories` tables")]


@app.command()
def cost_model(
    trajectories: Annotated[list[Path], typer.Argument(help="The pair's `trajectories` tables")],
    study: StudyPath,
    latency: Annotated[Path, typer.Option(help="The pair's `latency` table")],
    out: Out,
) -> None:
    """Fit seconds to token and call counts on part of the timed questions; report the error on the rest."""
    from arbitrage.evaluation.cost_model import write_cost_model

    with stage("cost_model", study, [latency, *trajectories], [out]) as run:
        write_cost_model(latency, trajectories, run.study.latency.heldout, run.study.seed, out)


@app.command()
def curves(
    trajectories: Tables,
    study: StudyPath,
    kind: Annotated[CurveKind, typer.Option(help="Which curves")],
    out: Out,
) -> None:
    """Curves over thresholds, with bootstrap intervals over questions."""
    from arbitrage.evaluation.accuracy_acceptance import write_accuracy_acceptance
    from arbitrage.evaluation.comparison import write_comparison
    from arbitrage.evaluation.deferrals import write_outcomes

    writers = {
        "accuracy_acceptance": write_accuracy_acceptance,
        "outcomes": write_outcomes,
        "comparison": write_comparison,
    }
    with stage("curves", study, trajectories, [out]) as run:
        writers[kind](trajectories, run.study.curves, run.study.seed, out, run.study.sweep.listed)


@app.command()
def accuracy_latency(
    study: StudyPath, out: Out, speedup: Annotated[Path, typer.Option(help="Where speedup.csv goes")]
) -> None:
    """Accuracy against latency, measured and modelled, and the speed-up at matched accuracy."""
    from arbitrage.evaluation.latency_curves import timed_panels, write_accuracy_latency
    from arbitrage.evaluation.speedup import write_speedup

    with stage("accuracy_latency", study, [], [out, speedup]) as run:
        settings, seed, pairs = run.study.curves, run.study.seed, run.study.timed_pairs
        paths = StudyPaths.of(run.study)
        trajectories = [paths.trajectories(pair, benchmark) for pair in pairs for benchmark in run.study.benchmarks]
        latency = [*map(paths.latency, pairs)]
        timed = list(timed_panels(trajectories, latency, settings, seed, run.study.sweep.listed))
        write_accuracy_latency(timed, settings, seed, out)
        write_speedup(timed, settings, seed, speedup)


@app.command()
def router_quality(
    heldout: Annotated[list[Path], typer.Argument(help="`heldout` tables")], study: StudyPath, out: Out
) -> None:
    """Spearman's rho and accuracies of every router variant, beside the rankings that need no training."""
    from arbitrage.evaluation.router_quality import write_quality

    with stage("router_quality", study, heldout, [out]) as run:
        write_quality(heldout, run.study.curves, run.study.seed, out)


@app.command()
def router_details(
    detail: Annotated[RouterDetail, typer.Argument(help="Which table")], study: StudyPath, out: Out
) -> None:
    """What the report shows of the routers' data, their calibration, families and mistakes: one table of it."""
    from arbitrage.evaluation.label_shares import write_label_shares
    from arbitrage.evaluation.rho_by_family import write_rho_by_family
    from arbitrage.evaluation.router_calibration import write_calibration
    from arbitrage.evaluation.router_mistakes import write_mistakes
    from arbitrage.evaluation.step_lengths import write_lengths

    writers = {
        "shares": write_label_shares,
        "lengths": write_lengths,
        "calibration": write_calibration,
        "families": write_rho_by_family,
        "mistakes": write_mistakes,
    }
    with stage("router_details", study, [], [out], detail=detail) as run:
        writers[detail](run.study, out)


@app.command()
def figure(
    name: Annotated[FigureName, typer.Argument(help="Which figure")],
    study: StudyPath,
    pdf: Annotated[Path, typer.Option(help="Vector file")],
    png: Annotated[Path, typer.Option(help="Bitmap file")],
) -> None:
    """Draw one figure from the study's curves."""
    from arbitrage.figures.style import save

    with stage("figure", study, [], [pdf, png], figure=name) as run:
        save(import_module(f"arbitrage.figures.{name}").from_study(run.study), pdf, png, run.study.figures.dpi)


@app.command()
def table(
    name: Annotated[TableName, typer.Argument(help="Which table")],
    study: StudyPath,
    csv: Annotated[Path, typer.Option(help="For programs")],
    md: Annotated[Path, typer.Option(help="For people")],
) -> None:
    """Write one table: of the paper's, ours beside the published figures."""
    with stage("table", study, [], [csv, md], table=name) as run:
        import_module(f"arbitrage.figures.{name}").write(run.study, csv, md)


@app.command()
def report(study: StudyPath, out: Out) -> None:
    """Headline numbers beside the paper's: what agrees, what differs, what is inconclusive."""
    from arbitrage.report.summary import write_summary

    with stage("report", study, [], [out]) as run:
        write_summary(run.study, out)


@app.command()
def page(study: StudyPath, out: Out) -> None:
    """The report as one file to open in a browser, with an explorer of every solution at every threshold."""
    from arbitrage.report.page.page import write_page

    with stage("page", study, [], [out]) as run:
        write_page(run.study, out)


@app.command()
def sensitivity(
    results: Annotated[
        list[Path],
        typer.Argument(help="Results of studies that differ in their PRM, or in all models (results/<study>)"),
    ],
    out: Annotated[Path, typer.Option(help="Where the table and the figure go; .csv, .md, .pdf and .png are added")],
    over: Annotated[
        Literal["prm", "training"], typer.Option(help="What they differ in: `prm`, or the `training` of all models")
    ] = "prm",
) -> None:
    """Set studies of the lab side by side: accuracy at the same acceptance over the PRM's AUROC, or by training.

    Example: `arbitrage sensitivity results/sensitivity-prm_weak results/sensitivity-prm --out results/sensitivity/prms`
    """
    from arbitrage.figures.sensitivity import write
    from arbitrage.publishing.check_records import read_records, study_of

    write([study_of(folder, read_records(folder)) for folder in results], out, over)
