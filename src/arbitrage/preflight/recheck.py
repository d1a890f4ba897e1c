"""A study that has changed since it was checked is checked again, before the first of its jobs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from arbitrage.config.load import study_hash
from arbitrage.config.study import Study
from arbitrage.errors import UserError
from arbitrage.runtime.provenance import record_of


class NotReady(UserError, RuntimeError):  # noqa: N818 - named for what it says, as StudyBusy is
    """A changed study has a fault that would stop it; what, stands in the output of the check."""


def recheck(study: Study) -> None:
    """Run `arbitrage check` where the report in the study's folder is of another form of the study.

    The Snakefile calls it in its `onstart`: a rule that ran again would hide from Snakemake which other jobs the change
    concerns. Does nothing where there is no report yet, which is the rule's to make. Raises NotReady.
    """
    report = Path(study.folder) / "check.json"
    if not report.exists() or _checked(report) == study_hash(study):
        return
    command = ["arbitrage", "check", "--out", str(report)]
    if subprocess.run(command, check=False).returncode:  # noqa: S603
        raise NotReady(
            f"the study {study.study} has changed since it was checked, and is not ready to run as it is: see the "
            "faults above. Nothing was started, and what is finished is kept"
        )


def _checked(report: Path) -> str | None:
    """Hash of the study that the report is of; None where its record cannot tell."""
    try:
        return str(json.loads(record_of(report).read_text(encoding="utf-8"))["study_hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
