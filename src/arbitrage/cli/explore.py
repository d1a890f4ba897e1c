"""Commands for people: look at a study, calibrate a threshold, solve a question live."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arbitrage.cli.common import PairName, StudyPath, load, refuse_unknown, use_threads
from arbitrage.config.policies import PolicyName, ThresholdPolicy
from arbitrage.runtime.paths import StudyPaths

if TYPE_CHECKING:
    from arbitrage.evaluation.calibrate import Target

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
    from arbitrage.stages.solve import open_decoder

    loaded = load(study)
    number, calibrated = _threshold(threshold)
    pair = pair or calibrated.get("pair") or next(iter(loaded.pairs))
    policy = policy or calibrated.get("policy") or "router"
    for name, here in (("policy", policy), ("pair", pair)):
        if (chosen_for := calibrated.get(name)) not in (None, here):
            message = f"{threshold} was chosen for {name} {chosen_for}, not {here}; calibrate again for {here}"
            raise typer.BadParameter(message, param_hint="--threshold")
    refuse_unknown(loaded, pair=pair)
    if policy not in POLICIES:
        raise typer.BadParameter(f"{threshold} names the policy {policy!r}, which does not exist")
    chosen = POLICIES[policy]
    routed = chosen.entry.trained
    if routed and router is None:
        variant = loaded.variant_of(policy)
        if variant is None:
            message = f"{policy} decides by a router of kind {chosen.entry.router}, of which the study has no variant"
            raise typer.BadParameter(message, param_hint="--policy")
        router = StudyPaths.of(loaded).router(pair, variant)
    use_threads(loaded.threads)
    draft = loaded.models[loaded.pairs[pair].draft]
    if unreported := chosen.entry.reports - draft.reports:
        message = (
            f"{policy} reads {', '.join(sorted(unreported))} of the draft's steps, which engine {draft.engine} reports "
            f"only with models.{loaded.pairs[pair].draft}.top_logprobs; set it to 20"
        )
        raise typer.BadParameter(message, param_hint="--policy")
    target = loaded.pairs[pair].target
    if chosen.entry.target_reads and not loaded.models[target].reads:
        message = (
            f"{policy} has the target read the draft's steps, which engine {loaded.models[target].engine} cannot; set "
            f"models.{target}.engine to transformers or vllm"
        )
        raise typer.BadParameter(message, param_hint="--policy")
    at = number if chosen.has_threshold else None
    with open_decoder(loaded, pair, [router] if routed and router else []) as decoder:
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

    target = _target(acceptance, accuracy, latency)
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


def _target(acceptance: str | None, accuracy: str | None, latency: str | None) -> Target:
    """The one aim that is given. Raises BadParameter."""
    from arbitrage.evaluation.calibrate import Target

    texts = {"acceptance": acceptance, "accuracy": accuracy, "latency": latency}
    aims = [(aim, text) for aim, text in texts.items() if text is not None]
    if len(aims) != 1:
        raise typer.BadParameter(f"got {len(aims)} aims; give one of --acceptance, --accuracy and --latency")
    ((aim, text),) = aims
    hint, relative = f"--{aim}", text.endswith("x")
    try:
        value = float(text.removesuffix("x"))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number", param_hint=hint) from None
    if aim == "latency":
        if not (relative and 0 < value < 1000):
            raise typer.BadParameter(f"{text}: expected a multiple of the target's speed: 1.5x", param_hint=hint)
    elif not 0 <= value <= 1 or (relative and aim == "acceptance"):
        raise typer.BadParameter(f"{text}: expected a share, 0 to 1, such as 0.8", param_hint=hint)
    return Target(aim, value, relative)  # type: ignore[arg-type]


def _threshold(text: str) -> tuple[float, dict[str, Any]]:
    """A threshold, and what the file it stands in says besides. Raises BadParameter."""
    try:
        return float(text), {}
    except ValueError:
        pass
    hint = "--threshold"
    try:
        calibrated = json.loads(Path(text).read_text(encoding="utf-8"))
        return float(calibrated["threshold"]), dict(calibrated)
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{text!r} is neither a number nor a file of `arbitrage calibrate` ({error})"
        raise typer.BadParameter(message, param_hint=hint) from error
