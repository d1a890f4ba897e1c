"""`arbitrage check`: everything that can be known of a study before it runs."""

from __future__ import annotations

from pathlib import Path

import typer

from arbitrage.cli.common import StudyPath, load

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
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from arbitrage.cli.stages import register_lab
    from arbitrage.preflight.check_data import data_findings, labelling_problems
    from arbitrage.preflight.check_engines import engine_findings
    from arbitrage.preflight.check_models import model_findings
    from arbitrage.preflight.check_revisions import revision_findings
    from arbitrage.preflight.examples import examples

    loaded = load(study, sources=False)
    register_lab()
    console = Console()
    if not console.is_terminal:  # a log: whole findings on a line each
        console.width = LOG_WIDTH
    with console.status("reading questions, configurations and tokenizers"):
        findings, questions = data_findings(loaded)
        problems = [row["problem"] for rows in questions.values() for row in rows] + labelling_problems(loaded)
        findings += [*revision_findings(loaded), *model_findings(loaded, problems), *engine_findings(loaded)]
    table = Table("subject", "", "finding", title=f"study {loaded.study}")
    colours = {"ok": "green", "warning": "yellow", "fault": "red"}
    for finding in findings:
        table.add_row(finding.subject, f"[{colours[finding.verdict]}]{finding.verdict}[/]", escape(finding.detail))
    for example in examples(loaded, questions):
        golds = "; ".join(example.golds) + (f" ({example.besides})" if example.besides else "")
        console.rule(f"{example.benchmark} {example.question_id}, as {example.model} reads it", align="left")
        console.print(example.prompt, markup=False, highlight=False)
        console.print(f"right answer: {golds}", markup=False, highlight=False)
    console.print(table)
    errors = sum(finding.verdict == "fault" for finding in findings)
    warnings = sum(finding.verdict == "warning" for finding in findings)
    console.print(f"{errors} faults, {warnings} warnings: " + ("not ready to run" if errors else "ready to run"))
    if errors:
        raise typer.Exit(1)
