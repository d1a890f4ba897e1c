"""Commands for people: look at a study, find a threshold, solve a question live."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli.common import PairName, StudyPath, load, refuse_unknown, use_threads
from arbitrage.config.policies import PolicyName, ThresholdPolicy
from arbitrage.runtime.paths import StudyPaths

app = typer.Typer()


@app.command()
def config(study: StudyPath) -> None:
    """Print the resolved study: every key with its value, defaults filled in."""
    print(load(study).model_dump_json(indent=2))


@app.command()
def solve(
    question: Annotated[str, typer.Option(help="The question to solve")],
    study: StudyPath = [Path("config.yaml")],  # noqa: B006 - typer's way to default a list
    pair: Annotated[str | None, typer.Option(help="A key of `pairs`; the first if absent")] = None,
    policy: Annotated[PolicyName, typer.Option(help="Who decides at each step")] = "router",
    threshold: Annotated[float, typer.Option(help="Where the policy decides; `arbitrage thresholds` finds one")] = 0.5,
    router: Annotated[
        Path | None, typer.Option(help="Directory of a trained router; the study's own if absent")
    ] = None,
) -> None:
    """Decode one question live and print the solution step by step, coloured by who wrote each step.

    Example: `arbitrage solve --question "Start with 9. Add 4. Subtract 6. What is the result?" --threshold 0.3`
    """
    from rich.console import Console

    from arbitrage.cli.solve_view import show
    from arbitrage.speculation.policies import POLICIES
    from arbitrage.speculation.tree import Question
    from arbitrage.stages.solve import open_decoder

    loaded = load(study)
    pair = pair or next(iter(loaded.pairs))
    refuse_unknown(loaded, pair=pair)
    chosen = POLICIES[policy]
    routed = "router" in chosen.needs
    if routed and router is None:
        router = StudyPaths.of(loaded).router(pair)
    use_threads(loaded.threads)
    at = threshold if chosen.has_threshold else None
    with open_decoder(loaded, pair, router if routed else None) as decoder:
        show(Console(), decoder.stream(Question("live", question), chosen, at), policy, at)


def _shares(values: list[float]) -> list[float]:
    for value in values:
        if not 0 <= value <= 1:
            raise typer.BadParameter(f"{value:g} is no share of steps; expected 0 to 1, such as 0.8 for 80 %")
    return values


@app.command()
def thresholds(
    study: StudyPath,
    pair: PairName,
    benchmark: Annotated[str, typer.Option(help="A key of `benchmarks` whose trajectories are there")],
    acceptance: Annotated[
        list[float], typer.Option(callback=_shares, help="Wanted acceptance rate, 0 to 1; may be repeated")
    ],
    policy: Annotated[ThresholdPolicy, typer.Option(help="Whose threshold")] = "router",
) -> None:
    """Find the threshold at which a policy accepts a wanted share of steps ("escalate 20 %": --acceptance 0.8)."""
    from arbitrage.evaluation.operating_points import operating_points
    from arbitrage.io.tables import read_table

    loaded = load(study)
    refuse_unknown(loaded, pair=pair, benchmark=benchmark)
    path = StudyPaths.of(loaded).trajectories(pair, benchmark)
    swept = read_table(path, "trajectories")
    rows = [row for row in swept if row["policy"] == policy]
    if not rows:
        there = ", ".join(sorted({row["policy"] for row in swept}))
        message = f"{path} has no {policy}, only {there}; add {policy} to sweep.policies and run the study again"
        raise typer.BadParameter(message, param_hint="--policy")
    for target, point in zip(acceptance, operating_points(rows, acceptance), strict=True):
        print(f"target {target:.0%}: {policy} threshold {point.threshold:.6g} accepts {point.acceptance:.1%}")
