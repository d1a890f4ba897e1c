"""`arbitrage check`: everything that can be known of a study before it runs."""

from __future__ import annotations

from pathlib import Path

import typer

from arbitrage.cli.common import StudyPath, load

app = typer.Typer()


@app.command()
def check(study: StudyPath = [Path("config.yaml")]) -> None:  # noqa: B006 - typer's way to default a list
    """Verify a study without running it: models, data, tokenizers, context lengths, memory. Exit status 1 on a fault.

    Fetches configurations and tokenizers from the hub, never weights.
    Example: `arbitrage check --study config.yaml --study studies/llama3-1b-8b.yaml`
    """
    from rich.console import Console
    from rich.table import Table

    from arbitrage.cli.models import register_lab
    from arbitrage.preflight.data import data_findings
    from arbitrage.preflight.models import model_findings

    loaded = load(study)
    register_lab()
    console = Console()
    with console.status("reading questions, configurations and tokenizers"):
        findings, problems = data_findings(loaded)
        findings += model_findings(loaded, problems)
    table = Table("subject", "", "finding", title=f"study {loaded.study}")
    colours = {"ok": "green", "warning": "yellow", "fault": "red"}
    for finding in findings:
        table.add_row(finding.subject, f"[{colours[finding.verdict]}]{finding.verdict}[/]", finding.detail)
    console.print(table)
    faults = sum(finding.verdict == "fault" for finding in findings)
    warnings = sum(finding.verdict == "warning" for finding in findings)
    console.print(f"{faults} faults, {warnings} warnings: " + ("not ready to run" if faults else "ready to run"))
    if faults:
        raise typer.Exit(1)
