"""What all commands share: their options, loading the study, and what surrounds a stage."""

from __future__ import annotations

import errno
import glob
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from arbitrage.cli.completion import names_in
from arbitrage.config.load import STUDY_VARIABLE, load_study, read_resolved, read_study
from arbitrage.config.policies import POLICIES
from arbitrage.config.study import Study
from arbitrage.errors import UserError
from arbitrage.runtime import dependencies, gpus, locks, provenance, resources
from arbitrage.runtime.gpu_use import GpuUse
from arbitrage.runtime.outputs import FIGURES, ROUTER_DETAILS, TABLES

ROOM_FOR_NOTHING = 2**16  # bytes free where a writer that could not go on has left its half file

StudyPath = Annotated[
    list[Path],
    typer.Option(
        "--study",
        envvar=STUDY_VARIABLE,
        help="YAML file of a study; give it again for one laid over the first. Or a resolved study (.json)",
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Where the result goes; written whole or not at all")]
PairName = Annotated[str, typer.Option("--pair", autocompletion=names_in("pairs"), help="A key of the study's `pairs`")]
VariantName = Annotated[str, typer.Option("--variant", help="A key of the study's `router.variants`")]
Shard = Annotated[int, typer.Option("--shard", min=0, help="Which slice of the questions, from 0")]
QuestionsPath = Annotated[Path, typer.Option("--questions", help="A `questions` table")]
Training = Annotated[int, typer.Option("--seed", min=0, help="Which training of the variant, from 0")]
RouterPaths = Annotated[
    list[Path] | None,
    typer.Option(
        "--router",
        help="Directory of a trained router, where a policy decides by one; again for a further kind or training",
    ),
]


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
    models: bool = False,
    shard: int | None = None,
    **names: str,
) -> Iterator[Run]:
    """What all stages share: end with the run that started them, and leave a provenance record beside each output.

    name: a key of `dependencies.READS`, which is the name of the rule and of the command too; models: whether it runs
    any, and so claims GPUs, and gives torch the study's threads; shard: the one it works on, where it is cut into jobs;
    names: the pair, benchmark, variant, model or role in the zoo that it works on, by those words. What the study does
    not have of these is refused first.
    """
    locks.watch_parent()
    loaded = load(study)
    refuse_unknown(loaded, **names)
    drawn = names.get("figure") or names.get("table") or names.get("detail") or ""
    run = Run(loaded, [*inputs, *dependencies.results_read(loaded, name, drawn)])
    if shard is not None:
        _refuse_shard(run.study, shard, names.get("benchmark"))
    settings = dependencies.settings_read(run.study, name, **names)
    held: list[str] = []
    if models:
        alone = name == "latency"  # nobody may use its GPUs while it looks at the clock
        cards = resources.gpus(run.study, name, names.get("pair"), names.get("variant"))
        held = gpus.claim(cards, share=run.study.resources.share_gpus and not alone)
        use_threads(run.study.threads)
    started = time.time()
    sources = [Path(path) for path in dependencies.sources_read(run.study, name, **names)]
    sources = [path for path in sources if path.exists()]  # a hub's have a revision in the settings
    for output in outputs:
        output.parent.mkdir(parents=True, exist_ok=True)
        _clear(output)
    with _full_disk_named(outputs[0].parent):
        with GpuUse(held) as use:
            yield run
        read, extra = [*run.inputs, *sources], run.extra | use.report
        provenance.record(outputs, name, run.study, read, run.models, settings, started, extra)


def use_threads(count: int) -> None:
    """Have torch compute with `count` threads in this process; the same number gives the same bytes."""
    import torch

    torch.set_num_threads(count)


def _clear(output: Path) -> None:
    """Remove what a killed attempt at `output` left half written, and the record of what will be written over."""
    provenance.record_of(output).unlink(missing_ok=True)
    for leftover in output.parent.glob(f".{glob.escape(output.name)}.*.tmp"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


@contextmanager
def _full_disk_named(folder: Path) -> Iterator[None]:
    """Say that the disk of `folder` is full where it is: the libraries that write name no file, and some no reason."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError):
            raise
        if "No space left on device" in str(error) or shutil.disk_usage(folder).free < ROOM_FOR_NOTHING:
            remedy = "the disk is full; make room and give the same command again, what is finished is kept"
            raise OSError(errno.ENOSPC, remedy, str(folder)) from error
        raise


def refuse_unknown(study: Study, **names: str) -> None:
    """Raise BadParameter where the study has no pair, benchmark, variant or model of that name."""
    names_by_kind: dict[str, Collection[str]] = {
        "pair": study.pairs,
        "benchmark": study.benchmarks,
        "variant": study.router.variants,
        "model": study.models,
        "role": ("draft", "base", "router_base", "prm", "router_start", "prm_middle", "prm_weak"),
        "figure": FIGURES,
        "table": TABLES,
        "detail": ROUTER_DETAILS,
    }
    for word, name in names.items():
        if name not in names_by_kind[word]:
            raise typer.BadParameter(f"the study has no {word} {name!r}; it has {', '.join(names_by_kind[word])}")


def refuse_missing_routers(policies: Iterable[str], routers: Sequence[Path]) -> None:
    """Raise BadParameter where a policy decides by a kind of router of which none is among `routers`, directories."""
    from arbitrage.engines.scoring.scalar_router import kind_of

    if not all(path.is_dir() for path in routers):
        return  # whoever loads them says which is not there
    given = {kind_of(path) for path in routers}
    for policy in policies:
        kind = POLICIES[policy].router
        if kind is not None and kind not in given:
            message = f"missing, but sweep.policies has {policy}; give the directory of a trained one, of kind {kind}"
            raise typer.BadParameter(message, param_hint="--router")


def _refuse_shard(study: Study, shard: int, benchmark: str | None) -> None:
    shards = study.steps_shards if benchmark is None else study.sweep_shards(benchmark)
    if shard >= shards:
        message = f"there is no shard {shard}; the study makes {shards}: give one of 0 to {shards - 1}"
        raise typer.BadParameter(message, param_hint="--shard")


def load(paths: list[Path], sources: bool = True) -> Study:
    """The study at `paths`: one resolved .json, or YAML files that overlay each other.

    sources: whether its models and data must be there, and its hub repositories pinned. Raises ConfigError.
    """
    if len(paths) == 1 and paths[0].suffix == ".json":
        return read_resolved(paths[0])
    return load_study(paths) if sources else read_study(paths)
