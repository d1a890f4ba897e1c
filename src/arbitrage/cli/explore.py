"""Commands for people: look at a study, calibrate a threshold, solve a question live."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from arbitrage.cli.common import PairName, StudyPath, load, refuse_unknown, use_threads
from arbitrage.cli.completion import names_in
from arbitrage.cli.thresholds import aimed_at, setting
from arbitrage.config.policies import PolicyName, ThresholdPolicy
from arbitrage.config.study import Study
from arbitrage.errors import UserError
from arbitrage.runtime.paths import StudyPaths

app = typer.Typer()

REACHED = {
    "target_tokens": "the target's share of the tokens",
    "target_accuracy": "accuracy of the target alone",
    "speedup": "times as fast as the target alone",
}
VERDICTS = {True: "right", False: "wrong", None: "ungraded: comparing took too long"}


@app.command()
def config(study: StudyPath) -> None:
    """Print the resolved study: every key with its value, defaults filled in."""
    print(load(study).model_dump_json(indent=2))


@app.command()
def solve(
    question: Annotated[str | None, typer.Option(help="The question to solve")] = None,
    question_id: Annotated[
        str | None,
        typer.Option(help="In place of it: one of the study's benchmarks, whose answer is then graded"),
    ] = None,
    study: StudyPath = [Path("config.yaml")],  # noqa: B006 - typer's way to default a list
    pair: Annotated[
        str | None, typer.Option(autocompletion=names_in("pairs"), help="A key of `pairs`; the first if absent")
    ] = None,
    policy: Annotated[
        PolicyName | None, typer.Option(help="Who decides at each step; the router, or who the threshold was for")
    ] = None,
    threshold: Annotated[
        str, typer.Option(help="Where the policy decides: a number, or the file that `arbitrage calibrate` wrote")
    ] = "0.5",
    speculative_tokens: Annotated[
        int,
        typer.Option(min=0, help="The target writes by token-level speculation, the draft proposing so many at a time"),
    ] = 0,
    router: Annotated[
        Path | None, typer.Option(help="Directory of a trained router; the study's own if absent")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Decode and time a question that the sweep has solved")] = False,
) -> None:
    """Decode one question live and print the solution step by step, coloured by who wrote each step.

    Examples: `arbitrage solve --question "Start with 9. Add 4. Subtract 6. What is the result?" --threshold 0.3`;
    `arbitrage solve --question-id ... --policy rsd --threshold 0.7` replays a row of a benchmark, by the name it has in
    tables and in the report: at once and without models where the study's sweep has this policy at this threshold.
    """
    from rich.console import Console

    from arbitrage.cli.solve_view import show, show_swept
    from arbitrage.speculation.policies import POLICIES

    if (question is None) == (question_id is None):
        raise typer.BadParameter("give one of --question and --question-id", param_hint="--question")
    loaded = load(study)
    benchmark, row = (None, None) if question_id is None else benchmark_row(loaded, question_id)
    pair, policy, number = setting(loaded, threshold, pair, policy)
    chosen = POLICIES[policy]
    at = number if chosen.has_threshold else None
    if benchmark and row and not (live or router or speculative_tokens):
        table = StudyPaths.of(loaded).trajectories(pair, benchmark)
        if (swept := swept_solution(table, row["question_id"], policy, number)) is not None:
            show_swept(Console(), swept, at)
            print(
                f"{VERDICTS[swept['correct']]}; expected {' or '.join(row['answers'])}. From {table}; --live decodes it"
            )
            return
    from arbitrage.grading.grade import grade
    from arbitrage.speculation.tree import Question
    from arbitrage.stages.solve import open_decoder, refusal

    routed = chosen.entry.trained
    if routed and router is None:
        variant = loaded.variant_of(policy)
        if variant is None:
            message = f"{policy} decides by a router of kind {chosen.entry.router}, of which the study has no variant"
            raise typer.BadParameter(message, param_hint="--policy")
        router = StudyPaths.of(loaded).router(pair, variant)
    use_threads(loaded.threads)
    if (reason := refusal(loaded, pair, policy)) is not None:
        raise typer.BadParameter(reason, param_hint="--policy")
    loading, checking = [router] if routed and router else [], [speculative_tokens] if speculative_tokens else []
    with open_decoder(loaded, pair, loading, checking) as decoder:
        if speculative_tokens and not decoder.can_check:
            message = (
                f"pair {pair} does no token-level speculation: draft and target need one vocabulary and engine, "
                "transformers or vllm"
            )
            raise typer.BadParameter(message, param_hint="--speculative-tokens")
        asked = Question("live", str(question)) if row is None else Question(row["question_id"], row["problem"])
        solution = show(Console(), decoder.stream(asked, chosen, at, speculative_tokens), policy, at)
    if row is not None:
        _, right = grade(solution, row["answers"], row["grading"])
        print(f"{VERDICTS[right]}; expected {' or '.join(row['answers'])}")


def benchmark_row(study: Study, question_id: str) -> tuple[str, dict[str, Any]]:
    """The benchmark that a question is of, and its row there. Raises UserError."""
    from arbitrage.io.tables import read_table

    tables = {name: StudyPaths.of(study).questions(name) for name in study.benchmarks}
    there = {name: table for name, table in tables.items() if table.is_file()}
    for name, table in there.items():
        for row in read_table(table, "questions"):
            if row["question_id"] == question_id:
                return name, row
    searched = ", ".join(map(str, (there or tables).values()))
    state = "has no such question" if there else "is still to be made: run the study, or `snakemake` up to this file"
    raise UserError(f"--question-id {question_id}: {searched} {state}")


def swept_solution(table: Path, question_id: str, policy: str, threshold: float) -> dict[str, Any] | None:
    """The row of `trajectories` that holds at this threshold, of a router its first training; None where none does."""
    import pyarrow.compute as pc

    from arbitrage.io.tables import read_arrow

    if not table.is_file():
        return None
    own = (pc.field("question_id") == question_id) & (pc.field("policy") == policy)
    rows: list[dict[str, Any]] = read_arrow(table, "trajectories").filter(own).to_pylist()
    first = [row for row in rows if not row["router_seed"]]
    return next((row for row in first if row["threshold_low"] <= threshold < row["threshold_high"]), None)


@app.command()
def calibrate(
    study: StudyPath,
    pair: PairName,
    benchmark: Annotated[
        str,
        typer.Option(autocompletion=names_in("benchmarks"), help="A key of `benchmarks` whose trajectories are there"),
    ],
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
        print(f"  {REACHED.get(name, name)}: {value:.3f}{ends}")
    head = {"study": loaded.study, "pair": pair, "benchmark": benchmark, "policy": policy, "asked": target.words}
    write_json(out, head | result.as_json())
    print(f"Written to {out}; use it: arbitrage solve --threshold {out} --question ...")
