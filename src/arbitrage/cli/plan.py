"""`arbitrage plan`: what a study will take, before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbitrage.cli.common import StudyPath, load

if TYPE_CHECKING:
    from rich.table import Table

    from arbitrage.planning.estimates import Amount
    from arbitrage.planning.plan import Cost
    from arbitrage.study import Study

app = typer.Typer()

UNITS = {"draft": "tokens", "target": "tokens", "prm": "calls", "router": "calls"}


@app.command()
def plan(
    study: StudyPath = [Path("config.yaml")],  # noqa: B006 - typer's way to default a list
    questions: Annotated[
        int, typer.Option(min=2, help="Calibration questions of each set; more make the estimate better")
    ] = 24,
) -> None:
    """Estimate what a study will take: tokens, scorer calls, hours and disk by stage, from a few of its questions.

    Needs the study's models, but nothing it has computed.
    Example: `arbitrage plan --study config.yaml --study studies/lab-full.yaml`
    """
    from rich.console import Console

    from arbitrage import demand, devices
    from arbitrage.cli.models import register_lab
    from arbitrage.planning.plan import plan as planned

    loaded = load(study)
    register_lab()
    cards = max(demand.gpus(loaded, "latency", pair) for pair in loaded.pairs)
    devices.claim(cards, share=loaded.resources.share_gpus)
    console = Console()
    with console.status("") as status:
        costs = planned(loaded, questions, status.update)
    console.print(_table(loaded, costs))
    trained = all((Path(loaded.folder) / "router" / pair / "default" / "model").is_dir() for pair in loaded.pairs)
    console.print(
        f"From {questions} questions of each set; ± is half of a 95 % interval over questions. "
        + ("Swept with the study's routers. " if trained else UNTRAINED)
        + NOT_COUNTED
    )


UNTRAINED = (
    "There is no trained router yet: swept with one trained on the calibration questions alone, its scores spread "
    "evenly over (0, 1). "
)
NOT_COUNTED = (
    "Not counted: questions, merging, curves, figures and tables, which run no model; quantisation; what the step "
    "store holds already; jobs that slow each other down."
)


def _table(study: Study, costs: list[Cost]) -> Table:
    from rich import box
    from rich.table import Table

    from arbitrage.planning.estimates import Amount
    from arbitrage.planning.plan import MODELS, sum_of

    table = Table(title=f"study {study.study}: estimate", box=box.SIMPLE_HEAD)
    table.add_column("stage")
    for column in ("jobs", *(f"{name} {UNITS[name]}" for name in MODELS), "h a job", "core h", "GPU h", "disk MB"):
        table.add_column(column, justify="right")
    for cost in costs:
        table.add_row(*_cells(cost, cost.core_seconds, cost.gpu_seconds))
    table.add_section()
    core, gpu = (sum(parts, Amount()) for parts in zip(*((c.core_seconds, c.gpu_seconds) for c in costs), strict=True))
    table.add_row(*_cells(sum_of(costs), core, gpu), style="bold")
    return table


def _cells(cost: Cost, core: Amount, gpu: Amount) -> list[str]:
    from arbitrage.planning.plan import MODELS

    hours = (cost.seconds.times(1 / cost.jobs / 3600), core.times(1 / 3600), gpu.times(1 / 3600))
    units = [shown(cost.units[name]) if name in cost.units else "" for name in MODELS]
    return [cost.stage, str(cost.jobs), *units, *map(shown, hours), shown(cost.disk.times(1e-6))]


def shown(amount: Amount) -> str:
    """The value to three digits, and its error in per cent; nothing for nothing."""
    if not amount.value:
        return ""
    value = f"{amount.value:,.0f}" if amount.value >= 100 else f"{amount.value:.2g}"
    return f"{value} ±{amount.share:.0%}"
