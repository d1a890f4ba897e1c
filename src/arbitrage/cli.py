"""`arbitrage`: one command a stage of the pipeline, and a few for people.

Rules call these; each can be called by hand with the same words. Heavy imports sit inside the commands, so that `--help` and
the commands without models start quickly.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from arbitrage import loading, provenance, running
from arbitrage.study import Study

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="markdown", help=__doc__)

StudyPath = Annotated[
    list[Path], typer.Option("--study", help="YAML files, each overlaying the one before, or one resolved study (.json)")
]
Out = Annotated[Path, typer.Option("--out", help="Where the result goes; written whole or not at all")]
PairName = Annotated[str, typer.Option("--pair", help="A key of the study's `pairs`")]
VariantName = Annotated[str, typer.Option("--variant", help="A key of the study's `router.variants`")]
Shard = Annotated[int, typer.Option("--shard", min=0, help="Which slice of the questions, from 0")]
QuestionsPath = Annotated[Path, typer.Option("--questions", help="A `questions` table")]
RouterPath = Annotated[Path, typer.Option("--router", help="Directory of a trained router")]


@dataclass
class Run:
    """A stage at work; what it learns for the provenance record is noted here."""

    study: Study
    models: Mapping[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


@contextmanager
def stage(name: str, study: list[Path], inputs: list[Path], outputs: list[Path]) -> Iterator[Run]:
    """What all stages share: end with the run that started them, and leave a provenance record beside each output."""
    running.watch_parent()
    started = time.time()
    run = Run(load(study))
    for output in outputs:
        output.parent.mkdir(parents=True, exist_ok=True)
    yield run
    provenance.record(outputs, name, run.study, inputs, run.models, started, run.extra)


def load(paths: list[Path]) -> Study:
    """The study at `paths`: one resolved .json, or YAML files that overlay each other."""
    if len(paths) == 1 and paths[0].suffix == ".json":
        return loading.read_resolved(paths[0])
    return loading.load_study(paths)


def register_lab() -> None:
    """Make the lab's questions known as sources; only the command line knows the lab."""
    from arbitrage.lab.source import register

    register()


@app.command()
def config(study: StudyPath) -> None:
    """Print the resolved study: every key with its value, defaults filled in."""
    print(load(study).model_dump_json(indent=2))


@app.command()
def benchmark(study: StudyPath, name: Annotated[str, typer.Option(help="A key of `benchmarks`")], out: Out) -> None:
    """Write the questions of a benchmark."""
    from arbitrage.questions.sampling import benchmark_questions
    from arbitrage.tables import write_table

    with stage("benchmark", study, [], [out]) as run:
        register_lab()
        write_table(out, "questions", benchmark_questions(run.study.study, name, run.study.benchmarks[name], run.study.seed))


@app.command()
def questions(
    study: StudyPath,
    benchmarks: Annotated[list[Path], typer.Argument(help="Question tables that must not be sampled from")],
    out: Out,
    report: Annotated[Path, typer.Option(help="JSON: duplicates, overlaps and strata")],
) -> None:
    """Sample the labelling questions: de-duplicated, without the benchmarks', stratified by source."""
    from arbitrage.provenance import write_json
    from arbitrage.questions.sampling import sample_questions
    from arbitrage.tables import read_table, write_table

    with stage("questions", study, benchmarks, [out]) as run:
        register_lab()
        barred = [row for path in benchmarks for row in read_table(path, "questions")]
        rows, counts = sample_questions(run.study.study, run.study.questions, run.study.seed, barred)
        write_json(report, counts)
        write_table(out, "questions", rows)


@app.command()
def quantise(study: StudyPath, model: Annotated[str, typer.Option(help="A key of `models`")], out: Out) -> None:
    """Round another model's linear weights group-wise to few bits."""
    from arbitrage.lab.quantise import quantise_directory

    with stage("quantise", study, [], [out]) as run:
        recipe = run.study.models[model].quantise
        if recipe is None:
            raise typer.BadParameter(f"models.{model} has no `quantise`; nothing to make")
        quantise_directory(Path(run.study.model_path(recipe.model)), out, recipe.bits, recipe.group_size)


@app.command()
def steps(study: StudyPath, pair: PairName, shard: Shard, questions: QuestionsPath, out: Out) -> None:
    """Label one shard: draft and target continue each context, the PRM scores both."""
    with stage("steps", study, [questions], [out]) as run:
        from arbitrage.stages import label_steps

        run.models = label_steps(run.study, pair, shard, questions, out)


@app.command()
def merge(
    shards: Annotated[list[Path], typer.Argument(help="The shards, in order")],
    table: Annotated[str, typer.Option(help="Which table they are: `steps` or `trajectories`")],
    out: Out,
) -> None:
    """Join the shards of a table."""
    from arbitrage.tables import read_frame, write_table

    running.watch_parent()
    import pandas as pd

    frame = pd.concat([read_frame(shard, table) for shard in shards], ignore_index=True)
    write_table(out, table, frame.sort_values(["question_id"], kind="stable", ignore_index=True))


