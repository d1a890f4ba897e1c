"""`arbitrage serve`: a pair behind OpenAI's API."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli.common import StudyPath, load, refuse_unknown, use_threads
from arbitrage.cli.completion import names_in
from arbitrage.cli.thresholds import aimed_at, setting
from arbitrage.config.policies import POLICIES
from arbitrage.config.study import Study
from arbitrage.errors import UserError
from arbitrage.runtime.paths import StudyPaths

app = typer.Typer()
PACKAGES = ("prometheus_client", "starlette", "uvicorn")


@app.command()
def serve(
    study: StudyPath = [Path("config.yaml")],  # noqa: B006 - typer's way to default a list
    pair: Annotated[
        str | None, typer.Option(autocompletion=names_in("pairs"), help="A key of `pairs`; the first if absent")
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            autocompletion=lambda: list(POLICIES),
            help="Who decides where a request does not say; the router, or who the threshold was for. Give it again "
            "for each policy that requests may name and that needs a PRM or a router: no other is loaded",
        ),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            "--threshold",
            "--threshold-file",
            help="Where the first policy decides: a number (0.5 if absent), or the file of `arbitrage calibrate`",
        ),
    ] = None,
    acceptance: Annotated[
        str | None, typer.Option(help="In place of a threshold: the share of steps to accept, such as 0.8")
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            autocompletion=names_in("benchmarks"),
            help="On whose trajectories --acceptance is looked up; the first of `benchmarks`",
        ),
    ] = None,
    router: Annotated[
        Path | None, typer.Option(help="Directory of a trained router; the study's own if absent")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; only this machine reaches the default")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free")] = 8000,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests under way at a time; more are told to wait")] = 64,
    grace: Annotated[int, typer.Option(min=0, help="Seconds that running requests have, once asked to stop")] = 30,
) -> None:
    """Answer OpenAI's chat completions by live decoding, many at a time (docs/server.md).

    The key that clients have to send is read from the environment variable `ARBITRAGE_API_KEY`.

    Example: `arbitrage serve --study config.yaml --pair small --policy router --threshold 0.3`
    """
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise UserError(f"serving needs {', '.join(missing)}; in a checkout: pip install --editable '.[serve]'")
    from arbitrage.server import serve as server
    from arbitrage.stages.solve import refusal

    loaded = load(study)
    if acceptance is not None and threshold is not None:
        raise typer.BadParameter("given beside --threshold; give one of the two", param_hint="--acceptance")
    named = list(dict.fromkeys(policy or ()))
    if unknown := [name for name in named if name not in POLICIES]:
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(POLICIES)}", param_hint="--policy")
    pair, first, number = setting(loaded, threshold or "0.5", pair, named[0] if named else None)
    named = named or [first]
    for name in named:
        if (reason := refusal(loaded, pair, name)) is not None:
            raise typer.BadParameter(reason, param_hint="--policy")
    if acceptance is not None:
        number = accepting(loaded, pair, first, acceptance, benchmark)
    use_threads(loaded.threads)
    listening = server.Listening(host, port, os.environ.get(server.KEY_VARIABLE) or None, concurrency, grace)
    at = number if POLICIES[first].has_threshold else None
    variants = dict.fromkeys(loaded.variant_of(name) for name in named if POLICIES[name].trained)
    routers = [StudyPaths.of(loaded).router(pair, variant) for variant in variants if variant]
    server.serve(loaded, pair, named, at, [router] if router else routers, listening)


def accepting(study: Study, pair: str, policy: str, acceptance: str, benchmark: str | None) -> float:
    """The threshold at which `policy` accepts this share of steps on a benchmark of the study, as `calibrate` finds it.

    Raises BadParameter, CalibrationError, TableError.
    """
    from arbitrage.evaluation.calibrate import calibrate

    target = aimed_at(acceptance, None, None)
    if not POLICIES[policy].has_threshold:
        raise typer.BadParameter(f"{policy} has no threshold", param_hint="--acceptance")
    benchmark = benchmark or next(iter(study.benchmarks))
    refuse_unknown(study, benchmark=benchmark)
    trajectories = StudyPaths.of(study).trajectories(pair, benchmark)
    if not trajectories.is_file():
        message = f"{trajectories} is missing, where it is looked up; run the study, or give --threshold"
        raise typer.BadParameter(message, param_hint="--acceptance")
    result = calibrate(trajectories, None, policy, target, study.curves, study.seed)
    value, low, high = result.reached["acceptance"]
    print(f"threshold {result.threshold:.6g}; it accepts {value:.3f} [{low:.3f}, {high:.3f}] of steps on {benchmark}")
    return result.threshold
