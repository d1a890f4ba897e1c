"""How `arbitrage solve` shows a solution: a line a step, coloured by who wrote it, with scores and times."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from arbitrage.grading.extract import extract_answer
from arbitrage.speculation.decoder import LiveStep
from arbitrage.speculation.live_here import Costs

COLOURS = {"draft": "cyan", "target": "magenta"}


def show(console: Console, steps: Iterable[LiveStep], policy: str, threshold: float | None) -> str:
    """Print each step as soon as it is decided, then what all cost, and the answer. Returns the solution's text."""
    setting = policy if threshold is None else f"{policy} at threshold {threshold:g}"
    console.print(
        Text.assemble("policy ", (setting, "bold"), "; ", ("draft", "cyan"), " / ", ("target", "magenta"), "\n")
    )
    costs, decided = Costs(), []
    for number, step in enumerate(steps, start=1):
        costs.add(step.costs)
        decided.append(step)
        console.print(_line(number, step), highlight=False)
        if step.author == "target" and step.draft is not None:
            console.print(Text(f"     rejected: {step.draft.text.strip()}", style="dim strike"), highlight=False)
    console.print(_totals(decided, costs))
    solution = "".join(step.chosen.text for step in decided)
    answer = extract_answer(solution)
    text = answer if answer is not None else f"none; the solution ended by {decided[-1].chosen.finish_reason}"
    console.print(Text.assemble("answer: ", (text, "bold")), highlight=False)
    return solution


def _line(number: int, step: LiveStep) -> Text:
    colour, costs = COLOURS[step.author], step.costs
    seconds = costs.draft_s + costs.score_s + costs.target_s + costs.catch_up_s
    score = "" if step.policy_score is None else f"  score {step.policy_score:.3f}"
    return Text.assemble(
        (f"{number:3d}  {step.author:6s}", f"bold {colour}"),
        (f" {step.chosen.text.strip()}", colour),
        (f"{score}  {1000 * seconds:.0f} ms", "dim"),
    )


def _totals(steps: list[LiveStep], costs: Costs) -> Table:
    accepted = sum(step.author == "draft" for step in steps)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("accepted", "draft", "score", "target", "catch-up", "model time"):
        table.add_column(name, justify="right")
    total = costs.draft_s + costs.score_s + costs.target_s + costs.catch_up_s
    table.add_row(
        f"{accepted} of {len(steps)}",
        f"{costs.draft_s:.3f} s, {costs.draft_tokens} tok",
        f"{costs.score_s:.3f} s, {costs.score_calls} calls",
        f"{costs.target_s:.3f} s, {costs.target_tokens} tok",
        f"{costs.catch_up_s:.3f} s, {costs.catch_up_tokens} tok",
        f"{total:.3f} s",
    )
    return table
