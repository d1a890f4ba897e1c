"""What the shell offers for options whose values the study names."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer

from arbitrage.config.load import STUDY_VARIABLE, read_resolved, read_study
from arbitrage.config.study import Study
from arbitrage.errors import UserError


def names_in(section: str) -> Callable[[typer.Context, str], list[str]]:
    """For typer's `autocompletion`: the keys of a section of the study that the command line has named so far.

    They come from `--study`, the variable in its place, or else `config.yaml`; for a command that takes a folder of
    results, from the newest study there. Nothing is offered where the study cannot be read.
    """

    def names(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            study = _study(ctx.params)
        except (UserError, OSError, ValueError):
            return []
        return [name for name in getattr(study, section) if name.startswith(incomplete)]

    return names


def _study(given: Mapping[str, Any]) -> Study:
    if results := given.get("results"):
        return read_resolved(max((Path(results) / ".study").glob("*.json"), key=lambda path: path.stat().st_mtime))
    paths = [Path(path) for path in given.get("study") or [os.environ.get(STUDY_VARIABLE, "config.yaml")]]
    return read_resolved(paths[0]) if paths[0].suffix == ".json" else read_study(paths)
