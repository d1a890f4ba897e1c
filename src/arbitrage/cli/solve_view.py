"""How `arbitrage solve` shows a solution: a line a step, coloured by who wrote it, with scores and times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from arbitrage.grading.extract import extract_answer
from arbitrage.speculation.decoder import LiveStep
from arbitrage.speculation.live_here import Costs

COLOURS = {"draft": "cyan", "target": "magenta"}


def show(console: Console, steps: Iterable[LiveStep], policy: str, threshold: float | None) -> str:
    """Print each step as soon as it is decided, then what all cost, and the answer. Returns the solution's text."""
    console.print(_head(policy, threshold))
    costs, decided = Costs(), []
    for number, step in enumerate(steps, start=1):
        costs.add(step.costs)
        decided.append(step)
        spent = step.costs.draft_s + step.costs.score_s + step.costs.target_s + step.costs.catch_up_s
        console.print(
            _line(number, step.author, step.chosen.text, step.policy_score, f"  {1000 * spent:.0f} ms"), highlight=False
        )
        if step.author == "target" and step.draft is not None:
            console.print(_rejected(step.draft.text), highlight=False)
    console.print(_totals(decided, costs))
    solution = "".join(step.chosen.text for step in decided)
    answer = extract_answer(solution)
    text = answer if answer is not None else f"none; the solution ended by {decided[-1].chosen.finish_reason}"
    console.print(Text.assemble("answer: ", (text, "bold")), highlight=False)
    return solution


def show_swept(console: Console, trajectory: Mapping[str, Any], threshold: float | None) -> None:
    """Print a row of the table `trajectories`: its steps, by whom, how many were accepted, and the answer."""
    console.print(_head(trajectory["policy"], threshold))
    steps = trajectory["steps"]
    for number, step in enumerate(steps, start=1):
        console.print(_line(number, step["model"], step["text"], step["policy_score"]), highlight=False)
        if step["model"] == "target" and step["draft_step"] is not None:
            console.print(_rejected(step["draft_step"]), highlight=False)
    accepted = sum(step["model"] == "draft" for step in steps)
    tokens = [sum(step[f"{author}_tokens"] for step in steps) for author in COLOURS]
    console.print(
        f"accepted {accepted} of {len(steps)}; draft {tokens[0]} tok, target {tokens[1]} tok", highlight=False
    )
    answer = trajectory["answer"] or f"none; the solution ended by {steps[-1]['finish_reason']}"
    console.print(Text.assemble("answer: ", (answer, "bold")), highlight=False)


def _head(policy: str, threshold: float | None) -> Text:
    setting = policy if threshold is None else f"{policy} at threshold {threshold:g}"
    return Text.assemble("policy ", (setting, "bold"), "; ", ("draft", "cyan"), " / ", ("target", "magenta"), "\n")


def _line(number: int, author: str, text: str, score: float | None, time: str = "") -> Text:
    said = "" if score is None else f"  score {score:.3f}"
    colour = COLOURS[author]
    return Text.assemble(
        (f"{number:3d}  {author:6s}", f"bold {colour}"), (f" {text.strip()}", colour), (f"{said}{time}", "dim")
    )


def _rejected(text: str) -> Text:
    return Text(f"     rejected: {text.strip()}", style="dim strike")


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
