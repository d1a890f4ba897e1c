"""Branches and tags of the hub become commits, once a study: jobs of other days and machines read the same files.

The commits are kept in `<results>/<study>/.study/revisions.json`; without it the hub is asked anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from arbitrage.config.study import Study
from arbitrage.io.atomic import write_text

COMMIT = re.compile(r"[0-9a-f]{40}")
HUB_TIMEOUT_S = 10.0


class UnpinnedError(Exception):
    """A branch or tag whose commit nobody here can tell; the message says why."""


@dataclass(frozen=True)
class HubEntry:
    """A repository of the hub that a study reads. key: of its revision in the study."""

    key: tuple[str, ...]
    kind: Literal["model", "dataset"]
    name: str
    revision: str | None

    @property
    def moves(self) -> bool:
        """Whether the revision is a branch or tag, which may name another commit tomorrow."""
        return self.revision is not None and not COMMIT.fullmatch(self.revision)

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}"


def hub_entries(study: Study) -> Iterator[HubEntry]:
    """Everything that a study takes from the hub."""
    for name, model in study.models.items():
        if model.path and not Path(model.path).is_dir():
            yield HubEntry(("models", name, "revision"), "model", model.path, model.revision)
    if not Path(study.prm.path).is_dir():
        yield HubEntry(("prm", "revision"), "model", study.prm.path, study.prm.revision)
    if study.router.init and not Path(study.router.init).is_dir():
        yield HubEntry(("router", "revision"), "model", study.router.init, study.router.revision)
    if study.questions.source == "numina" and study.questions.path is None:
        yield HubEntry(("questions", "revision"), "dataset", study.questions.dataset, study.questions.revision)
    for name, benchmark in study.benchmarks.items():
        if benchmark.hub is not None and benchmark.path is None:
            yield HubEntry(("benchmarks", name, "revision"), "dataset", benchmark.hub, benchmark.revision)


def commit_of(entry: HubEntry) -> str:
    """The commit that a branch or tag is now, as the hub says, or else its cache. Raises UnpinnedError."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_CACHE

    cached = Path(HF_HUB_CACHE) / f"{entry.kind}s--{entry.name.replace('/', '--')}" / "refs" / str(entry.revision)
    try:
        info = HfApi().repo_info(entry.name, repo_type=entry.kind, revision=entry.revision, timeout=HUB_TIMEOUT_S)
    except Exception as error:  # the hub's client raises dozens of kinds
        if cached.is_file():
            return cached.read_text(encoding="utf-8").strip()
        raise UnpinnedError(f"{entry}: {type(error).__name__}: {str(error).partition(chr(10))[0]}") from error
    return str(info.sha)


def pinned(study: Study) -> tuple[Study, list[str]]:
    """`study` with commits instead of branches and tags, and a line for each whose commit cannot be told."""
    file = Path(study.folder) / ".study" / "revisions.json"
    known: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    found, untold = dict(known), []
    content = study.model_dump()
    for entry in hub_entries(study):
        if not entry.moves:
            continue
        name = f"{entry.kind} {entry}"
        try:
            found[name] = found.get(name) or commit_of(entry)
        except UnpinnedError as error:
            untold.append(f"{'.'.join(entry.key)}: {error}")
            continue
        section = content
        for part in entry.key[:-1]:
            section = section[part]
        section["revision"] = found[name]
    if found != known:
        write_text(file, json.dumps(found, indent=2) + "\n")
    return Study.model_validate(content), untold
