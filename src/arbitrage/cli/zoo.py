"""Commands that train the lab's tokenizer, draft, target and PRM from nothing, and measure them (`make zoo`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli.common import Out, StudyPath, stage
from arbitrage.io.atomic import whole_directory

app = typer.Typer()


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
    role: Annotated[str, typer.Option(help="`draft` or `target`")],
    tokenizer: Annotated[Path, typer.Option(help="From `arbitrage zoo-tokenizer`")],
    out: Out,
) -> None:
    """Train the lab's draft or target."""
    with stage("zoo_model", study, [tokenizer], [out], role=role) as run:
        import torch

        from arbitrage.lab.generation import load_tokenizer
        from arbitrage.lab.training import Schedule, train_language_model

        zoo = run.study.zoo
        size = zoo.draft if role == "draft" else zoo.target
        torch.set_num_threads(zoo.threads)
        train_language_model(
            load_tokenizer(tokenizer),
            out,
            (size.width, size.layers, size.heads, size.inner),
            Schedule(size.steps, zoo.tokens_per_batch, learning_rate=size.learning_rate),
            zoo.seed,
            zoo.device,
        )


@app.command("zoo-prm")
def zoo_prm(
    study: StudyPath,
    draft: Annotated[Path, typer.Option(help="From `arbitrage zoo-model`")],
    target: Annotated[Path, typer.Option(help="From `arbitrage zoo-model`")],
    out: Out,
) -> None:
    """Train the lab's process reward model on the checker's labels of both models' steps."""
    with stage("zoo_prm", study, [draft, target], [out]) as run:
        import torch

        from arbitrage.lab.prm import train_prm
        from arbitrage.lab.training import Schedule

        zoo, size = run.study.zoo, run.study.zoo.prm
        torch.set_num_threads(zoo.threads)
        schedule = Schedule(size.steps, size.tokens_per_batch, learning_rate=size.learning_rate)
        train_prm(draft, target, out, size.layers, size.questions, schedule, zoo.seed, zoo.device)


@app.command("zoo-metrics")
def zoo_metrics(study: StudyPath, out: Out) -> None:
    """Measure `draft`, `target` and `prm`, the directories beside --out, and write a model card into each."""
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
