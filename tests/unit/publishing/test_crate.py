"""ro-crate-metadata.json: the way from questions to curves, as RO-Crate's profiles for workflow runs have it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from arbitrage.publishing.check_descriptions import description_findings
from arbitrage.publishing.crate import CRATE, MAIN, Crate, PackedFile
from arbitrage.publishing.croissant import CROISSANT, croissant
from arbitrage.publishing.software import checkout, workflow_files
from arbitrage.runtime.provenance import digest
from tests.unit.publishing.conftest import DATASET, RECORDS, SHARD, Results

ROOT = Path(__file__).resolve().parents[3]
VALIDATOR = ROOT / ".venv" / "ro-crate" / "bin" / "python"  # as `make test-all` installs it
CHECK = ROOT / "tests" / "support" / "crate_check.py"


@pytest.fixture
def bundle(results: Results) -> Path:
    """The results with the workflow, a few records and the two descriptions beside them."""
    folder = results.folder
    for name, file in workflow_files(checkout()).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / name)
    (folder / "study.json").write_text("{}")
    (folder / "steps/small.parquet.provenance.json").write_text("{}")
    content = croissant(results.study, results.tables, results.jobs, results.made_by, None)
    (folder / CROISSANT).write_text(json.dumps(content))
    files = {
        path.relative_to(folder).as_posix(): PackedFile(digest(path), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    crate = Crate(results.study, files, [DATASET], results.jobs, results.made_by, "9.27.1", "10.5281/zenodo.1")
    (folder / CRATE).write_text(json.dumps(crate.content()))
    return folder


def entities(bundle: Path) -> dict[str, dict[str, Any]]:
    graph = json.loads((bundle / CRATE).read_text())["@graph"]
    assert len({entity["@id"] for entity in graph}) == len(graph)
    return {entity["@id"]: entity for entity in graph}


def ids(value: Any) -> list[str]:
    return [each["@id"] for each in (value if isinstance(value, list) else [value])]


def test_every_reference_leads_to_an_entity(bundle: Path) -> None:
    known = entities(bundle)
    named = {
        each["@id"]
        for entity in known.values()
        for key, value in entity.items()
        if key != "conformsTo" or entity["@id"] == "./"  # the specification of RO-Crate itself is none of ours
        for each in (value if isinstance(value, list) else [value])
        if isinstance(each, dict)
    }
    assert named - set(known) == set()


def test_a_job_leads_from_what_it_read_to_what_it_wrote(bundle: Path) -> None:
    known = entities(bundle)
    (sweep,) = [entity for entity in known.values() if entity.get("name", "").startswith("sweep:")]
    assert sweep["startTime"] == "2026-01-02T03:06:00+00:00"
    assert ids(sweep["result"]) == ["trajectories/small/lab500.parquet"]
    (label,) = [entity for entity in known.values() if entity.get("name", "").startswith("label:")]
    assert ids(label["result"]) == [f"#not-packed/{SHARD}"]  # told all the same: steps/small.parquet is made of it
    assert known[f"#not-packed/{SHARD}"]["sha256"] == f"sha of {SHARD}"
    (step,) = [entity["@id"] for entity in known.values() if entity.get("object") == {"@id": label["@id"]}]
    assert known[known[step]["instrument"]["@id"]]["name"] == "label"


def test_the_run_leads_from_the_study_to_its_results_and_its_workflow(bundle: Path) -> None:
    known = entities(bundle)
    run = known["#run"]
    assert run["instrument"] == {"@id": MAIN} == known["./"]["mainEntity"]
    assert set(ids(run["object"])) == {"study.json", "#not-packed/models/of/mine"}
    assert f"{DATASET}/" in ids(run["result"])
    assert len(known["#engine-run"]["object"]) == len(RECORDS) - 1  # two of them are of one job
    assert known["./"]["identifier"] == "https://doi.org/10.5281/zenodo.1"


def test_files_are_told_with_their_hashes_and_directories_with_their_files(bundle: Path) -> None:
    known = entities(bundle)
    assert known["steps/small.parquet"]["sha256"] == digest(bundle / "steps/small.parquet")
    assert ids(known[f"{DATASET}/"]["hasPart"]) == [f"{DATASET}/train.parquet", f"{DATASET}/validation.parquet"]
    assert not {f"{DATASET}/train.parquet"} & set(ids(known["./"]["hasPart"]))
    assert known["steps/small.parquet.provenance.json"]["about"] in [
        {"@id": each["@id"]} for each in known.values() if each.get("name", "").startswith("steps: ")
    ]


def test_a_bundle_whose_descriptions_hold_has_no_findings(bundle: Path) -> None:
    assert list(description_findings(bundle)) == []


def test_what_a_description_names_is_compared_with_what_is_there(bundle: Path) -> None:
    (bundle / "steps/small.parquet").write_bytes(b"other")
    (bundle / f"{DATASET}/train.parquet").unlink()
    found = {(finding.kind, finding.subject, finding.detail.split()[0]) for finding in description_findings(bundle)}
    assert found == {
        ("changed", "steps/small.parquet", "not"),
        ("missing", f"{DATASET}/train.parquet", CROISSANT),
        ("missing", f"{DATASET}/train.parquet", CRATE),
    }


@pytest.mark.parametrize("text", ["{", "[]", '{"distribution": [{"name": "x"}]}'])
def test_a_description_that_is_none_is_broken(bundle: Path, text: str) -> None:
    (bundle / CRATE).unlink()  # which knows the hash of the other one
    (bundle / CROISSANT).write_text(text)
    (finding,) = description_findings(bundle)
    assert (finding.kind, finding.subject) == ("broken", CROISSANT)


def test_a_description_does_not_lead_out_of_the_bundle(bundle: Path) -> None:
    (bundle / CRATE).unlink()
    (bundle.parent / "outside").write_text("x")
    (bundle / CROISSANT).write_text('{"distribution": [{"contentUrl": "../outside", "sha256": "0"}]}')
    (finding,) = description_findings(bundle)
    assert (finding.kind, finding.subject) == ("broken", CROISSANT) and "leads out" in finding.detail


@pytest.mark.extra
@pytest.mark.skipif(not VALIDATOR.exists(), reason="no roc-validator; `make test-all` installs it beside .venv's own")
@pytest.mark.timeout(600)
def test_the_crate_meets_every_requirement_of_its_profiles(bundle: Path) -> None:
    def requirements() -> list[str]:
        done = subprocess.run([VALIDATOR, CHECK, bundle], capture_output=True, text=True, check=True)
        return [message for severity, message, _ in json.loads(done.stdout) if severity == "REQUIRED"]

    assert requirements() == []
    content = json.loads((bundle / CRATE).read_text())
    (workflow,) = [entity for entity in content["@graph"] if entity["@id"] == MAIN]
    del workflow["programmingLanguage"]
    (bundle / CRATE).write_text(json.dumps(content))
    assert requirements() == ["The Main Workflow must refer to its language via programmingLanguage"]
