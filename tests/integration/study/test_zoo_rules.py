"""`make zoo`, tiny: it needs no models, leaves cards and records, and trains again only what a key changes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from arbitrage.lab.zoo_cards import JUDGES, ROLES
from arbitrage.runtime.provenance import digest
from tests.integration.study.conftest import ROOT, environment

pytestmark = pytest.mark.study
ZOO_RULES = ("--snakefile", "rules/zoo.smk")
LENGTH = {"steps": 2, "tokens_per_batch": 256}
SIZE = {"width": 16, "layers": 1, "heads": 4, "inner": 96, **LENGTH}
JUDGE = {"rank": 6, "new_layers": 1, **LENGTH}
ZOO: dict[str, Any] = {
    "tokenizer_questions": 200,
    "evaluation_questions": 2,
    "low_bits": [3],
    "low_bit_group_size": 16,
    "draft": SIZE,
    "base": SIZE,
    "target": {"layers": 2, **LENGTH},
    "solutions": {"questions": 2, "held_out": 2},
    "prm": JUDGE,
    "router_base": SIZE,
    **dict.fromkeys(("router_start", "prm_middle", "prm_weak"), JUDGE),
}


def snakemake(results: Path, *arguments: str, **zoo: object) -> subprocess.CompletedProcess[str]:
    """Run Snakemake on the lab where its models are missing, with the changes to its zoo."""
    config = {"models": {"draft": {"path": "/nowhere"}}, "prm": {"path": "/no/prm"}, "zoo": ZOO | zoo}
    written = [f"{key}={yaml.safe_dump(value, default_flow_style=True, width=999)}" for key, value in config.items()]
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]
    command += ["--config", f"results={results}", *written]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo") / "results"
    done = snakemake(folder, *ZOO_RULES)
    assert done.returncode == 0, done.stderr[-6000:]
    return folder


@pytest.mark.timeout(700)
def test_every_model_has_a_card_and_a_record(results: Path) -> None:
    zoo = results / "lab" / "zoo"
    for role in ROLES:
        record = json.loads((zoo / f"{role}.provenance.json").read_text())
        assert record["sha256"] == digest(zoo / role) and record["settings"][f"zoo.{role}"]["steps"] == 2
        assert "steps: 2" in (zoo / role / "README.md").read_text()
    assert json.loads((zoo / "metrics.json").read_text())["questions_per_benchmark"] == 2


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({}, set()),
        ({"evaluation_questions": 3}, {"zoo_metrics"}),
        ({"router_start": JUDGE | {"steps": 3}}, {"zoo_judge", "zoo_metrics"}),
        ({"target": ZOO["target"] | {"steps": 3}}, {"zoo_target", "zoo_solutions", "zoo_judge", "zoo_metrics"}),
        ({"draft": SIZE | {"steps": 3}}, {"zoo_model", "zoo_solutions", "zoo_judge", "zoo_metrics"}),
    ],
)
@pytest.mark.timeout(700)
def test_a_changed_key_trains_again_what_reads_it(results: Path, changes: dict[str, object], again: set[str]) -> None:
    planned = snakemake(results, *ZOO_RULES, "--dry-run", **changes)
    assert planned.returncode == 0, planned.stderr[-2000:]
    counted = {line.split()[0]: line.split()[-1] for line in planned.stdout.splitlines() if line.startswith("zoo")}
    judges = str(len(JUDGES)) if "zoo_solutions" in again else "1"
    assert counted == {rule: judges if rule == "zoo_judge" else "1" for rule in again}


def test_a_study_still_needs_its_models(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "--dry-run")
    assert done.returncode != 0
    printed = done.stdout + done.stderr
    assert "models.draft.path" in printed and "prm.path" in printed
