"""`arbitrage verify` and `arbitrage export`: are results what they say, and what of them is published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli.common import load

app = typer.Typer()


@app.command()
def verify(
    results: Annotated[Path, typer.Argument(help="A study's results (results/<study>), or a bundle of `export`")],
    study: Annotated[
        list[Path] | None, typer.Option(help="The study they should be of; absent: the one the newest was made by")
    ] = None,
) -> None:
    """Check results against their provenance: what is stale, foreign, missing or changed. Exit status 1 on a fault.

    One line a finding. Example: `arbitrage verify results/lab`
    """
    from arbitrage.publishing.bundle import opened
    from arbitrage.publishing.mismatches import MEANINGS
    from arbitrage.publishing.verify import verify as findings_in

    with opened(results) as folder:
        findings = findings_in(folder, load(study) if study else None)
    for finding in findings:
        print(f"{finding.kind:<12}  {finding.subject}: {finding.detail}")
    for kind, meaning in MEANINGS.items():
        if count := sum(finding.kind == kind for finding in findings):
            print(f"{count:>5} {kind}: {meaning}")
    errors = sum(finding.is_fault for finding in findings)
    print(
        f"{results}: {errors} {'fault' if errors == 1 else 'faults'}"
        if errors
        else f"{results}: every result is what its record says"
    )
    if errors:
        raise typer.Exit(1)


@app.command()
def export(
    results: Annotated[Path, typer.Argument(help="A finished study's results (results/<study>)")],
    bundle: Annotated[Path, typer.Argument(help="The zip to write, whole or not at all")],
    doi: Annotated[
        str | None, typer.Option(help="The DOI it will be published under, where one has been reserved")
    ] = None,
) -> None:
    """Pack tables, figures, provenance and the router, with cards and machine-readable descriptions, for publishing.

    Results with a fault are refused. Example: `arbitrage export results/lab lab.zip`
    """
    from arbitrage.publishing.bundle import export as write_bundle

    names = write_bundle(results, bundle, doi)
    print(f"{bundle}: {len(names)} files, {bundle.stat().st_size / 1e6:,.1f} MB; arbitrage verify {bundle} checks it")
