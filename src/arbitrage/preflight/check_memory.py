"""Whether the models of each kind of job fit on its GPUs, and how many contexts they then hold at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from arbitrage.config.study import Study
from arbitrage.preflight.driver import unusable_gpus
from arbitrage.preflight.findings import Finding
from arbitrage.runtime.gpu_memory import GIB, Part, Portion, divided, gpu_bytes, parts, shortage
from arbitrage.runtime.memory import Shape
from arbitrage.runtime.placement import STAGES, placed


@dataclass(frozen=True)
class Need:
    """A kind of job with models on GPUs. pair: None for a training; parts: what is where; portions: the same with keys
    and values, empty where the memory of a GPU is not known; fault: what does not fit."""

    stage: str
    pair: str | None
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
        sizes = {part.gpu: gpu_bytes(study, part.gpu) for part in members}
        known = {gpu: size for gpu, size in sizes.items() if size is not None}
        portions = tuple(divided(members, known)) if len(known) == len(sizes) else ()
        if members:
            fault = shortage(study, stage, portions)
            yield Need(stage, pair if stage in STAGES else None, members, portions, fault)


def memory_findings(study: Study, needed: list[Need]) -> Iterator[Finding]:
    """A finding for each kind of job: a fault where its models do not fit, a warning where nobody knows."""
    reason = unusable_gpus() if needed else None
    if reason:
        yield Finding("GPUs", "fault", reason)
    for need in needed:
        subject = f"GPUs of {need.stage}" + (f" {need.pair}" if need.pair else "")
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