@app.command()
def dataset(
    study: StudyPath, variant: VariantName, steps: Annotated[Path, typer.Option(help="The pair's `steps` table")], out: Out
) -> None:
    """Build a router's training and validation data: annotated, split by question, balanced."""
    with stage("dataset", study, [steps], [out]) as run:
        from arbitrage.engines.checkpoints import load_tokenizer
        from arbitrage.routing.dataset import build_dataset
        from arbitrage.tables import read_table

        path, revision = run.study.router_init
        settings = run.study.router.variants[variant]
        build_dataset(
            read_table(steps, "steps"),
            settings,
            run.study.dataset,
            load_tokenizer(path, revision),
            run.study.generation.separator,
            run.study.seed,
            out,
        )


@app.command("train-router")
def train_router_command(
    study: StudyPath, variant: VariantName, dataset: Annotated[Path, typer.Option(help="From `arbitrage dataset`")], out: Out
) -> None:
    """Fine-tune a router from its starting checkpoint; goes on where a killed training stopped."""
    with stage("router", study, [dataset], [out]) as run:
        from arbitrage.routing.training import train_router

        train_router(run.study, variant, dataset, out)


@app.command()
def heldout(
    study: StudyPath,
    pair: PairName,
    variant: VariantName,
    router: RouterPath,
    dataset: Annotated[Path, typer.Option(help="From `arbitrage dataset`")],
    out: Out,
) -> None:
    """Score the held-out steps with a trained router."""
    with stage("heldout", study, [router, dataset], [out]) as run:
        from arbitrage.routing.heldout import score_heldout

        score_heldout(run.study, pair, variant, router, dataset, out)


@app.command()
def trajectories(
    study: StudyPath,
    pair: PairName,
    benchmark: Annotated[str, typer.Option(help="A key of `benchmarks`")],
    shard: Shard,
    questions: QuestionsPath,
    out: Out,
    router: Annotated[Path | None, typer.Option(help="Directory of a trained router, if that policy is swept")] = None,
) -> None:
    """Sweep all policies over one shard of a benchmark, and grade the answers."""
    with stage("trajectories", study, [questions, *([router] if router else [])], [out]) as run:
        from arbitrage.stages import sweep_benchmark

        run.models = sweep_benchmark(run.study, pair, benchmark, shard, questions, router, out)


@app.command()
def latency(
    study: StudyPath,
    pair: PairName,
    questions: Annotated[Path, typer.Option(help="Folder of the benchmarks' `questions` tables")],
    trajectories: Annotated[Path, typer.Option(help="Folder of the pair's `trajectories` tables")],
    router: RouterPath,
    out: Out,
) -> None:
    """Time the live decoder at batch 1: draft only, target only, RSD and router at several thresholds."""
    names = [f"{name}.parquet" for name in load(study).benchmarks]
    inputs = [folder / name for folder in (questions, trajectories) for name in names]
    with stage("latency", study, [*inputs, router], [out]) as run:
        from arbitrage.timing import measure_latency

        equal = measure_latency(run.study, pair, questions, trajectories, router, out)
        run.extra["texts_equal_to_sweep"] = equal


@app.command()
def solve(
    question: Annotated[str, typer.Option(help="The question to solve")],
    study: StudyPath = [Path("config.yaml")],  # noqa: B006 - typer's way to default a list
    pair: Annotated[str | None, typer.Option(help="A key of `pairs`; the first if absent")] = None,
    policy: Annotated[str, typer.Option(help="draft_only, target_only, rsd, oracle, router, random or confidence")] = "router",
    threshold: Annotated[float, typer.Option(help="Where the policy decides; `arbitrage thresholds` finds one")] = 0.5,
    router: Annotated[Path | None, typer.Option(help="Directory of a trained router; the study's own if absent")] = None,
) -> None:
    """Decode one question live and print the solution step by step, coloured by who wrote each step.

    Example: `arbitrage solve --question "What is 12 + 34 - 5?" --policy router --threshold 0.5`
    """
    from rich.console import Console

    from arbitrage.solve_view import show
    from arbitrage.solving import load_decoder, named_policy
    from arbitrage.speculation.tree import Question

    loaded = load(study)
    pair = pair or next(iter(loaded.pairs))
    if policy == "router" and router is None:
        router = Path(loaded.folder) / "router" / pair / "default" / "model"
    chosen = named_policy(policy)
    decoder = load_decoder(loaded, pair, router if policy == "router" else None)
    at = threshold if chosen.has_threshold else None
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


def main() -> None:
    """Entry point: a known fault is one line on stderr and exit status 1; the traceback only where the fault is ours."""
    from arbitrage.faults import FAULTS

    try:
        app()
    except FAULTS as fault:
        print(f"arbitrage: {fault}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
