"""What all commands share: their options, loading the study, and what surrounds a stage."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from arbitrage import demand, devices, loading, provenance, running
from arbitrage.study import Study

StudyPath = Annotated[
    list[Path],
    typer.Option(
        "--study",
        envvar=loading.STUDY_VARIABLE,
        help="YAML file of a study; give it again for one that overlays the first. Or one resolved study (.json)",
    ),
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
    inputs: list[Path]
    models: Mapping[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


@contextmanager
def stage(
    name: str,
    study: list[Path],
    inputs: list[Path],
    outputs: list[Path],
    job: demand.Stage | None = None,
    pair: str | None = None,
) -> Iterator[Run]:
    """What all stages share: end with the run that started them, and leave a provenance record beside each output.

    job: the kind of job in `resources` whose GPUs it claims, with the models of `pair`; None where it runs no model.
    """
    running.watch_parent()
    run = Run(load(study), inputs)
    if job:
        alone = job == "latency"  # nobody may use its GPUs while it looks at the clock
        devices.claim(demand.gpus(run.study, job, pair), share=run.study.resources.share_gpus and not alone)
    started = time.time()
    for output in outputs:
        output.parent.mkdir(parents=True, exist_ok=True)
    yield run
    provenance.record(outputs, name, run.study, run.inputs, run.models, started, run.extra)


def load(paths: list[Path]) -> Study:
    """The study at `paths`: one resolved .json, or YAML files that overlay each other."""
    if len(paths) == 1 and paths[0].suffix == ".json":
        return loading.read_resolved(paths[0])
    return loading.load_study(paths)
