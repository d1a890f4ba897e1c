"""`arbitrage check`: everything that can be known of a study before it runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli.common import StudyPath, load, stage

app = typer.Typer()

LOG_WIDTH = 160  # characters


@app.command()
def check(
    study: StudyPath = [Path("config.yaml")],  # noqa: B006 - typer's way to default a list
    out: Annotated[Path | None, typer.Option("--out", help="JSON of all findings; not written on a fault")] = None,
) -> None:
    """Verify a study without running it: models, heads, tokenizers, data, engines, memory. Exit status 1 on a fault.

    Fetches configurations, tokenizers and benchmarks from the hub, never weights. The pipeline does the same before
    its first model runs.
    Example: `arbitrage check --study config.yaml --study studies/llama3-1b-8b.yaml`
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from arbitrage.cli.stages import register_lab
    from arbitrage.preflight.check_data import data_findings
    from arbitrage.preflight.check_engines import engine_findings
    from arbitrage.preflight.check_models import model_findings
    from arbitrage.preflight.check_revisions import revision_findings
    from arbitrage.runtime.provenance import write_json

    loaded = load(study)
    register_lab()
    console = Console()
    if not console.is_terminal:  # a log: whole findings on a line each
        console.width = LOG_WIDTH
    with console.status("reading questions, configurations and tokenizers"):
        findings, problems = data_findings(loaded)
        findings += [*revision_findings(loaded), *model_findings(loaded, problems), *engine_findings(loaded)]
    table = Table("subject", "", "finding", title=f"study {loaded.study}")
    colours = {"ok": "green", "warning": "yellow", "fault": "red"}
    for finding in findings:
        table.add_row(finding.subject, f"[{colours[finding.verdict]}]{finding.verdict}[/]", escape(finding.detail))
    console.print(table)
    faults = sum(finding.verdict == "fault" for finding in findings)
    warnings = sum(finding.verdict == "warning" for finding in findings)
    console.print(f"{faults} faults, {warnings} warnings: " + ("not ready to run" if faults else "ready to run"))
    if faults:
        raise typer.Exit(1)
    if out is not None:
        with stage("check", study, [], [out]):
            write_json(out, [asdict(finding) for finding in findings])
