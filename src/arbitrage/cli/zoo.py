"""Commands that train the lab's models from nothing, one a command, and measure them (`make zoo`).

Each goes on where an interrupted call of it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arbitrage.cli.common import Out, StudyPath, stage
from arbitrage.io.atomic import whole_directory

if TYPE_CHECKING:
    from arbitrage.config.zoo import TrainingLength, Zoo
    from arbitrage.lab.optimise import Schedule

app = typer.Typer()

MADE_OF = {
    "draft": ("draft",),
    "base": ("base", "marked_share"),
    "target": ("base", "marked_share", "target"),
    "prm": ("draft", "base", "marked_share", "target", "solutions", "prm"),
    "router_start": ("draft", "base", "marked_share", "target", "solutions", "prm", "router_start"),
}
"""The keys of `zoo` that decide what each model becomes."""

Base = Annotated[Path, typer.Option(help="From `arbitrage zoo-model --role base`")]
Solutions = Annotated[Path, typer.Option(help="From `arbitrage zoo-solutions`")]


@app.command("zoo-tokenizer")
def zoo_tokenizer(study: StudyPath, out: Out) -> None:
    """Build the lab's tokenizer."""
    with stage("zoo_tokenizer", study, [], [out]) as run:
        from arbitrage.lab.tokenizer import build_tokenizer

        with whole_directory(out) as directory:
            build_tokenizer(run.study.zoo.tokenizer_questions, run.study.zoo.seed).save_pretrained(directory)


@app.command("zoo-model")
def zoo_model(
    study: StudyPath,
    role: Annotated[str, typer.Option(help="`draft` or `base`")],
    tokenizer: Annotated[Path, typer.Option(help="From `arbitrage zoo-tokenizer`")],
    out: Out,
) -> None:
    """Train the lab's draft, or the language model that the others begin from, from nothing."""
    with stage("zoo_model", study, [tokenizer], [out], role=role) as run:
        import torch

        from arbitrage.lab.training import train_language_model

        zoo = run.study.zoo
        size = zoo.draft if role == "draft" else zoo.base
        torch.set_num_threads(zoo.threads)
        shape = (size.width, size.layers, size.heads, size.inner)
        marked = 0.0 if role == "draft" else zoo.marked_share
        train_language_model(tokenizer, out, shape, _schedule(size), zoo.seed, zoo.device, _recipe(zoo, role), marked)


@app.command("zoo-target")
def zoo_target(study: StudyPath, base: Base, out: Out) -> None:
    """Train the lab's target: the base, deepened."""
    with stage("zoo_target", study, [base], [out]) as run:
        import torch

        from arbitrage.lab.training import deepen_language_model

        zoo, size = run.study.zoo, run.study.zoo.target
        torch.set_num_threads(zoo.threads)
        deepen_language_model(base, out, size.layers, _schedule(size), zoo.seed + 1, zoo.device, _recipe(zoo, "target"))


@app.command("zoo-solutions")
def zoo_solutions(
    study: StudyPath,
    draft: Annotated[Path, typer.Option(help="From `arbitrage zoo-model --role draft`")],
    target: Annotated[Path, typer.Option(help="From `arbitrage zoo-target`")],
    out: Out,
) -> None:
    """Solve questions with draft and target and have the checker judge every step; a table."""
    with stage("zoo_solutions", study, [draft, target], [out]) as run:
        import torch

        from arbitrage.lab.verdicts import write_solutions

        zoo, size = run.study.zoo, run.study.zoo.solutions
        torch.set_num_threads(zoo.threads)
        write_solutions(draft, target, out, size.questions, size.held_out, zoo.seed, zoo.device)


@app.command("zoo-prm")
def zoo_prm(study: StudyPath, base: Base, solutions: Solutions, out: Out) -> None:
    """Train the lab's process reward model on the checker's labels of both models' steps."""
    with stage("zoo_prm", study, [base, solutions], [out]) as run:
        import torch

        from arbitrage.lab.prm import train_prm

        zoo, size = run.study.zoo, run.study.zoo.prm
        torch.set_num_threads(zoo.threads)
        schedules = (_schedule(size.frozen), _schedule(size.whole))
        train_prm(
            base,
            solutions,
            out,
            size.new_layers,
            size.token_channels,
            schedules,
            zoo.seed,
            zoo.device,
            _recipe(zoo, "prm"),
        )


@app.command("zoo-router-start")
def zoo_router_start(
    study: StudyPath,
    base: Base,
    prm: Annotated[Path, typer.Option(help="From `arbitrage zoo-prm`")],
    solutions: Solutions,
    out: Out,
) -> None:
    """Distil the PRM into the shallow judge that routers start from."""
    with stage("zoo_router_start", study, [base, prm, solutions], [out]) as run:
        import torch

        from arbitrage.lab.router_start import train_router_start

        zoo, size = run.study.zoo, run.study.zoo.router_start
        torch.set_num_threads(zoo.threads)
        schedule, recipe = _schedule(size), _recipe(zoo, "router_start")
        train_router_start(
            base, prm, solutions, out, size.layers, zoo.prm.token_channels, schedule, zoo.seed, zoo.device, recipe
        )


@app.command("zoo-metrics")
def zoo_metrics(study: StudyPath, out: Out) -> None:
    """Measure the models in the directories beside --out, and write a model card into each."""
    from arbitrage.lab.zoo_cards import ROLES, write_cards

    folder = out.parent
    with stage("zoo", study, [folder / role for role in ROLES], [out]) as run:
        import torch

        from arbitrage.lab.measure import evaluate_zoo
        from arbitrage.runtime.provenance import write_json

        zoo = run.study.zoo
        torch.set_num_threads(zoo.threads)
        metrics = evaluate_zoo(folder, zoo.evaluation_questions, zoo.low_bits, zoo.low_bit_group_size)
        write_cards(folder, metrics)
        write_json(out, metrics)


def _schedule(size: TrainingLength) -> Schedule:
    from arbitrage.lab.optimise import Schedule

    return Schedule(size.steps, size.tokens_per_batch, learning_rate=size.learning_rate)


def _recipe(zoo: Zoo, role: str) -> dict[str, Any]:
    """The part of the study's `zoo` that makes this model."""
    return zoo.model_dump(include={"seed", *MADE_OF[role]})
