"""Do the descriptions of a bundle name what is in it? Files of croissant.json and ro-crate-metadata.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from arbitrage.publishing import crate, croissant
from arbitrage.publishing.mismatches import Finding
from arbitrage.runtime.provenance import digest

DESCRIPTIONS: dict[str, Callable[[Mapping[str, Any]], Mapping[str, str | None]]] = {
    croissant.CROISSANT: croissant.named_files,
    crate.CRATE: crate.named_files,
}


def description_findings(folder: Path) -> Iterator[Finding]:
    """Files that a description names and that are missing, lead out of the bundle, or are not as it has them.

    A description that is not there is none of its findings: the manifest tells whether one should be.
    """
    for description, named_files in DESCRIPTIONS.items():
        if not (folder / description).is_file():
            continue
        try:
            named = named_files(json.loads((folder / description).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            yield Finding(
                "broken", description, f"cannot be read as what it should be ({type(error).__name__}: {error})"
            )
            continue
        for name, sha256 in sorted(named.items()):
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                yield Finding("broken", description, f"names {name!r}, which leads out of the bundle")
            elif not path.exists():
                yield Finding("missing", name, f"{description} names it; unpack the bundle again")
            elif sha256 is not None and path.is_file() and digest(path) != sha256:
                yield Finding("changed", name, f"not as {description} has it")
