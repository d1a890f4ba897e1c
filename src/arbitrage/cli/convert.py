"""Commands that make checkpoints of other kinds into standard ones."""

from __future__ import annotations

from typing import Annotated

import typer

from arbitrage.cli.common import Out, StudyPath, stage

app = typer.Typer()


@app.command("convert-prm")
def convert_prm(
    study: StudyPath,
    out: Out,
    path: Annotated[str | None, typer.Option(help="Directory or hub id; `prm.path` if absent")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit of the hub repository at --path")] = None,
) -> None:
    """Write a PRM with a value head (Skywork-o1-Open-PRM) as a standard classifier with one label."""
    from arbitrage.engines.scoring.skywork import convert_value_head

    if revision and path is None:
        told = f"{revision} is of no repository; give its --path too, or neither: then prm.path and prm.revision count"
        raise typer.BadParameter(told, param_hint="--revision")
    with stage("convert_prm", study, [], [out], "quantise") as run:
        prm = run.study.prm
        convert_value_head(path or prm.path, revision if path else prm.revision, out)
