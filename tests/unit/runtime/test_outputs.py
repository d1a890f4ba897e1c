"""What verify looks for is what the rules make."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jinja2 import StrictUndefined, Template

from arbitrage.config.load import load_study
from arbitrage.config.revisions import hub_entries
from arbitrage.runtime.outputs import FIGURES, TABLES, results

ROOT = Path(__file__).resolve().parents[3]


AHEAD = {"router": {"variants": {"ahead": {"kind": "scalars", "labels": "lookahead"}, "probe": {"kind": "probe"}}}}


@pytest.mark.parametrize(
    ("name", "changes"), [("lab-full", AHEAD), ("llama3-4bit-8b-8b", {})]
)  # the second: GPTQ, a value head, many shards
def test_the_results_of_a_study_are_the_outputs_of_its_rules(
    name: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    file = f"studies/{name}.yaml"
    listing = [sys.executable, "-m", "snakemake", "--cores", "1", "--summary"]
    words = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    done = subprocess.run(
        [*listing, "--configfile", file, "--config", f"results={tmp_path}", *words],
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    made = {line.split("\t")[0] for line in done.stdout.splitlines()[1:]}
    study = load_study([ROOT / file], {"results": str(tmp_path), **changes})
    notes = {path for path in made if "/.study/fetched/" in path}  # that a repository of the hub is in its cache
    assert {Path(path).stem for path in notes} == {entry.file_name for entry in hub_entries(study)}
    made -= notes
    assert made == {f"{study.folder}/{result.path}" for result in results(study)}


def test_whatever_snakemakes_report_shows_has_a_caption_that_says_what_it_is() -> None:
    rules = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    marked = re.findall(r"= ?report\(|\n +report\(", rules)
    captions = re.findall(r'caption="\.\./(report/\w+\.rst)"', rules)
    assert len(captions) == len(marked) > 3
    reads = {"curves.confidence": 0.95}
    for wildcard, names in (("figure", FIGURES), ("table", TABLES)):
        template = Template((ROOT / f"report/{wildcard}.rst").read_text(), undefined=StrictUndefined)
        shown = {
            template.render(snakemake={"wildcards": {wildcard: name}, "params": {"reads": reads}}) for name in names
        }
        assert len(shown) == len(names) and all("(paper, " in text for text in shown)
