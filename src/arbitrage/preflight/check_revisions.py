"""Branches and tags in a study: what they are today, as a line to write into it."""

from __future__ import annotations

from collections.abc import Iterator

from arbitrage.config.revisions import UnpinnedError, commit_of, hub_entries
from arbitrage.config.study import Study
from arbitrage.preflight.findings import Finding


def revision_findings(study: Study) -> Iterator[Finding]:
    """A warning for each revision that is no commit."""
    for entry in hub_entries(study):
        if not entry.moves:
            continue
        subject = ".".join(entry.key)
        try:
            commit = commit_of(entry)
        except UnpinnedError as error:
            yield Finding(subject, "warning", f"a branch or tag, and nobody here knows its commit ({error})")
        else:
            yield Finding(
                subject,
                "warning",
                f"{entry} may be another tomorrow; a run pins it for its own results. To pin it for all: "
                f"`revision: {commit}`",
            )
