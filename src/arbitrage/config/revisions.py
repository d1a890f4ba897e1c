"""What a study takes from the hub, and the commit that a branch is today.

Every repository is pinned to a commit: jobs of other days and machines read the same files. The commits of branches
that a study names are written into a lock file beside it (`arbitrage fetch`), and read from there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from arbitrage.config.study import Study
from arbitrage.errors import UserError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
COMMIT = re.compile(r"[0-9a-f]{40}")
HUB_TIMEOUT_S = 10.0


class UnresolvedError(UserError):
    """A branch or tag whose commit cannot be resolved here; the message says why."""


@dataclass(frozen=True)
class HubEntry:
    """A repository of the hub that a study reads. key: of its revision in the study."""

    key: tuple[str, ...]
    kind: Literal["model", "dataset"]
    name: str
    revision: str | None

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit: a branch or tag may name another one tomorrow."""
        return self.revision is not None and COMMIT.fullmatch(self.revision) is not None

    @property
    def file_name(self) -> str:
        """A name for files about it: `model--owner--name@commit`."""
        return f"{self.kind}--{self.name.replace('/', '--')}@{self.revision or 'main'}".replace("/", "--")

    @property
    def lock_key(self) -> str:
        """What its commit stands under in a lock file: `model owner/name@main`."""
        return f"{self.kind} {self.name}@{self.revision or 'main'}"

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name


def is_directory(path: str) -> bool:
    """Whether a directory is at `path`; a text that no path can be names none."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def hub_entries(study: Study) -> Iterator[HubEntry]:
    """Everything that a study takes from the hub."""
    for name, model in study.models.items():
        if model.path and not is_directory(model.path):
            yield HubEntry(("models", name, "revision"), "model", model.path, model.revision)
    if not is_directory(study.prm.path):
        yield HubEntry(("prm", "revision"), "model", study.prm.path, study.prm.revision)
    if study.router.init and not is_directory(study.router.init):
        yield HubEntry(("router", "revision"), "model", study.router.init, study.router.revision)
    if study.questions.hub is not None:
        yield HubEntry(("questions", "revision"), "dataset", study.questions.hub, study.questions.revision)
    for name, benchmark in study.benchmarks.items():
        if benchmark.hub is not None:
            yield HubEntry(("benchmarks", name, "revision"), "dataset", benchmark.hub, benchmark.revision)


def commit_of(entry: HubEntry) -> str:
    """The commit that a branch or tag is now, `main` where none is named; as the hub says, or else its cache.

    Raises UnresolvedError.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_CACHE

    cached = (
        Path(HF_HUB_CACHE) / f"{entry.kind}s--{entry.name.replace('/', '--')}" / "refs" / (entry.revision or "main")
    )
    try:
        info = HfApi().repo_info(entry.name, repo_type=entry.kind, revision=entry.revision, timeout=HUB_TIMEOUT_S)
    except Exception as error:  # the hub's client raises dozens of kinds
        if cached.is_file():
            return cached.read_text(encoding="utf-8").strip()
        raise UnresolvedError(f"{entry}: {type(error).__name__}: {str(error).partition(chr(10))[0]}") from error
    return str(info.sha)


def lock_file(study_file: Path) -> Path:
    """Where the commits of a study's branches are kept: `llama3-1b-8b.lock.json` beside `llama3-1b-8b.yaml`."""
    return study_file.with_suffix(".lock.json")


def read_lock(file: Path) -> dict[str, str]:
    """The commits in a lock file, by `HubEntry.lock_key`; none where there is no file. Raises ValueError."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{file}: no JSON ({error}); delete it and run `arbitrage fetch` again") from error
    if not isinstance(content, dict) or not all(COMMIT.fullmatch(str(commit)) for commit in content.values()):
        raise ValueError(f"{file}: expected commits of 40 digits by name; delete it and run `arbitrage fetch` again")
    return content


def with_commits(study: Study, commits: Mapping[str, str]) -> Study:
    """The study with those of its branches that `commits` has (by `HubEntry.lock_key`) as commits."""
    moving = [entry for entry in hub_entries(study) if not entry.is_pinned and entry.lock_key in commits]
    if not moving:
        return study
    content = study.model_dump()
    for entry in moving:
        section = content
        for key in entry.key[:-1]:
            section = section[key]
        section[entry.key[-1]] = commits[entry.lock_key]
    return Study.model_validate(content)
