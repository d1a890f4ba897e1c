"""`arbitrage times`: what a finished study took, in the columns of `arbitrage plan`, and what its GPUs did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from arbitrage.cli.amounts import UNITS, amounts_table, shown, table_console
from arbitrage.cli.common import StudyPath, load

if TYPE_CHECKING:
    from rich.table import Table

    from arbitrage.report.times import RuleTime

app = typer.Typer()


@app.command()
def times(study: StudyPath = [Path("config.yaml")]) -> None:  # noqa: B006 - typer's way to default a list
    """Show where the time of a finished study went, rule by rule, and how much of it was inside the models.

    Example: `arbitrage times --study config.yaml`
    """
    from arbitrage.report.times import elapsed, rule_times, sum_of

    loaded = load(study)
    rules = rule_times(Path(loaded.folder))
    total = sum_of(rules)
    table = amounts_table(
        f"study {loaded.study}: job time by rule", "rule", ("seconds", "of all", "in\nmodels", "share")
    )
    for rule in rules:
        table.add_row(*_times_cells(rule, total))
    table.add_section()
    table.add_row(*_times_cells(total, total), style="bold")
    console = table_console()
    console.print(table)
    if total.gpus:
        console.print(_gpu_table(rules, total))
    minutes, running = (seconds / 60 for seconds in elapsed(Path(loaded.folder)))
    console.print(f"From the first job's start to the last one's end: {minutes:.1f} minutes, {running:.1f} with a job.")
    if total.killed:
        console.print(f"{total.killed} attempts were killed; they count, to their last commit to the step store.")


def _times_cells(rule: RuleTime, total: RuleTime) -> list[str]:
    shares = (f"{rule.seconds / total.seconds:.1%}", f"{rule.model_s / rule.seconds:.0%}" if rule.model_s else "")
    units = [shown(rule.units.get(name, 0.0)) for name in UNITS]
    return [rule.rule, str(rule.jobs), *units, f"{rule.seconds:.1f}", shares[0], shown(rule.model_s), shares[1]]


def _gpu_table(rules: list[RuleTime], total: RuleTime) -> Table:
    """What the GPUs of each rule's jobs did (docs/cluster.md)."""
    from rich import box
    from rich.table import Table

    table = Table(title="GPUs", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("rule")
    for column in ("GPU\nhours", "busy", "kernels\nrunning", "peak\nGB", "kJ", "tokens\na second", "lost"):
        table.add_column(column, justify="right", no_wrap=True)
    for rule in rules:
        if rule.gpus:
            table.add_row(*_gpu_cells(rule))
    table.add_section()
    table.add_row(*_gpu_cells(total), style="bold")
    return table


def _gpu_cells(rule: RuleTime) -> list[str]:
    shares = [rule.gpu_mean(key) for key in ("busy_share", "utilisation")]
    peak = max((gpu.get("peak_memory_gb", 0.0) for gpu in rule.gpus), default=0.0)
    written = rule.units["draft"] + rule.units["target"]
    lost = sum("lost" in gpu for gpu in rule.gpus)
    return [
        rule.rule,
        f"{rule.gpu_hours:.3g}",
        *("" if share is None else f"{share:.0%}" for share in shares),
        f"{peak:.1f}" if peak else "",
        "" if rule.energy_j is None else f"{rule.energy_j / 1000:,.1f}",
        shown(written / rule.seconds) if written else "",
        str(lost or ""),
    ]
