"""The provenance records of a study's folder, and the study they tell of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from arbitrage.config.load import ConfigError, read_resolved
from arbitrage.config.study import Study
from arbitrage.publishing.manifest import MANIFEST, STUDY
from arbitrage.publishing.mismatches import Finding, VerifyError
from arbitrage.runtime.provenance import SUFFIX

WORKING = ("logs", "timings", "zoo")  # folders that hold no results; as do hidden ones
NEEDED = ("output", "sha256", "study", "study_hash", "inputs", "settings", "code", "ended")


@dataclass(frozen=True)
class Records:
    """Records by the path of their result, relative to the folder; findings on those that cannot be read."""

    by_result: Mapping[str, Mapping[str, Any]]
    findings: list[Finding]


def read_records(folder: Path) -> Records:
    """All provenance records below `folder`."""
    by_result: dict[str, Mapping[str, Any]] = {}
    findings = []
    for path in result_files(folder):
        if not path.name.endswith(SUFFIX):
            continue
        result = path.relative_to(folder).as_posix().removesuffix(SUFFIX)
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            missing = [key for key in NEEDED if key not in record]
        except (OSError, ValueError, TypeError) as error:
            findings.append(Finding("broken", result, f"its provenance record cannot be read ({error})"))
            continue
        if missing:
            findings.append(Finding("broken", result, f"its provenance record lacks {', '.join(missing)}"))
        else:
            by_result[result] = record
    return Records(by_result, findings)


def result_files(folder: Path) -> Iterator[Path]:
    """Every file of the study's folder that may be a result, sorted: neither hidden ones nor logs."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and parts[0] not in WORKING and not any(part.startswith(".") for part in parts):
            yield path


def study_of(folder: Path, records: Records) -> Study:
    """The study whose results are in `folder`: a bundle's own, or the one its newest result was made by.

    Raises VerifyError where there is no result, ConfigError where its study cannot be read.
    """
    if is_bundle(folder):
        try:
            return Study.model_validate_json((folder / STUDY).read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError([f"{folder / STUDY}: not a study of this version ({reason})"]) from error
    if not records.by_result:
        raise VerifyError(
            f"{folder}: no provenance record; expected the results of a study (results/<study>), "
            "a bundle of `arbitrage export`, or the folder it was unpacked to"
        )
    newest = max(records.by_result.values(), key=lambda record: str(record["ended"]))
    return read_resolved(folder / ".study" / f"{newest['study_hash']}.json")


def is_bundle(folder: Path) -> bool:
    """Whether `folder` is an unpacked bundle."""
    return (folder / MANIFEST).is_file()


def with_parents(name: str) -> list[str]:
    """A path and the directories that it lies in, the nearest first."""
    return [name, *(parent.as_posix() for parent in PurePosixPath(name).parents)]


def named_code(code: Mapping[str, Any]) -> str:
    """A record's code version in words."""
    commit = f", commit {code['commit'][:12]}" if code.get("commit") else ""
    modified = f", modified (sources {code['sources'][:8]})" if code.get("modified") else ""
    return f"{code['version']}{commit}{modified}"
