"""What `arbitrage plan --hours-per-job` prints: into how many jobs to cut the study, and the lines that do it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from arbitrage.cli.amounts import hours_range, shown

if TYPE_CHECKING:
    from rich.console import Console

    from arbitrage.config.study import Study
    from arbitrage.planning.estimates import Cost


def print_cuts(console: Console, study: Study, costs_of: Callable[[Study], list[Cost]], hours: float) -> None:
    """Print how to cut a study into jobs of at most about so many `hours`, and what comes of it.

    costs_of: what the stages of a study take, cut as it says.
    """
    from rich import box
    from rich.table import Table

    from arbitrage.planning.job_length import RULES, cut

    now = {cost.stage: cost.jobs for cost in costs_of(study)}
    table = Table(title=f"cut into jobs of at most about {hours:g} hours", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("stage")
    for column in ("jobs\nnow", "jobs", "hours\na job", "of these\nto start", "hours of\nall jobs"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column()
    lines, remarks = [], []
    for section in RULES:
        made = cut(study, section, costs_of, 3600 * hours)
        for cost in made.costs:
            one = "" if cost.jobs > 1 else "one job already" if now[cost.stage] == 1 else "one job is enough"
            jobs, start = (str(now[cost.stage]), str(cost.jobs)), shown(cost.start_s / 3600, 2)
            a_job = hours_range(cost.low_s / cost.jobs, cost.high_s / cost.jobs)
            table.add_row(cost.stage, *jobs, a_job, start, hours_range(cost.low_s, cost.high_s), one)
        if made.questions_per_job is not None:
            lines.append(f"{section}: {{questions_per_job: {made.questions_per_job}}}")
        elif made.too_long is None:
            remarks.append(f"{section}: nothing is known of its jobs yet; give the pilot time, or more --questions")
        else:
            remarks.append(f"{section}: {_too_long(made.too_long, hours)}")
    if lines:
        console.print(
            table,
            "Write into the study's sections, or into a file that follows it (--configfile STUDY.yaml JOBS.yaml):\n",
            *lines,
            "\nThe longest stage of a section decides, by the high end of its hours. A router's data, training and "
            "held-out scores, and timing, are not cut by questions.",
            sep="\n",
        )
    for remark in remarks:
        console.print(remark)


def _too_long(cost: Cost, hours: float) -> str:
    """Why jobs of a stage are not so short, and what to ask for; cost: of the stage, one question a job."""
    start, shortest = cost.start_s / 3600, cost.high_s / cost.jobs / 3600
    why = f"with a single question it takes {shown(shortest, 2)}, {shown(start, 2)} of it to start"
    if start >= hours:
        why = f"starting alone takes {shown(start, 2)}"
    longer = shown(max(10 * start, 2 * shortest), 2)
    return f"no job of {cost.stage} takes {hours:g} hours or less: {why}; ask for longer ones: --hours-per-job {longer}"
