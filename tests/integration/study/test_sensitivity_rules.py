"""`make sensitivity`: its studies are ones that Snakemake can plan, each with the models that it is to have."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from tests.integration.study.conftest import ROOT, environment

pytestmark = pytest.mark.study


def snakemake(*arguments: str) -> str:
    """What Snakemake says; its failure is the test's."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-6000:]
    return done.stdout + done.stderr


def nested(said: str) -> list[list[str]]:
    """The commands that call Snakemake, as words, once each; what follows a pipe is left out."""
    lines = {line.split("Shell command: ")[1] for line in said.splitlines() if "Shell command: snakemake " in line}
    return [shlex.split(line.split(" 2>&1 ")[0])[1:] for line in sorted(lines)]


@pytest.mark.timeout(400)
def test_every_prm_has_a_study_of_its_own() -> None:
    commands = nested(snakemake("--snakefile", "rules/sensitivity.smk", "--forceall", "--printshellcmds"))
    assert len(commands) == 3
    said = snakemake(*[word for word in commands[0] if word not in ("--cores", "1")])
    assert "sensitivity-prm" in said and "router" in said


@pytest.mark.timeout(400)
def test_every_seed_trains_its_zoo_before_its_study() -> None:
    said = snakemake("--snakefile", "rules/sensitivity.smk", "--forceall", "--printshellcmds", "seeds")
    trainings = [words for words in nested(said) if "rules/zoo.smk" in words]
    assert len(trainings) == 3 and len(nested(said)) == 6
    planned = snakemake(*[word for word in trainings[0] if word not in ("--cores", "1")])
    assert "results/zoo-seed-1/zoo/draft" in planned
