"""Commands that make checkpoints of other kinds into standard ones."""

from __future__ import annotations

from typing import Annotated

import typer

from arbitrage.cli.common import Out, StudyPath, stage

app = typer.Typer()


@app.command()
def convert_prm(
    study: StudyPath,
    out: Out,
    path: Annotated[str | None, typer.Option(help="Directory or hub id; `prm.path` if absent")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit of the hub repository at --path")] = None,
) -> None:
    """Write a PRM with a value head (Skywork-o1-Open-PRM) as a standard classifier with one label."""
    from arbitrage.engines.checkpoints import resolve
    from arbitrage.engines.scoring.skywork import convert_value_head

    if revision and path is None:
        message = f"{revision} needs --path, its repository; without both, prm.path and prm.revision are taken"
        raise typer.BadParameter(message, param_hint="--revision")
    with stage("convert_prm", study, [], [out], models=True) as run:
        prm = run.study.prm
        checkpoint = resolve(path or prm.path, revision if path else prm.revision, "prm", pickled=True)
        convert_value_head(checkpoint, out)
