"""Commands for people: look at a study, find a threshold, solve a question live."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli.common import PairName, StudyPath, load

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
    policy: Annotated[
        str, typer.Option(help="draft_only, target_only, rsd, oracle, router, random or confidence")
    ] = "router",
    threshold: Annotated[float, typer.Option(help="Where the policy decides; `arbitrage thresholds` finds one")] = 0.5,
    router: Annotated[
        Path | None, typer.Option(help="Directory of a trained router; the study's own if absent")
    ] = None,
) -> None:
    """Decode one question live and print the solution step by step, coloured by who wrote each step.

    Example: `arbitrage solve --question "Start with 9. Add 4. Subtract 6. What is the result?" --threshold 0.3`
    """
    from rich.console import Console

    from arbitrage.solve_view import show
    from arbitrage.solving import named_policy, open_decoder
    from arbitrage.speculation.tree import Question

    loaded = load(study)
    pair = pair or next(iter(loaded.pairs))
    if policy == "router" and router is None:
        router = Path(loaded.folder) / "router" / pair / "default" / "model"
    try:
        chosen = named_policy(policy)
    except ValueError as fault:
        raise typer.BadParameter(str(fault), param_hint="--policy") from None
    at = threshold if chosen.has_threshold else None
    with open_decoder(loaded, pair, router if policy == "router" else None) as decoder:
        show(Console(), decoder.stream(Question("live", question), chosen, at), policy, at)


@app.command()
def thresholds(
    study: StudyPath,
    pair: PairName,
    benchmark: Annotated[str, typer.Option(help="A key of `benchmarks` whose trajectories are there")],
    acceptance: Annotated[list[float], typer.Option(help="Wanted acceptance rate, 0 to 1; may be repeated")],
    policy: Annotated[str, typer.Option(help="A policy with a threshold")] = "router",
) -> None:
    """Find the threshold at which a policy accepts a wanted share of steps ("escalate 20 %": --acceptance 0.8)."""
    from arbitrage.evaluation.operating_points import thresholds_at
    from arbitrage.tables import read_table

    path = Path(load(study).folder) / "trajectories" / pair / f"{benchmark}.parquet"
    rows = [row for row in read_table(path, "trajectories") if row["policy"] == policy]
    for wanted, threshold in zip(acceptance, thresholds_at(rows, acceptance), strict=True):
        print(f"acceptance {wanted:.0%}: {policy} threshold {threshold:.6g}")
