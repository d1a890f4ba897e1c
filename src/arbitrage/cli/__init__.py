"""`arbitrage`: one command a stage of the pipeline, and a few for people.

Rules call these; each can be called by hand with the same words. Heavy imports sit inside the commands, so that
`--help` and the commands without models start quickly.
"""

from __future__ import annotations

import sys

import typer

from arbitrage.cli import check, convert, explore, fetch, plan, quantise, results, serve, stages, verify, zoo
from arbitrage.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help=__doc__,
    pretty_exceptions_enable=False,
)
app.add_typer(explore.app, rich_help_panel="For people")
app.add_typer(serve.app, rich_help_panel="For people")
app.add_typer(check.app, rich_help_panel="For people")
app.add_typer(fetch.app, rich_help_panel="For people")
app.add_typer(plan.app, rich_help_panel="For people")
app.add_typer(verify.app, rich_help_panel="For people")
app.add_typer(stages.app)
app.add_typer(quantise.app)
app.add_typer(convert.app)
app.add_typer(zoo.app)
app.add_typer(results.app)


def main() -> None:
    """Entry point: an error a user can mend is one line on stderr and exit status 1; others keep their traceback."""
    try:
        app()
    except Exception as error:
        if not isinstance(error, (UserError, OSError)):
            raise
        print(f"arbitrage: {error}", file=sys.stderr)
        sys.exit(1)
