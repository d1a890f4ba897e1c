"""The manifest of a bundle: the hash of each of its files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from arbitrage.publishing.mismatches import Finding
from arbitrage.runtime.provenance import digest

MANIFEST, STUDY = "manifest.json", "study.json"


def manifest_text(files: Mapping[str, str]) -> str:
    """The manifest: sha256 of every other file of the bundle by its name."""
    return json.dumps(dict(files), indent=1, sort_keys=True) + "\n"


def manifest_findings(folder: Path) -> Iterator[Finding]:
    """Files that are not as the manifest has them, or that it does not have."""
    try:
        listed = dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        yield Finding("broken", MANIFEST, f"cannot be read ({error})")
        return
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    for name in sorted(there | set(listed)):
        if name not in listed:
            yield Finding("foreign", name, "the manifest does not have it")
        elif name not in there:
            yield Finding("missing", name, "the manifest has it; unpack the bundle again")
        elif digest(folder / name) != listed[name]:
            yield Finding("changed", name, "not as it was when the bundle was packed")
