"""What the Snakefile calls: open a study, and what comes before the first of its jobs and after the last.

An error that a user can mend ends Snakemake with its message alone: a WorkflowError would come with a traceback.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from arbitrage.config import load
from arbitrage.config.study import Study
from arbitrage.errors import UserError
from arbitrage.runtime import gpus, locks
from arbitrage.runtime.paths import StudyPaths

AFTER_ERROR = (
    "Ended early; what is finished is kept. If a job failed, its log, named above, says why. The same command goes on "
    "from here."
)


class NotReady(UserError, RuntimeError):  # noqa: N818 - named for what it says, as StudyBusy is
    """A study with an error that would stop it; the output of the check says which."""


def open_study(config: Mapping[str, Any], workflow: Any, models_exist: bool = True) -> Study:
    """The study in Snakemake's `config`, checked, and announced to the commands of its jobs.

    models_exist: False where the workflow makes the very models that the study names.
    """
    with _in_one_line():
        load.require_strict_yaml(workflow.configfiles)  # Snakemake has read them itself, and less strictly
        study = load.validate_config(config, workflow.config_settings.config)
        study = load.locked(study, workflow.configfiles)
        if models_exist:
            load.require_sources(study)
        load.announce(study)
        return study


def count_gpus(study: Study, workflow: Any) -> None:
    """Tell Snakemake how many GPUs this machine has, so that no job starts only to wait for one.

    Not where `--resources gpu=2` says it, where a cluster's scheduler hands them out, or where jobs share them.
    """
    on_this_machine = workflow.is_main_process and workflow.resource_settings.nodes is None
    if on_this_machine and not study.resources.share_gpus and "gpu" not in workflow.resource_settings.resources:
        present = gpus.visible()
        if present:
            workflow.register_resource("gpu", len(present))


def lock(study: Study) -> None:
    """Make this process the study's only run."""
    with _in_one_line():
        locks.guard_study(StudyPaths.of(study).folder)


def start(study: Study) -> None:
    """Make this process the study's only run, and look for what would stop it before its first job does.

    A study is checked once, and again when it has changed, in a process of its own: the libraries of models stay out of
    Snakemake's. Where they are not installed beside it (`--sdm conda` gives each job its own) nothing is checked.
    """
    lock(study)
    checked = load.resolved_path(study).with_suffix(".checked")
    if checked.exists():
        return
    if find_spec("transformers") is None:
        with _in_one_line():
            load.require_commits(study)
        print("Not checked: transformers is not installed beside Snakemake (docs/studies.md)", file=sys.stderr)
        return
    command = ["arbitrage", "check", "--study", str(load.resolved_path(study))]
    with _in_one_line():
        if subprocess.run(command, check=False).returncode:  # noqa: S603
            raise NotReady(
                f"the study {study.study} is not ready to run: see the errors above. Nothing was started, and what is "
                "finished is kept"
            )
    checked.touch()


def after_success(study: Study) -> str:
    """Where to look first."""
    paths = StudyPaths.of(study)
    if not paths.summary.exists():
        return f"Finished; the results are in {paths.folder}."
    return (
        f"Start with {paths.summary}; figures are in {paths.figure('fig4', 'pdf').parent}. To check them: arbitrage "
        f"verify {paths.folder}"
    )


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise SystemExit(str(error)) from None
