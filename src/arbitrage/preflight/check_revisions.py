"""Hub repositories without a commit: what they are today, as a line to write into the study."""

from __future__ import annotations

from collections.abc import Iterator

from arbitrage.config.revisions import HUB_ID, UnresolvedError, commit_of, hub_entries
from arbitrage.config.study import Study
from arbitrage.preflight.findings import Finding


def revision_findings(study: Study) -> Iterator[Finding]:
    """A fault for each repository whose revision is no commit, with the line that pins it.

    Not for a path that is no hub id, which `check_hub` names. A branch whose commit a lock file beside the study has is
    a commit by now (`load.locked`).
    """
    for entry in hub_entries(study):
        if entry.is_pinned or not HUB_ID.fullmatch(entry.name):
            continue
        subject = ".".join(entry.key)
        try:
            line = f"`revision: {commit_of(entry)}`"
        except UnresolvedError as error:
            yield Finding(subject, "fault", f"no commit, and none can be resolved here ({error}): write one down")
        else:
            yield Finding(
                subject,
                "fault",
                f"{entry} may be another tomorrow; pin it: {line}, or run `arbitrage fetch`, which writes its commit "
                "into a lock file beside the study",
            )
