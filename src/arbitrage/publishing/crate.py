"""ro-crate-metadata.json of a bundle: the study's run for a machine, as a Provenance Run Crate.

RO-Crate 1.1 with the profiles Process, Workflow and Provenance Run Crate 0.5 (https://w3id.org/ro/wfrun/provenance/0.5)
and Workflow RO-Crate 1.0. The workflow is the Snakefile, a step of it is a stage, and an action is one job: what it
read, what it wrote, when. Jobs whose results are not packed (shards) are told too, or the way back would be cut off.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from arbitrage.config.study import Study
from arbitrage.publishing.check_records import with_parents
from arbitrage.publishing.jobs import Job, external_inputs
from arbitrage.publishing.licences import licence_words
from arbitrage.publishing.manifest import STUDY
from arbitrage.publishing.software import WORKFLOW, Software
from arbitrage.runtime.provenance import SUFFIX

CRATE = "ro-crate-metadata.json"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
MAIN = f"{WORKFLOW}/Snakefile"
LANGUAGE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
ENGINE = "https://snakemake.github.io"
TYPES = {".parquet": "application/x-parquet", ".smk": "text/x-python", ".md": "text/markdown", ".cff": "text/yaml"}
TYPES |= {".safetensors": "application/octet-stream", ".jinja": "text/plain", "": "text/plain"}
Entity = dict[str, Any]


@dataclass(frozen=True)
class PackedFile:
    """A file of a bundle: hash and bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Crate:
    """What is described. files: of the bundle, by name; directories: the results in it that are directories;
    snakemake: its version; doi: of the bundle, None where it has none."""

    study: Study
    files: Mapping[str, PackedFile]
    directories: Sequence[str]
    jobs: Sequence[Job]
    made_by: Software
    snakemake: str
    doi: str | None

    def content(self) -> dict[str, Any]:
        """The description as JSON-LD."""
        graph = [
            *self._root(),
            *self._workflow(),
            *self._run(),
            *(entity for number, job in enumerate(self.jobs) for entity in self._actions(number, job)),
            *(self._file(name) for name in self.files),
            *(self._directory(name) for name in self.directories),
            *self._not_packed(),
        ]
        contexts = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
        return {"@context": contexts, "@graph": [_compact(entity) for entity in graph]}

    def _root(self) -> Iterator[Entity]:
        about = [
            {"@id": "https://w3id.org/ro/crate/1.1"},
            {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"},
        ]
        yield {"@id": CRATE, "@type": "CreativeWork", "about": {"@id": "./"}, "conformsTo": about}
        inside = [name for name in self.files if not set(with_parents(name)) & set(self.directories)]
        address = f"https://doi.org/{self.doi}"
        yield {
            "@id": "./",
            "@type": "Dataset",
            "name": f"Results of the study {self.study.study}",
            "description": f"Tables, figures, routers and verdicts of a reproduction of {self.made_by.paper['title']} "
            f"({self.made_by.paper['url']}). Licence: {licence_words(self.study, self.made_by.license)}.",
            "datePublished": max(job.ended for job in self.jobs)[:10],
            "license": {"@id": self.made_by.license_url},
            "author": [{"@id": _author(name)} for name in self.made_by.authors],
            "citation": {"@id": self.made_by.paper["url"]},
            **({"identifier": address, "cite-as": address} if self.doi else {}),
            "conformsTo": [{"@id": profile} for profile in PROFILES],
            "mainEntity": {"@id": MAIN},
            "hasPart": [*map(_reference, inside), *({"@id": _directory_id(name)} for name in self.directories)],
            "mentions": [
                {"@id": "#run"},
                {"@id": "#engine-run"},
                *({"@id": _action(n)} for n in range(len(self.jobs))),
            ],
        }
        for profile, name in PROFILES.items():
            yield {"@id": profile, "@type": "CreativeWork", "name": name, "version": profile.rpartition("/")[2]}
        licence = {"@id": self.made_by.license_url, "@type": "CreativeWork", "name": self.made_by.license}
        yield licence | {"description": licence_words(self.study, self.made_by.license)}
        for name in self.made_by.authors:
            yield {"@id": _author(name), "@type": "Organization", "name": name}
        paper = self.made_by.paper
        yield {"@id": paper["url"], "@type": "ScholarlyArticle", "name": paper["title"]}

    def _workflow(self) -> Iterator[Entity]:
        """The language, and of each stage the tool that runs it and the step that calls the tool."""
        language = {"@id": LANGUAGE, "@type": "ComputerLanguage", "name": "Snakemake", "url": {"@id": ENGINE}}
        yield language | {"identifier": {"@id": ENGINE}}
        yield {"@id": ENGINE, "@type": "WebSite", "name": "Snakemake"}
        for position, stage in enumerate(self._stages):
            tool = {"@id": _tool(stage), "@type": "SoftwareApplication", "name": f"arbitrage {stage.replace('_', '-')}"}
            yield tool | {"version": self.made_by.version, **self._address}
            step = {"@id": _step(stage), "@type": "HowToStep", "name": stage, "position": str(position)}
            yield step | {"workExample": {"@id": _tool(stage)}}

    @property
    def _address(self) -> Entity:
        return {"url": self.made_by.url} if self.made_by.url else {}

    @property
    def _stages(self) -> list[str]:
        return list(dict.fromkeys(job.stage for job in self.jobs))

    def _run(self) -> Iterator[Entity]:
        """The whole run, and the engine's part in it."""
        times = {"startTime": min(job.started for job in self.jobs), "endTime": max(job.ended for job in self.jobs)}
        results = [name for job in self.jobs for name in job.outputs if self._is_packed(name)]
        yield {
            "@id": "#run",
            "@type": "CreateAction",
            "name": f"Run of the study {self.study.study}",
            "description": "All jobs, from questions to the summary; it may have been interrupted and taken up again",
            "instrument": {"@id": MAIN},
            "object": [_reference(STUDY), *map(self._entity, external_inputs(self.jobs))],
            "result": [*map(self._entity, results)],
            **times,
        }
        engine = {"@id": "#snakemake", "@type": "SoftwareApplication", "name": "Snakemake", "url": ENGINE}
        yield engine | {"softwareVersion": self.snakemake}
        yield {
            "@id": "#engine-run",
            "@type": "OrganizeAction",
            "name": f"Snakemake's run of the study {self.study.study}",
            "instrument": {"@id": "#snakemake"},
            "object": [{"@id": _control(number)} for number in range(len(self.jobs))],
            "result": {"@id": "#run"},
            **times,
        }

    def _actions(self, number: int, job: Job) -> Iterator[Entity]:
        yield {
            "@id": _action(number),
            "@type": "CreateAction",
            "name": f"{job.stage}: {', '.join(job.outputs)}",
            "description": job.command,
            "instrument": {"@id": _tool(job.stage)},
            "object": [*map(self._entity, job.inputs)],
            "result": [*map(self._entity, job.outputs)],
            "startTime": job.started,
            "endTime": job.ended,
        }
        control = {"@id": _control(number), "@type": "ControlAction", "name": f"Snakemake starts {job.stage}"}
        yield control | {"instrument": {"@id": _step(job.stage)}, "object": {"@id": _action(number)}}

    def _file(self, name: str) -> Entity:
        file = self.files[name]
        suffix = PurePosixPath(name).suffix
        told: Entity = {
            "@id": quote(name),
            "@type": "File",
            "name": name,
            "encodingFormat": TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream"),
            "contentSize": str(file.size),
            "sha256": file.sha256,
        }
        if name == MAIN:
            told |= self._main_workflow()
        if name == "README.md":
            told["about"] = {"@id": "./"}
        if name.endswith(SUFFIX):
            output = name.removesuffix(SUFFIX)
            told["about"] = {"@id": next(_action(n) for n, job in enumerate(self.jobs) if output in job.outputs)}
        return told

    def _main_workflow(self) -> Entity:
        doi = {"identifier": f"https://doi.org/{self.made_by.doi}"} if self.made_by.doi else {}
        return {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            "name": self.made_by.title,
            "version": self.made_by.version,
            "license": {"@id": self.made_by.license_url},
            "creator": [{"@id": _author(name)} for name in self.made_by.authors],
            "programmingLanguage": {"@id": LANGUAGE},
            "step": [{"@id": _step(stage)} for stage in self._stages],
            "hasPart": [{"@id": _tool(stage)} for stage in self._stages],
            **self._address,
            **doi,
        }

    def _directory(self, name: str) -> Entity:
        inside = [file for file in self.files if name in with_parents(file)]
        return {"@id": _directory_id(name), "@type": "Dataset", "name": name, "hasPart": [*map(_reference, inside)]}

    def _not_packed(self) -> Iterator[Entity]:
        """What jobs read or wrote and the bundle does not hold: shards, checkpoints, files of questions."""
        known = {name: sha256 for job in self.jobs for name, sha256 in (*job.inputs.items(), *job.outputs.items())}
        for name in sorted(known):
            if not self._is_packed(name):
                told = {"@id": self._entity(name)["@id"], "@type": "CreativeWork", "name": name}
                yield told | {"description": "Not in this bundle", "sha256": known[name]}

    def _is_packed(self, name: str) -> bool:
        return name in self.files or name in self.directories

    def _entity(self, name: str) -> Entity:
        """A reference to a path as records have it."""
        if name in self.directories:
            return {"@id": _directory_id(name)}
        return _reference(name) if name in self.files else {"@id": f"#not-packed/{quote(name)}"}


def _compact(entity: Entity) -> Entity:
    """An entity with lists of one value as that value, and without empty ones: so RO-Crate 1.1 recommends it."""
    told = {key: value[0] if isinstance(value, list) and len(value) == 1 else value for key, value in entity.items()}
    return {key: value for key, value in told.items() if value != []}


def _reference(name: str) -> Entity:
    return {"@id": quote(name)}


def _directory_id(name: str) -> str:
    return f"{quote(name)}/"


def _author(name: str) -> str:
    return f"#author-{quote(name)}"


def _tool(stage: str) -> str:
    return f"#arbitrage-{stage}"


def _step(stage: str) -> str:
    return f"#step-{stage}"


def _action(number: int) -> str:
    return f"#job-{number}"


def _control(number: int) -> str:
    return f"#start-of-job-{number}"
