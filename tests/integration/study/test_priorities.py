"""What the sweep waits for comes before what it does not: priorities of rules, as Snakemake has read them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.study.conftest import ROOT, environment

pytestmark = pytest.mark.study

# For each file: the rule that makes it, and that rule's priority.
ASK = """
import json, sys
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, OutputSettings, ResourceSettings
with SnakemakeApi(OutputSettings()) as api:
    study = ConfigSettings(config={"results": sys.argv[1]}, configfiles=[Path("config.yaml")])
    workflow = api.workflow(ResourceSettings(cores=1), study, snakefile=Path("Snakefile"))._workflow
    made = {}
    for file in sys.argv[2:]:
        rules = [rule for rule in workflow.rules if rule.is_producer(file)]
        best = max(rules, key=lambda rule: sum(workflow._ruleorder.compare(rule, other) for other in rules))
        made[file] = [best.name, best.priority]
    print(json.dumps(made))
"""


def test_routers_that_decide_are_trained_before_ablations(tmp_path: Path) -> None:
    deciding, ablation = (f"{tmp_path}/lab/router/small/{variant}/seed-0/model" for variant in ("default", "ten-class"))
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(tmp_path), deciding, ablation],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    made = json.loads(done.stdout.splitlines()[-1])
    assert made == {deciding: ["deciding_router", 1], ablation: ["router", 0]}
