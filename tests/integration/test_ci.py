"""The hosted checks run the same commands as a developer, with actions that nobody can change under us."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=[file.name for file in WORKFLOWS])
def test_actions_are_pinned_by_commit_with_their_version_beside_it(workflow: Path) -> None:
    used = re.findall(r"uses: (.+)", workflow.read_text())
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+", line)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=[file.name for file in WORKFLOWS])
def test_every_job_has_a_time_limit_and_may_only_read(workflow: Path) -> None:
    content = yaml.safe_load(workflow.read_text())
    assert content["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 60 for job in content["jobs"].values())


def test_the_hosted_checks_are_those_of_the_local_script_the_smoke_study_and_the_site_and_exist() -> None:
    runs = [step["run"] for workflow in WORKFLOWS for step in steps(workflow) if "run" in step]
    hosted = {target for run in runs for target in re.findall(r"^make ([a-z-]+)$", run, re.MULTILINE)}
    (local,) = re.findall(r"^for target in ([a-z -]+); do", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert hosted == {*local.split(), "smoke", "docs-site"} <= TARGETS
