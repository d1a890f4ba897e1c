"""`arbitrage`: one command a stage of the pipeline, and a few for people.

Heavy imports sit inside the commands, so that `--help` and the commands without models start quickly.
"""

from __future__ import annotations

import sys

import typer

from arbitrage.cli import (
    check,
    convert,
    explore,
    fetch,
    plan,
    quantise,
    results,
    routers,
    serve,
    show,
    stages,
    times,
    verify,
    zoo,
)
from arbitrage.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="A command for each stage of the pipeline, as its rule calls it, and a few for people.",
    pretty_exceptions_enable=False,
)
PANELS = {
    "Try it: one question, or a server": (explore.app, serve.app),
    "Before a run: what is missing, and what it takes": (check.app, fetch.app, plan.app),
    "After a run: look at results, check and pack them": (show.app, times.app, verify.app),
    "Stages, as the pipeline's rules run them": (stages.app, routers.app, quantise.app, convert.app, results.app),
    "Training the lab's own models": (zoo.app,),
}
for panel, commands in PANELS.items():
    for each in commands:
        for command in each.registered_commands:  # of an app without a name, typer takes no panel as a whole
            command.rich_help_panel = panel
        app.add_typer(each)


def main() -> None:
    """Entry point: an error a user can mend is one line on stderr and exit status 1; others keep their traceback."""
    try:
        app()
    except UnicodeEncodeError as error:
        encoding, lacking = sys.getfilesystemencoding(), error.object[error.start]
        if encoding == "utf-8":
            raise
        remedy = "set PYTHONUTF8=1, or a locale that has all characters, such as LC_ALL=C.UTF-8"
        print(f"arbitrage: {lacking!a} is not in {encoding}, the encoding of this locale: {remedy}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        if not isinstance(error, (UserError, OSError)):
            raise
        print(f"arbitrage: {error}", file=sys.stderr)
        sys.exit(1)
