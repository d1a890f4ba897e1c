"""Do the descriptions of a bundle name what is in it? Files of croissant.json and ro-crate-metadata.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from arbitrage.publishing.crate import CRATE
from arbitrage.publishing.croissant import CROISSANT
from arbitrage.publishing.mismatches import Finding
from arbitrage.runtime.provenance import digest


def description_findings(folder: Path) -> Iterator[Finding]:
    """Files that a description names and that are missing, lead out of the bundle, or are not as it has them.

    A description that is not there is none of its findings: the manifest tells whether one should be.
    """
    for description, named_in in DESCRIPTIONS.items():
        if not (folder / description).is_file():
            continue
        try:
            named = named_in(json.loads((folder / description).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            yield Finding("broken", description, f"cannot be read ({type(error).__name__}: {error})")
            continue
        for name, sha256 in sorted(named.items()):
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                yield Finding("broken", description, f"names {name!r}, which leads out of the bundle")
            elif not path.exists():
                yield Finding("missing", name, f"{description} names it; unpack the bundle again")
            elif path.is_file() and digest(path) != sha256:
                yield Finding("changed", name, f"not as {description} has it")


def _in_croissant(content: Mapping[str, Any]) -> dict[str, str]:
    """sha256 of the files it names, by path."""
    return {file["contentUrl"]: file["sha256"] for file in content["distribution"]}


def _in_crate(content: Mapping[str, Any]) -> dict[str, str | None]:
    """sha256 of the files it says are in the bundle, by path; None of directories, whose files it names too."""
    named: dict[str, str | None] = {}
    for entity in content["@graph"]:
        kinds = entity["@type"] if isinstance(entity["@type"], list) else [entity["@type"]]
        if "File" in kinds or ("Dataset" in kinds and entity["@id"] != "./"):
            named[unquote(entity["@id"])] = entity.get("sha256")
    return named


DESCRIPTIONS: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, str | None]]] = {
    CROISSANT: _in_croissant,
    CRATE: _in_crate,
}
