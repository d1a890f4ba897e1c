"""`arbitrage`: one command a stage of the pipeline, and a few for people.

Rules call these; each can be called by hand with the same words. Heavy imports sit inside the commands, so that
`--help` and the commands without models start quickly.
"""

from __future__ import annotations

import sys

import typer

from arbitrage.cli import check, convert, explore, plan, quantise, results, stages, verify, zoo

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help=__doc__,
    pretty_exceptions_enable=False,
)
app.add_typer(explore.app, rich_help_panel="For people")
app.add_typer(check.app, rich_help_panel="For people")
app.add_typer(plan.app, rich_help_panel="For people")
app.add_typer(verify.app, rich_help_panel="For people")
app.add_typer(stages.app)
app.add_typer(quantise.app)
app.add_typer(convert.app)
app.add_typer(zoo.app)
app.add_typer(results.app)


def main() -> None:
    """Entry point: a known fault is one line on stderr and exit status 1; a traceback only where the fault is ours."""
    try:
        app()
    except Exception as error:
        from arbitrage.errors import FAULTS  # they bring pandas with them: only where there is a fault

        if not isinstance(error, FAULTS):
            raise
        print(f"arbitrage: {error}", file=sys.stderr)
        sys.exit(1)
