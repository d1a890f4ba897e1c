"""Commands for people: look at a study, calibrate a threshold, solve a question live."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli.common import PairName, StudyPath, load, refuse_unknown, use_threads
from arbitrage.cli.thresholds import aimed_at, setting
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
    policy: Annotated[
        PolicyName | None, typer.Option(help="Who decides at each step; the router, or who the threshold was for")
    ] = None,
    threshold: Annotated[
        str, typer.Option(help="Where the policy decides: a number, or the file that `arbitrage calibrate` wrote")
    ] = "0.5",
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
    from arbitrage.stages.solve import open_decoder, refusal

    loaded = load(study)
    pair, policy, number = setting(loaded, threshold, pair, policy)
    chosen = POLICIES[policy]
    routed = "router" in chosen.needs
    if routed and router is None:
        router = StudyPaths.of(loaded).router(pair)
    use_threads(loaded.threads)
    if (reason := refusal(loaded, pair, policy)) is not None:
        raise typer.BadParameter(reason, param_hint="--policy")
    at = number if chosen.has_threshold else None
    with open_decoder(loaded, pair, router if routed else None) as decoder:
        show(Console(), decoder.stream(Question("live", question), chosen, at), policy, at)


@app.command()
def calibrate(
    study: StudyPath,
    pair: PairName,
    benchmark: Annotated[str, typer.Option(help="A key of `benchmarks` whose trajectories are there")],
    acceptance: Annotated[str | None, typer.Option(help="Share of steps to accept, such as 0.8")] = None,
    accuracy: Annotated[
        str | None, typer.Option(help="Accuracy to keep: 0.6, or 0.95x of what the target alone has")
    ] = None,
    latency: Annotated[str | None, typer.Option(help="How many times as fast as the target alone: 1.5x")] = None,
    policy: Annotated[ThresholdPolicy, typer.Option(help="Policy the threshold belongs to")] = "router",
    out: Annotated[Path, typer.Option(help="What `arbitrage solve --threshold` reads")] = Path("threshold.json"),
) -> None:
    """Choose a threshold on half of a benchmark's questions, and report what it reaches on the other half.

    Example: `arbitrage calibrate --study config.yaml --pair small --benchmark lab500 --acceptance 0.8`
    """
    from arbitrage.evaluation.calibrate import calibrate as calibrated
    from arbitrage.runtime.provenance import write_json

    target = aimed_at(acceptance, accuracy, latency)
    loaded = load(study)
    refuse_unknown(loaded, pair=pair, benchmark=benchmark)
    paths = StudyPaths.of(loaded)
    files = paths.trajectories(pair, benchmark), paths.latency(pair)
    result = calibrated(*files, policy, target, loaded.curves, loaded.seed)
    print(f"{policy}, threshold {result.threshold:.6g}, chosen for {target.words} on {result.chosen_on} questions.")
    print(f"On {result.measured_on} other questions of {benchmark} it reaches:")
    for name, (value, low, high) in result.reached.items():
        ends = f" [{low:.3f}, {high:.3f}]" if low == low else ""
        print(f"  {name.replace('_', ' ')}: {value:.3f}{ends}")
    head = {"study": loaded.study, "pair": pair, "benchmark": benchmark, "policy": policy, "asked": target.words}
    write_json(out, head | result.as_json())
    print(f"Written to {out}; use it: arbitrage solve --threshold {out} --question ...")
