"""What jobs ask for: the `resources` section of a study's configuration.

Nothing here changes a result, and no rule's `params` hold it: another partition or time limit reruns nothing.
"""

from __future__ import annotations

from pydantic import Field

from arbitrage.config.section import Count, Section


class Job(Section):
    """What one job of a stage asks for; what is absent follows from the study (`arbitrage.runtime.resources`)."""

    gpus: int | None = Field(
        None, ge=0, le=1024, description="GPUs a job; absent: as many as the stage's models are on, by `placement`"
    )
    cpus: Count | None = Field(None, description="CPUs a job; absent: `threads`, and at least 4 a GPU")
    mem_gb: float | None = Field(
        None,
        gt=0,
        le=100_000,
        description="Memory of the first attempt, GB; absent: 64 a GPU; without, what the models need, and at least 8",
    )
    hours: float | None = Field(
        None,
        gt=0,
        le=10_000,
        description="Time limit of the first attempt; absent: 12 for label, lookahead, sweep and router, else 4",
    )
    partition: str | None = Field(None, description="Partition of this stage, instead of the two below")


class Resources(Section):
    """What jobs ask a cluster for, and how the jobs of one machine share its GPUs."""

    gpu_partition: str | None = Field(None, description="Partition of jobs with GPUs; the cluster's default if absent")
    cpu_partition: str | None = Field(None, description="Partition of the others; the cluster's default if absent")
    gpu_type: str | None = Field(None, description="Type of GPU, as the cluster names it (a100, h100); any if absent")
    gpu_memory_gb: float | None = Field(
        None,
        gt=0,
        le=10_000,
        description="Memory of a GPU, GB (24, 40, 80 ...), for cards of another machine; absent: what the driver says",
    )
    max_hours: float | None = Field(
        None, gt=0, le=10_000, description="Longest time limit a retry asks for: the partition's own"
    )
    share_gpus: bool = Field(
        False, description="Let jobs on one machine use a GPU together, instead of waiting for one that is free"
    )
    label: Job = Field(Job(), description="Labelling, a shard")
    lookahead: Job = Field(Job(), description="Look-ahead labels, a shard of the labelled steps")
    states: Job = Field(Job(), description="The draft's hidden states, a shard of the labelled steps")
    sweep: Job = Field(Job(), description="The sweep, a shard of a benchmark")
    latency: Job = Field(Job(), description="Timing of a pair; always gets a whole node")
    router: Job = Field(Job(), description="Training a router; `gpus: 4` spreads it over four GPUs of one node")
    heldout: Job = Field(Job(), description="A router's held-out scores")
    dataset: Job = Field(Job(), description="A router's data set")
    quantise: Job = Field(Job(), description="Making a model in few bits; GPTQ is slow without `gpus: 1`")
    convert_prm: Job = Field(Job(), description="Converting a PRM's value head")
    small: Job = Field(Job(), description="Every other stage: they run no model")
