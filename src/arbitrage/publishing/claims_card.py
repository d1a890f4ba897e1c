"""CLAIMS.md of a bundle: each claim of the paper with our value, and what it takes to get that again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arbitrage.config.study import Study
from arbitrage.figures.markdown import table
from arbitrage.publishing.jobs import Job, needed_for
from arbitrage.report.verdicts import Verdict
from arbitrage.runtime.progress import duration

CLAIMS = "CLAIMS.md"
SHOWN = re.compile(r"(Fig|Tab)\. ([A-Z]?)\.?(\d)")  # what a claim's text begins with


def claims_card(study: Study, verdicts: Sequence[Verdict], jobs: Sequence[Job], hardware: Mapping[str, Any]) -> str:
    """The text. verdicts: the summary's; jobs: all of the study's; hardware: of a provenance record."""
    machine = ", ".join([f"{hardware['cores']} cores of {hardware['cpu']}", *hardware["gpus"]])
    rows = [
        [
            one.evidence.text,
            one.evidence.ours,
            one.verdict,
            f"`{command(study, one.evidence.data)}`",
            ", ".join(f"`{name}`" for name in (one.evidence.data, *_shown_in(one.evidence.text))),
            _expected(needed_for(one.evidence.data, jobs)),
        ]
        for one in verdicts
    ]
    head = ["the paper's claim", "our value", "verdict", "command", "files", "time"]
    return (
        f"# Claims\n\nWhat the paper claims, what the study {study.study} finds, and how to find it again: in a "
        "checkout of the repository, with `study.json` of this bundle. Verdicts and values are those of `summary.md`, "
        "which says what each rests on.\n\n"
        f"{table(head, rows)}\n"
        f"Time is that of all jobs that the file rests on, added up, as measured on {machine}; jobs that do not wait "
        "for each other run side by side where there are cores. What the step store already held took none, and the "
        "start of each command is not in it.\n\n"
        "That the files of this bundle are those that were made then takes no model: "
        "`arbitrage verify <the bundle>`.\n"
    )


def command(study: Study, data: str) -> str:
    """What makes a file of the study, and all it rests on, from nothing; data: its path in the study's folder.

    The file comes first: after `--configfile` Snakemake would take it for another configuration.
    """
    return f"snakemake --cores all {(Path(study.folder) / data).as_posix()} --configfile study.json"


def _shown_in(text: str) -> list[str]:
    """The figure or table of ours that shows a claim on one of the paper's."""
    match = SHOWN.match(text)
    if match is None:
        return []
    kind, appendix, number = match.groups()
    return [f"figures/fig{appendix}{number}.pdf" if kind == "Fig" else f"tables/table{appendix}{number}.md"]


def _expected(jobs: Sequence[Job]) -> str:
    return f"{duration(sum(job.seconds for job in jobs))} in {len(jobs)} jobs"
