"""Are the results in a study's folder what they say? Hashes, provenance and schemas.

    verify(Path("results/lab"))

Every result the study should have is looked for; its bytes are compared with its record, its inputs with theirs, and
the settings it was made with with the study's. One finding names one cause: a file that has changed is not reported
again by everything made from it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from arbitrage.config.study import Study
from arbitrage.publishing.check_descriptions import description_findings
from arbitrage.publishing.check_records import (
    Records,
    is_bundle,
    named_code,
    read_records,
    result_files,
    study_of,
    with_parents,
)
from arbitrage.publishing.check_schemas import schema_findings
from arbitrage.publishing.manifest import manifest_findings
from arbitrage.publishing.mismatches import Finding
from arbitrage.runtime.outputs import Result, results
from arbitrage.runtime.provenance import SUFFIX, code_version, digest

NAMED = 5  # results that were never made: so many are named one by one


def verify(folder: Path, study: Study | None = None) -> list[Finding]:
    """All findings on the results in `folder`, or on an unpacked bundle; none where everything is as it should be.

    study: the study they should be of; absent: the one the newest result was made by. Raises VerifyError where there
    are no results, ConfigError where their study cannot be read.
    """
    bundle = is_bundle(folder)
    records = read_records(folder)
    findings = [*records.findings, *(manifest_findings(folder) if bundle else ())]
    if bundle:
        known = {finding.subject for finding in findings}
        findings += [finding for finding in description_findings(folder) if finding.subject not in known]
    study = study or study_of(folder, records)
    due = [result for result in results(study) if result.published or not bundle]
    settled = {name for finding in findings for name in with_parents(finding.subject)}
    unmade = [result for result in due if not (folder / result.path).exists() and result.path not in records.by_result]
    for result in due:
        if result.path not in settled and result not in unmade:
            findings += _of_result(folder, result, records, study, bundle)
    findings += _of_unmade([result.path for result in unmade if result.path not in settled], len(due))
    if not bundle:  # there the manifest tells what is not part of it
        findings += _left_over(folder, {result.path for result in due}, records)
    faulty = {finding.subject for finding in findings}
    faulty |= {result.path for result in unmade}
    findings += schema_findings(folder, [result for result in due if result.path not in faulty])
    return [*findings, *_of_code(records)]


def _of_result(folder: Path, result: Result, records: Records, study: Study, bundle: bool) -> Iterator[Finding]:
    path, record = folder / result.path, records.by_result.get(result.path)
    if not path.exists():
        yield Finding("missing", result.path, "has a provenance record, but is gone; run the study again")
    elif record is None:
        yield Finding("foreign", result.path, "no provenance record beside it, so nothing says what made it")
    elif record["output"] != result.path:
        yield Finding("foreign", result.path, f"the record beside it is of {record['output']}")
    elif record["study"] != study.study:
        yield Finding("foreign", result.path, f"made by the study {record['study']!r}, this is {study.study!r}")
    else:
        if (now := digest(path)) != record["sha256"]:
            was = record["sha256"]
            yield Finding("changed", result.path, f"sha256 {now[:12]}..., when it was made {was[:12]}...")
        for name, was in record["inputs"].items():
            if _current(folder, name, records, bundle) not in (None, was):
                yield Finding("stale", result.path, f"its input {name} has changed since")
        for key, was in record["settings"].items():
            if difference := _difference(key, was, _setting(study, key)):
                yield Finding("stale", result.path, difference)


def _of_unmade(paths: list[str], due: int) -> Iterator[Finding]:
    """Results that nothing says were ever made: all of them in one line where a run is on its way, or has stopped."""
    if len(paths) <= NAMED:
        for path in paths:
            yield Finding("missing", path, "the study makes it, but it is not here; run the study again")
    else:
        detail = f"not made yet, {paths[0]} among them; wait for the run, or run the study again"
        yield Finding("missing", f"{len(paths)} of {due} results", detail)


def _current(folder: Path, name: str, records: Records, bundle: bool) -> str | None:
    """Hash of an input as it should be now: by its own record where it has one; None where it is not here."""
    if name in records.by_result:
        return str(records.by_result[name]["sha256"])
    here = next((path for path in (folder / name, Path(name)) if path.exists()), None)
    return None if here is None or bundle else digest(here)


def _setting(study: Study, key: str) -> Any:
    """The study's value at a dotted key, as JSON has it; None where the study has no such key."""
    try:
        return json.loads(json.dumps(study.reads(key)[key]))
    except (AttributeError, KeyError):
        return None


def _difference(key: str, was: Any, now: Any) -> str | None:
    """The first difference below `key`, in words. A key that is new since says nothing: its default is as before."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        return next(filter(None, (_difference(f"{key}.{name}", was[name], now.get(name)) for name in was)), None)
    return None if was == now else f"made with {key} {json.dumps(was)}; the study has {json.dumps(now)}"


def _left_over(folder: Path, due: set[str], records: Records) -> Iterator[Finding]:
    """Files, and directories with a record, that the study does not make; records whose result is gone."""
    reported: set[str] = set()
    for file in result_files(folder):
        name = file.relative_to(folder).as_posix().removesuffix(SUFFIX)
        owners = with_parents(name)
        if due & set(owners) or reported & set(owners):
            continue
        owner = next((owner for owner in owners if owner in records.by_result), None)
        reported.add(owner or name)
        if owner is None:
            yield Finding("foreign", name, "no provenance record, and the study makes no such file; take it away")
        elif (folder / owner).exists():
            yield Finding("foreign", owner, "left over: the study as it is does not make it; take it away")
        else:
            yield Finding("missing", owner, "has a provenance record, but is gone; take the record away too")


def _of_code(records: Records) -> Iterator[Finding]:
    here = code_version()
    versions = Counter(
        json.dumps(record["code"], sort_keys=True)
        for record in records.by_result.values()
        if record["code"].get("sources") != here["sources"]
    )
    for text, count in versions.most_common():
        yield Finding("code", f"{count} results", f"made by {named_code(json.loads(text))}; here is {named_code(here)}")
