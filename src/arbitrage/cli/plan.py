"""`arbitrage plan`: what a study will take."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from arbitrage.cli.amounts import UNITS, amounts_table, hours_range, shown, table_console
from arbitrage.cli.common import StudyPath, load
from arbitrage.cli.job_length import print_cuts

if TYPE_CHECKING:
    from rich.table import Table

    from arbitrage.config.study import Study
    from arbitrage.planning.estimates import Cost

app = typer.Typer()


@app.command()
def plan(
    study: StudyPath = [Path("config.yaml")],  # noqa: B006 - typer's way to default a list
    questions: Annotated[
        int, typer.Option(min=2, help="Questions of each set that the pilot runs on; more make the estimate better")
    ] = 32,
    on: Annotated[
        str | None,
        typer.Option(help="GPUs that need not be at hand, such as 4xH100: no pilot, an estimate by published rates"),
    ] = None,
    hours_per_job: Annotated[
        float | None,
        typer.Option(
            min=0.001, max=10_000, help="Also say how to cut stages into jobs that take about so long, start included"
        ),
    ] = None,
) -> None:
    """Estimate what a study will take: tokens, scorer calls, hours and disk by stage, from a pilot on a few questions.

    Needs the study's models, but nothing it has computed. A bound comes first; Ctrl-C stops with what is known by then.
    With --on nothing runs, and neither models nor GPUs need be there. --hours-per-job prints the lines that cut the
    study into jobs of that length, to be pasted into it.
    Examples: `arbitrage plan --study studies/lab-full.yaml`; jobs of two hours on a machine you do not have:
    `arbitrage plan --study studies/llama3-1b-8b.yaml --on 4xH100 --hours-per-job 2`
    """
    from arbitrage.cli.stages import register_lab
    from arbitrage.planning.plan import Plan
    from arbitrage.runtime import locks

    if on is not None:
        _plan_on(load(study, sources=False), on, hours_per_job)
        return
    loaded = load(study)
    register_lab()
    console = table_console()
    with TemporaryDirectory(prefix="arbitrage-plan-") as folder, console.status("") as status:
        locks.guard_study(Path(folder))  # the pilot's jobs end with this process, however it ends
        planned = Plan(loaded, questions, Path(folder), status.update)
        try:
            for title in planned.rounds():
                console.print(_plan_table(loaded, planned.costs(), title))
        except KeyboardInterrupt:
            console.print(_plan_table(loaded, planned.costs(), "stopped early"), NOTES)
            if hours_per_job is not None:
                print_cuts(console, loaded, planned.costs, hours_per_job)
            raise typer.Exit(130) from None
        for line in _too_little_memory(loaded, planned.costs()):
            console.print(line)
    console.print(NOTES)
    if hours_per_job is not None:
        print_cuts(console, loaded, planned.costs, hours_per_job)


def _plan_on(study: Study, words: str, hours_per_job: float | None) -> None:
    """Print the estimate for the GPUs in `words`, and what each of its numbers rests on."""
    from arbitrage.planning.estimates import sum_of
    from arbitrage.planning.machines import FILE, Machine, rates
    from arbitrage.planning.rates import Estimate

    machine = Machine.named(words)

    def costs_of(study: Study) -> list[Cost]:
        return [cost for pair in study.pairs for cost in Estimate(study, pair, machine).costs()]

    costs = costs_of(study)
    title = f"study {study.study}: estimate for {machine.count} x {machine.name}, by published rates"
    table = amounts_table(title, "stage", ("GPUs\na job", "hours\na job", "GPU\nhours", "hours\nfrom start\nto end"))
    for cost in costs:
        low_s, high_s = cost.low_s, cost.high_s
        hours = (hours_range(low_s / cost.jobs, high_s / cost.jobs), hours_range(cost.gpus * low_s, cost.gpus * high_s))
        table.add_row(*_amounts(cost), str(cost.gpus), *hours, hours_range(*machine.wall_s(cost)))
    table.add_section()
    gpu_s = ((cost.gpus * cost.low_s, cost.gpus * cost.high_s) for cost in costs)
    sums = ([sum(each) for each in zip(*pairs, strict=True)] for pairs in (gpu_s, map(machine.wall_s, costs)))
    table.add_row(*_amounts(sum_of(costs)), "", "", *(hours_range(*each) for each in sums), style="bold")
    console, told = table_console(), rates()["assumed"]
    console.print(table)
    console.print(
        f"Cited: the GPU's bandwidth, peak and memory ({rates()['gpus'][machine.name]['source']}); the share of the "
        f"bandwidth while tokens are written, {rates()['decoding']['bandwidth_share']:.0%} (vLLM, measured by others: "
        f"{', '.join(rates()['decoding']['sources'])}); sizes of models (their files here, or config.json on the hub).",
        f"Assumed: solutions of {told['steps']} steps (median), steps of {told['step_tokens']} tokens (median); "
        f"{told['endless']:.1%} of questions that go on to the last step allowed, {told['runaway']:.1%} of steps to "
        f"the last token; {told['vllm']['peak_share']:.0%} of the peak where vLLM reads, "
        f"{told['transformers']['peak_share']:.0%} where PRM and router score or are trained; scores that are spread "
        f"evenly; times to start. All are in {FILE}.",
        "Of the study: questions, benchmarks, policies, thresholds, trainings, jobs, GPUs a job, rows of a batch.",
        "Hours: at least, batches are full and scorers read new steps alone; at most, scorers read every context anew, "
        "and the longest question of a job ends alone. From start to end: one stage after the other. Not counted: what "
        "runs no model; quantisation.",
        sep="\n",
    )
    if hours_per_job is not None:
        print_cuts(console, study, costs_of, hours_per_job)


NOTES = (
    "Hours: from full batches to batches as the pilot had them. From: questions the pilot had worked on; of a bound, "
    "solutions as long as `generation` allows. ±: half of the 95 % interval that the choice of questions leaves. "
    "Not counted: questions, merging, curves, figures and tables, which run no model; quantisation; what the step "
    "store holds already; jobs that slow each other down."
)


def _too_little_memory(study: Study, costs: list[Cost]) -> list[str]:
    """A line for each stage whose jobs held more memory in the pilot than the study will ask for."""
    from arbitrage.planning.estimates import rule_of
    from arbitrage.runtime import resources

    most: dict[str, int] = {}
    for cost in costs:
        kind = rule_of(cost.stage)
        most[kind] = max(most.get(kind, 0), cost.memory)
    requested = {kind: int(resources.resources(study, kind, next(iter(study.pairs)))["mem_mb"] or 0) for kind in most}
    return [
        f"A job of the pilot held {memory / 1e9:.1f} GB; the study asks for {requested[kind] / 1e3:g} GB on a cluster: "
        f"set resources.{kind}.mem_gb to more"
        for kind, memory in most.items()
        if memory > 1e6 * requested[kind]
    ]


def _plan_table(study: Study, costs: list[Cost], title: str) -> Table:
    from arbitrage.planning.estimates import sum_of

    table = amounts_table(
        f"study {study.study}: {title}", "stage", ("hours\na job", "hours\nin all", "disk\nMB", "±", "from")
    )
    for cost in costs:
        table.add_row(*_cells(cost))
    if costs:
        table.add_section()
        table.add_row(*_cells(sum_of(costs), _hours_in_all(costs)), style="bold")
    return table


def _cells(cost: Cost, hours: str | None = None) -> list[str]:
    a_job = hours_range(cost.low_s / cost.jobs, cost.high_s / cost.jobs)
    error = "" if not cost.questions else f"{cost.error:.0%}" if cost.error <= 1 else "> 100%"
    origin = str(cost.questions) if cost.questions else "bound"
    rest = (hours or _hours_in_all([cost]), shown(cost.disk / 1e6), error, origin)
    return [*_amounts(cost), a_job, *rest]


def _amounts(cost: Cost) -> list[str]:
    return [cost.stage, str(cost.jobs), *(shown(cost.units.get(name, 0.0)) for name in UNITS)]


def _hours_in_all(costs: list[Cost]) -> str:
    """Hours times GPUs of the stages that use them, hours times threads of the others."""
    lines = []
    for word, chosen in (("GPU", [c for c in costs if c.gpus]), ("core", [c for c in costs if not c.gpus])):
        if chosen:
            low_s, high_s = (
                sum((cost.gpus or cost.cores) * seconds for cost, seconds in zip(chosen, each, strict=True))
                for each in ([cost.low_s for cost in chosen], [cost.high_s for cost in chosen])
            )
            lines.append(f"{hours_range(low_s, high_s)} {word}")
    return "\n".join(lines)
