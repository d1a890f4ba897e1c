"""What a job needs: GPUs, CPUs, memory, time and partition, by the name of its stage, from the study alone.

Rules turn it into Snakemake resources (rules/common.smk), commands claim their GPUs by it (`arbitrage.runtime.gpus`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from arbitrage.config.devices import alone, last_ordinal, model_devices
from arbitrage.config.resources import Job
from arbitrage.config.study import Study
from arbitrage.runtime.memory import models_gb
from arbitrage.runtime.placement import STAGES, loads_router, placed

HOURS = {"label": 12.0, "lookahead": 12.0, "sweep": 12.0, "router": 12.0}  # of the first attempt; others 4
CPUS_PER_GPU = 4  # enough to load weights and to grade while the GPU works
MEM_GB, MEM_GB_PER_GPU = 8.0, 64.0  # the second: weights pass through the host's memory on their way
RESOURCES = ("gpu", "gpu_model", "cpus_per_task", "mem_mb", "runtime", "slurm_partition", "slurm_extra")


def gpus(study: Study, stage: str, pair: str | None, variant: str | None = None) -> int:
    """GPUs a job of `stage` needs: as configured, or one more than the highest CUDA ordinal its models are placed on.

    pair: the pair whose models run; None in stages that run none. variant: of the router that is trained or scored:
    those that read numbers need none. `cuda` counts as `cuda:0`: models that all say `cuda`
    share one GPU.
    """
    if variant is not None and study.router.variants[variant].kind != "classifier":
        return 0
    configured = _job(study, stage).gpus
    if configured is not None:
        return configured
    return max((last_ordinal(device) + 1 for device in _devices(study, stage, pair)), default=0)


def resources(
    study: Study, stage: str, pair: str | None, attempt: int = 1, variant: str | None = None
) -> dict[str, int | str | None]:
    """Snakemake resources of a job, by the names of RESOURCES; None where there is nothing to ask for.

    attempt: 1, and one more with each retry: a retry gets that many times the time, and half as much memory again, for
    it may have run out of either. GPUs are counted; memory is in MB, `runtime` in minutes.
    """
    job, cards = _job(study, stage), gpus(study, stage, pair, variant)
    hours = (job.hours or HOURS.get(stage, 4.0)) * attempt
    memory = job.mem_gb or max(MEM_GB, MEM_GB_PER_GPU * cards, models_gb(study, stage, pair))
    partition = study.resources.gpu_partition if cards else study.resources.cpu_partition
    return {
        "gpu": cards,
        "gpu_model": study.resources.gpu_type if cards else None,
        "cpus_per_task": job.cpus or max(study.threads, CPUS_PER_GPU * cards),
        "mem_mb": math.ceil(memory * 1000 * (1 + (attempt - 1) / 2)),
        "runtime": math.ceil(60 * min(hours, study.resources.max_hours or hours)),
        "slurm_partition": job.partition or partition,
        "slurm_extra": "--exclusive" if stage == "latency" else None,  # nothing may run beside the clock
    }


def _job(study: Study, stage: str) -> Job:
    job: Job = getattr(study.resources, stage, study.resources.small)
    return job


def _devices(study: Study, stage: str, pair: str | None) -> Iterable[str]:
    """The torch devices that a job of `stage` runs models on."""
    if stage in ("router", "heldout"):
        return [alone(study.router.device)]
    if stage == "states" and pair is not None:
        return [alone(study.models[study.pairs[pair].draft].device)]
    if stage not in STAGES or pair is None:
        return []
    study = placed(study, stage, pair)
    models = (study.models[name] for name in (study.pairs[pair].draft, study.pairs[pair].target))
    devices = [device for model in models if model.server.url is None for device in model_devices(model)]
    return [*devices, study.prm.device, *([study.router.device] if loads_router(study, stage) else [])]
