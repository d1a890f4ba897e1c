"""Commands that train the lab's models from nothing, one a command, and measure them (`make zoo`).

Each goes on where an interrupted call of it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arbitrage.cli.common import Out, StudyPath, stage, use_threads
from arbitrage.io.atomic import whole_directory

if TYPE_CHECKING:
    from arbitrage.config.zoo import JudgeSize, TrainingLength, Zoo
    from arbitrage.lab.optimise import Schedule

app = typer.Typer()

SEEDS = {"draft": 0, "base": 0, "target": 1, "router_base": 2}
"""What each language model adds to `zoo.seed`: weights and questions of its own, where others' are in its way."""
BASE = ("base", "marked_share")
SOLUTIONS = ("draft", *BASE, "target", "solutions")
MADE_OF = {
    "draft": ("draft",),
    "base": BASE,
    "router_base": ("router_base", "marked_share"),
    "target": (*BASE, "target"),
    "prm": (*SOLUTIONS, "prm"),
    **{role: (*SOLUTIONS, "router_base", role) for role in ("router_start", "prm_middle", "prm_weak")},
}
"""The keys of `zoo` that decide what each model becomes."""


@app.command()
def zoo_tokenizer(study: StudyPath, out: Out) -> None:
    """Build the lab's tokenizer."""
    with stage("zoo_tokenizer", study, [], [out]) as run:
        from arbitrage.lab.tokenizer import build_tokenizer

        with whole_directory(out) as directory:
            build_tokenizer(run.study.zoo.tokenizer_questions, run.study.zoo.seed).save_pretrained(directory)


@app.command()
def zoo_model(
    study: StudyPath,
    role: Annotated[str, typer.Option(help="`draft`, `base` or `router_base`")],
    tokenizer: Annotated[Path, typer.Option(help="From `arbitrage zoo-tokenizer`")],
    out: Out,
) -> None:
    """Train the lab's draft, or a language model that others begin from, from nothing."""
    with stage("zoo_model", study, [tokenizer], [out], role=role) as run:
        from arbitrage.lab.training import train_language_model

        zoo = run.study.zoo
        size = {"draft": zoo.draft, "base": zoo.base, "router_base": zoo.router_base}[role]
        use_threads(zoo.threads)
        shape = (size.width, size.layers, size.heads, size.inner)
        marked = 0.0 if role == "draft" else zoo.marked_share
        seed = zoo.seed + SEEDS[role]
        train_language_model(tokenizer, out, shape, _schedule(size), seed, zoo.device, _recipe(zoo, role), marked)


@app.command()
def zoo_target(
    study: StudyPath, base: Annotated[Path, typer.Option(help="From `arbitrage zoo-model --role base`")], out: Out
) -> None:
    """Train the lab's target: the base, deepened."""
    with stage("zoo_target", study, [base], [out]) as run:
        from arbitrage.lab.training import deepen_language_model

        zoo, size = run.study.zoo, run.study.zoo.target
        use_threads(zoo.threads)
        schedule, seed = _schedule(size), zoo.seed + SEEDS["target"]
        deepen_language_model(base, out, size.layers, schedule, seed, zoo.device, _recipe(zoo, "target"))


@app.command()
def zoo_solutions(
    study: StudyPath,
    draft: Annotated[Path, typer.Option(help="From `arbitrage zoo-model --role draft`")],
    target: Annotated[Path, typer.Option(help="From `arbitrage zoo-target`")],
    out: Out,
) -> None:
    """Solve questions with draft and target and have the checker judge every step; a table."""
    with stage("zoo_solutions", study, [draft, target], [out]) as run:
        from arbitrage.lab.verdicts import write_solutions

        zoo, size = run.study.zoo, run.study.zoo.solutions
        use_threads(zoo.threads)
        write_solutions(draft, target, out, size.questions, size.held_out, zoo.seed, zoo.device)


@app.command()
def zoo_judge(
    study: StudyPath,
    role: Annotated[str, typer.Option(help="`prm`, `router_start`, `prm_middle` or `prm_weak`")],
    base: Annotated[Path, typer.Option(help="From `arbitrage zoo-model`, --role base or --role router_base")],
    solutions: Annotated[Path, typer.Option(help="From `arbitrage zoo-solutions`")],
    out: Out,
) -> None:
    """Train the lab's PRM, the judge that routers start from, or a weaker PRM, on the checker's labels."""
    with stage("zoo_judge", study, [base, solutions], [out], role=role) as run:
        from arbitrage.lab.prm import train_judge
        from arbitrage.lab.zoo_cards import JUDGES

        zoo = run.study.zoo
        size: JudgeSize = {judge: getattr(zoo, judge) for judge in JUDGES}[role]
        use_threads(zoo.threads)
        parts = (size.rank, size.new_layers)
        train_judge(base, solutions, out, *parts, _schedule(size), zoo.seed, zoo.device, _recipe(zoo, role))


@app.command()
def zoo_metrics(study: StudyPath, out: Out) -> None:
    """Measure the models in the directories beside --out, and write a model card into each."""
    from arbitrage.lab.zoo_cards import ROLES, write_cards

    folder = out.parent
    with stage("zoo_metrics", study, [folder / role for role in ROLES], [out]) as run:
        from arbitrage.lab.measure import evaluate_zoo
        from arbitrage.runtime.provenance import write_json

        zoo = run.study.zoo
        use_threads(zoo.threads)
        metrics = evaluate_zoo(folder, zoo.evaluation_questions, zoo.low_bits, zoo.low_bit_group_size, zoo.device)
        write_cards(folder, metrics)
        write_json(out, metrics)


def _schedule(size: TrainingLength) -> Schedule:
    from arbitrage.lab.optimise import Schedule

    return Schedule(size.steps, size.tokens_per_batch, learning_rate=size.learning_rate)


def _recipe(zoo: Zoo, role: str) -> dict[str, Any]:
    """The part of the study's `zoo` that makes this model."""
    return zoo.model_dump(include={"seed", *MADE_OF[role]})
