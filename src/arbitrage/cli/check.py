"""`arbitrage check`: everything that can be known of a study before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from arbitrage.cli.common import StudyPath, load

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from arbitrage.preflight.check_memory import Need

app = typer.Typer()

LOG_WIDTH = 160  # characters


@app.command()
def check(
    study: StudyPath = [Path("config.yaml")],  # noqa: B006 - typer's way to default a list
) -> None:
    """Verify a study without running it: models, heads, tokenizers, data, engines, memory. Exit status 1 on a fault.

    Shows three questions of each benchmark as the draft reads them, with their right answers.

    Fetches configurations, tokenizers and benchmarks from the hub, never weights. The pipeline does the same before
    its first job. Prints the commit of each hub repository that the study does not pin.
    Example: `arbitrage check --study studies/llama3-1b-8b.yaml`
    """
    loaded = load(study, sources=False)  # before the libraries of models: a misspelt key is named at once

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from arbitrage.cli.stages import register_lab
    from arbitrage.preflight.check_data import data_findings, labelling_problems
    from arbitrage.preflight.check_engines import engine_findings, timing_findings
    from arbitrage.preflight.check_memory import memory_findings, needs
    from arbitrage.preflight.check_models import model_findings
    from arbitrage.preflight.check_revisions import revision_findings
    from arbitrage.preflight.examples import examples
    from arbitrage.runtime.memory import Shape

    register_lab()
    console = Console()
    if not console.is_terminal:  # a log: whole findings on a line each
        console.width = LOG_WIDTH
    with console.status("reading questions, configurations and tokenizers"):
        findings, questions = data_findings(loaded)
        problems = [row["problem"] for rows in questions.values() for row in rows] + labelling_problems(loaded)
        shapes: dict[str, Shape] = {}
        findings += [*revision_findings(loaded), *model_findings(loaded, problems, shapes), *engine_findings(loaded)]
        findings += timing_findings(loaded)
        needed = list(needs(loaded, shapes))
        findings += memory_findings(loaded, needed)
    table = Table("subject", "", "finding", title=f"study {loaded.study}")
    colours = {"ok": "green", "warning": "yellow", "fault": "red"}
    for finding in sorted(findings, key=lambda finding: list(colours).index(finding.verdict)):  # faults last, in sight
        table.add_row(finding.subject, f"[{colours[finding.verdict]}]{finding.verdict}[/]", escape(finding.detail))
    for example in examples(loaded, questions):
        golds = "; ".join(example.golds) + (f" ({example.besides})" if example.besides else "")
        console.rule(f"{example.benchmark} {example.question_id}, as {example.model} reads it", align="left")
        console.print(example.prompt, markup=False, highlight=False)
        console.print(f"right answer: {golds}", markup=False, highlight=False)
    if needed:
        console.print(_memory_table(needed))
    console.print(table)
    errors = sum(finding.verdict == "fault" for finding in findings)
    warnings = sum(finding.verdict == "warning" for finding in findings)
    console.print(f"faults: {errors}, warnings: {warnings}; " + ("not ready to run" if errors else "ready to run"))
    if errors:
        raise typer.Exit(1)


def _memory_table(needed: Iterable[Need]) -> Table:
    """What each model of each kind of job takes on each GPU, and how many contexts of the longest fit at once."""
    from rich import box
    from rich.table import Table

    from arbitrage.runtime.gpu_memory import GIB

    table = Table(title="memory of GPUs, calculated", box=box.SIMPLE_HEAD)
    for column in ("stage", "pair", "model"):
        table.add_column(column)
    for column in ("GPU", "weights GiB", "beside GiB", "cache GiB", "contexts"):
        table.add_column(column, justify="right")
    for need in needed:
        for index, part in enumerate(need.parts):
            cells = [need.stage, need.pair or "", part.subject, str(part.gpu)]
            cells += [f"{part.weights / GIB:.1f}", f"{part.beside / GIB:.1f}"]
            portion = need.portions[index] if need.portions and part.context else None
            cells += [f"{max(portion.cache, 0) / GIB:.1f}", str(max(int(portion.contexts), 0))] if portion else ["", ""]
            table.add_row(*cells)
        table.add_section()
    return table
