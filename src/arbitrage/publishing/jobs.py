"""The jobs of a study, from the records of what they wrote: in which order they ran, and what they needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arbitrage.publishing.check_records import with_parents


@dataclass(frozen=True)
class Job:
    """One run of a command. inputs, outputs: sha256 by path, as its records have them; seconds: from start to end."""

    stage: str
    command: str
    started: str
    ended: str
    seconds: float
    version: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def jobs_of(records: Mapping[str, Mapping[str, Any]]) -> list[Job]:
    """Every job that left a record, in the order in which they ended; records: by the path of their result.

    What one run of a command wrote has one record a file, alike but for the file.
    """
    runs: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for _, record in sorted(records.items()):
        runs[record["ended"], record["started"], record["stage"], record["command"]].append(record)
    return [
        Job(
            stage,
            command,
            started,
            ended,
            seconds=run[0]["wall_s"],
            version=run[0]["code"]["version"],
            inputs=run[0]["inputs"],
            outputs={record["output"]: record["sha256"] for record in run},
        )
        for (ended, started, stage, command), run in sorted(runs.items())
    ]


def needed_for(output: str, jobs: Sequence[Job]) -> list[Job]:
    """The jobs without which there is no `output`, its own among them, in the order of `jobs`."""
    maker = {name: job for job in jobs for name in job.outputs}
    wanted, found = [output], set[int]()
    while wanted:
        job = _owner(wanted.pop(), maker)
        if job is not None and id(job) not in found:
            found.add(id(job))
            wanted += job.inputs
    return [job for job in jobs if id(job) in found]


def external_inputs(jobs: Iterable[Job]) -> dict[str, str]:
    """sha256 by path of what jobs read and none of them wrote: checkpoints, and files of questions."""
    jobs = list(jobs)
    made = {name for job in jobs for name in job.outputs}
    read = {name: sha256 for job in jobs for name, sha256 in job.inputs.items()}
    return {name: read[name] for name in sorted(read) if not made & set(with_parents(name))}


def _owner(name: str, maker: Mapping[str, Job]) -> Job | None:
    """The job that wrote a path, or a directory that it lies in."""
    return next((maker[path] for path in with_parents(name) if path in maker), None)
