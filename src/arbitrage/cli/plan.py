"""`arbitrage plan` and `arbitrage times`: what a study will take, and what it took."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import psutil
import typer

from arbitrage.cli.common import StudyPath, load

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from arbitrage.config.study import Study
    from arbitrage.planning.costs import Cost
    from arbitrage.planning.estimates import Amount
    from arbitrage.report.times import RuleTime

app = typer.Typer()

UNITS = {"draft": "draft\ntokens", "target": "target\ntokens", "prm": "PRM\ncalls", "router": "router\ncalls"}
WIDTH = 100  # characters the table needs


@app.command()
def plan(
    study: StudyPath = [Path("config.yaml")],  # noqa: B006 - typer's way to default a list
    questions: Annotated[
        int, typer.Option(min=2, help="Calibration questions of each set; more make the estimate better")
    ] = 30,
) -> None:
    """Estimate what a study will take: tokens, scorer calls, hours and disk by stage, from a few of its questions.

    Needs the study's models, but nothing it has computed.
    Example: `arbitrage plan --study config.yaml --study studies/lab-full.yaml`
    """
    from arbitrage.cli.stages import register_lab
    from arbitrage.planning.costs import sum_of
    from arbitrage.planning.plan import plan as planned
    from arbitrage.runtime import gpus, resources

    importing_s = time.time() - psutil.Process().create_time()
    loaded = load(study)
    register_lab()
    cards = max(resources.gpus(loaded, "latency", pair) for pair in loaded.pairs)
    gpus.claim(cards, share=loaded.resources.share_gpus)
    console = _console()
    with console.status("") as status:
        costs = planned(loaded, questions, status.update, importing_s)
    console.print(_plan_table(loaded, costs))
    trained = all((Path(loaded.folder) / "router" / pair / "default" / "model").is_dir() for pair in loaded.pairs)
    console.print(
        f"From {questions} questions of each set; ± is half of the 95 % interval that the choice of questions leaves. "
        + ("Swept with the study's routers. " if trained else UNTRAINED)
        + NOT_COUNTED
        + f" While a router trains, its checkpoints take {shown(sum_of(costs).scratch / 1e6)} MB besides."
    )


UNTRAINED = (
    "There is no trained router yet: swept with one trained on the calibration questions alone, its scores spread "
    "evenly over (0, 1). "
)
NOT_COUNTED = (
    "Not counted: questions, merging, curves, figures and tables, which run no model; quantisation; what the step "
    "store holds already; jobs that slow each other down."
)


@app.command()
def times(study: StudyPath = [Path("config.yaml")]) -> None:  # noqa: B006 - typer's way to default a list
    """Show where the time of a finished study went, rule by rule, and how much of it was inside the models.

    Example: `arbitrage times --study config.yaml`
    """
    from arbitrage.report.times import elapsed, rule_times, sum_of

    loaded = load(study)
    rules = rule_times(Path(loaded.folder))
    total = sum_of(rules)
    table = _frame(f"study {loaded.study}: job time by rule", "rule", ("seconds", "of all", "in\nmodels", "share"))
    for rule in rules:
        table.add_row(*_times_cells(rule, total))
    table.add_section()
    table.add_row(*_times_cells(total, total), style="bold")
    console = _console()
    console.print(table)
    console.print(f"From the first job's start to the last one's end: {elapsed(Path(loaded.folder)) / 60:.1f} minutes.")


def _times_cells(rule: RuleTime, total: RuleTime) -> list[str]:
    shares = (f"{rule.seconds / total.seconds:.1%}", f"{rule.model_s / rule.seconds:.0%}" if rule.model_s else "")
    units = [shown(rule.units.get(name, 0.0)) for name in UNITS]
    return [rule.rule, str(rule.jobs), *units, f"{rule.seconds:.1f}", shares[0], shown(rule.model_s), shares[1]]


def _console() -> Console:
    from rich.console import Console

    console = Console()
    console.width = max(console.width, WIDTH)
    return console


def _frame(title: str, first: str, columns: tuple[str, ...]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first)
    for column in ("jobs", *UNITS.values(), *columns):
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _plan_table(study: Study, costs: list[Cost]) -> Table:
    from arbitrage.planning.costs import sum_of
    from arbitrage.planning.estimates import Amount

    columns = ("hours\na job", "core\nhours", "GPU\nhours", "disk\nMB", "±")
    table = _frame(f"study {study.study}: estimate", "stage", columns)
    for cost in costs:
        table.add_row(*_cells(cost, cost.core_seconds, cost.gpu_seconds))
    table.add_section()
    core = sum((cost.core_seconds for cost in costs), Amount())
    gpu = sum((cost.gpu_seconds for cost in costs), Amount())
    table.add_row(*_cells(sum_of(costs), core, gpu), style="bold")
    return table


def _cells(cost: Cost, core: Amount, gpu: Amount) -> list[str]:
    hours = [seconds.value / 3600 for seconds in (cost.seconds.times(1 / cost.jobs), core, gpu)]
    units = [cost.units[name].value if name in cost.units else 0.0 for name in UNITS]
    doubt = max(amount.share for amount in (*cost.units.values(), cost.seconds))
    return [cost.stage, str(cost.jobs), *map(shown, (*units, *hours, cost.disk.value / 1e6)), f"{doubt:.0%}"]


def shown(value: float) -> str:
    """Three digits, and k, M or G; nothing for nothing."""
    if not value:
        return ""
    power = min(int(math.log10(max(value, 1) * 1.0005) / 3), 3)  # 999.5 is 1k
    return f"{value / 1000**power:.3g}{('', 'k', 'M', 'G')[power]}"
