"""Whether the models of each kind of job fit on its GPUs, and how many contexts they then hold at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from arbitrage.config.study import Study
from arbitrage.preflight.driver import unusable_gpus
from arbitrage.preflight.findings import Finding
from arbitrage.runtime import gpus, resources
from arbitrage.runtime.gpu_memory import GIB, Part, Portion, divided, gpu_bytes, parts, shortage
from arbitrage.runtime.memory import Shape
from arbitrage.runtime.placement import STAGES, placed


@dataclass(frozen=True)
class Need:
    """A kind of job with models on GPUs. pair: None for a training; gpus: how many it takes; parts: what is where;
    portions: the same with keys and values, empty where the memory of a GPU is not known; fault: what does not fit."""

    stage: str
    pair: str | None
    gpus: int
    parts: tuple[Part, ...]
    portions: tuple[Portion, ...]
    fault: str | None


def needs(study: Study, shapes: Mapping[str, Shape]) -> Iterator[Need]:
    """Every kind of job of a study that has models on GPUs. shapes: by subject (`gpu_memory.parts`)."""
    absent = {("latency", pair) for pair in study.pairs if pair not in study.timed_pairs}
    absent |= {("lookahead", pair) for pair in study.pairs if not study.looks_ahead(pair)}
    jobs = [(stage, pair) for pair in study.pairs for stage in STAGES if (stage, pair) not in absent]
    for stage, pair in [*jobs, ("router", study.ablation_pair)]:
        own = placed(study, stage, pair) if stage in STAGES else study
        members = tuple(parts(own, stage, pair, shapes))
        count = resources.gpus(study, stage, pair)
        sizes = {part.gpu: _size(study, part.gpu, count) for part in members}
        known = {gpu: size for gpu, size in sizes.items() if size is not None}
        portions = tuple(divided(members, known)) if len(known) == len(sizes) else ()
        if members:
            fault = shortage(study, stage, portions)
            yield Need(stage, pair if stage in STAGES else None, count, members, portions, fault)


def _size(study: Study, gpu: int, count: int) -> float | None:
    """Bytes of a GPU of a job that takes `count`: where it takes all of the machine's its own, else the smallest's."""
    here = gpus.cards()
    if study.resources.gpu_memory_gb is not None or count >= len(here):
        return gpu_bytes(study, gpu)
    sizes = [size for _, size in here if size is not None]
    return min(sizes, default=None) if len(sizes) == len(here) else None


def memory_findings(study: Study, needed: list[Need]) -> Iterator[Finding]:
    """A finding for each kind of job: a fault where its models do not fit, a warning where nobody knows."""
    reason = unusable_gpus() if needed else None
    if reason:
        yield Finding("GPUs", "fault", reason)
    elif needed:
        yield from _kinds(study)
    here = len(gpus.cards()) if needed else 0
    for need in needed:
        subject = f"GPUs of {need.stage}" + (f" {need.pair}" if need.pair else "")
        if 0 < here < need.gpus and not _elsewhere(study):
            yield Finding(
                subject, "fault", f"a job takes {need.gpus}, and this machine has {here}: {_fewer(study, need)}"
            )
            continue
        if need.fault:
            yield Finding(subject, "fault", need.fault)
            continue
        on = Counter[int]()
        for part in need.parts:
            on[part.gpu] += part.weights + part.beside
        needs_gib = f"{len(on)} a job, on the fullest {max(on.values()) / GIB:.1f} GiB of weights and room beside them"
        if not need.portions:
            unknown = "this machine does not have them, so unchecked: resources.gpu_memory_gb says how large they are"
            yield Finding(subject, "warning", f"{needs_gib}; {unknown}")
        else:
            yield from _room(study, subject, need, needs_gib)


def _fewer(study: Study, need: Need) -> str:
    """How a job takes fewer GPUs, or finds them."""
    if getattr(study.resources, need.stage).gpus is not None:
        remedy = f"lower resources.{need.stage}.gpus"
    elif getattr(study.placement, need.stage, "together") == "apart":
        remedy = f"set placement.{need.stage} to together"
    else:
        remedy = "lower vllm.tensor_parallel"
    return f"{remedy}; of another machine that has them, resources.gpu_memory_gb says how large they are"


def _elsewhere(study: Study) -> bool:
    """Whether the study says that its jobs run on other machines than this one."""
    named = study.resources
    return any(value is not None for value in (named.gpu_partition, named.gpu_type, named.gpu_memory_gb))


def _kinds(study: Study) -> Iterator[Finding]:
    """A warning where this machine's GPUs, on which jobs will run, are of different kinds."""
    kinds = Counter(name for name, _ in gpus.cards())
    if len(kinds) > 1 and not _elsewhere(study):
        listed = ", ".join(f"{count} x {name}" for name, count in kinds.items())
        yield Finding(
            "GPUs",
            "warning",
            f"of different kinds ({listed}): a job may get any, so the smallest counts for memory, and times of "
            f"jobs do not compare; name those of one kind in {gpus.VISIBLE}",
        )


def _room(study: Study, subject: str, need: Need, needs_gib: str) -> Iterator[Finding]:
    """How many contexts fit; a warning where a model on transformers, which does not wait, may have larger batches."""
    for portion in need.portions:
        name = portion.part.subject.removeprefix("models.")
        model = study.models.get(name) if portion.part.subject.startswith("models.") else None
        rows = 1 if model is None or model.engine != "transformers" or need.stage == "latency" else model.batch_size
        if portion.contexts < rows:
            yield Finding(
                subject,
                "warning",
                f"models.{name} holds {int(portion.contexts)} of the longest contexts, batch_size is {rows}: lower it",
            )
    least = min(portion.contexts for portion in need.portions)
    yield Finding(subject, "ok", needs_gib + (f"; {int(least)} contexts of the longest at once" if need.pair else ""))
