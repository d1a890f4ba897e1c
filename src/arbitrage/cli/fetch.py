"""`arbitrage fetch`: models and data on disk before a job takes a GPU."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli.common import StudyPath, load
from arbitrage.config.revisions import commit_of, hub_entries, lock_file, read_lock
from arbitrage.config.study import Study
from arbitrage.io.atomic import write_text

app = typer.Typer()


@app.command()
def fetch(
    study: StudyPath = [Path("config.yaml")],  # noqa: B006 - typer's way to default a list
    repository: Annotated[
        str | None, typer.Option(help="Only this one of the hub (`model--owner--name@commit`)")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all weights, and compare them with the hub's hashes")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="JSON of what was fetched")] = None,
) -> None:
    """Fetch the models and data of a study into the hub's cache, check them, and print their sizes.

    Commits of branches that the study names go into a lock file beside it, `<study>.lock.json`, which every command and
    Snakemake read from then on; delete it to follow the branches again.

    The pipeline fetches before the jobs that read, where Snakemake runs. On a machine with a network, for one without:
    set HF_HOME to a folder that both see, and run this first. What is local is checked alone.
    Example: `arbitrage fetch --study studies/llama3-1b-8b.yaml`
    """
    from arbitrage.preflight.fetch import entry_of, fetch
    from arbitrage.runtime.provenance import write_json

    loaded = load(study)
    if repository is None:
        loaded = _locked(study, loaded)
    only = None if repository is None else entry_of(loaded, repository)
    if repository is not None and only is None:
        raise typer.BadParameter(f"the study takes nothing from {repository!r}", param_hint="--repository")
    fetched = []
    for each in fetch(loaded, only, verify):
        fetched.append(each)
        size = f"{each.bytes / 2**30:.2f} GiB, " if each.bytes else ""
        typer.echo(
            f"{each.subject}: {each.source}: {size}{each.detail}" + (f" ({each.location})" if each.location else "")
        )
    typer.echo(f"all there: {sum(each.bytes for each in fetched) / 2**30:.2f} GiB of models and files")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, [asdict(each) | {"location": each.location and str(each.location)} for each in fetched])


def _locked(files: list[Path], study: Study) -> Study:
    """The study with its branches resolved, and their commits written into the lock file. Raises UnresolvedError."""
    moving = {entry.lock_key: commit_of(entry) for entry in hub_entries(study) if not entry.is_pinned}
    if not moving or files[-1].suffix == ".json":
        return study
    lock = lock_file(files[-1])
    write_text(lock, json.dumps(read_lock(lock) | moving, indent=1, sort_keys=True) + "\n")
    for name, commit in moving.items():
        typer.echo(f"{name} is {commit} today: written into {lock}")
    return load(files)
