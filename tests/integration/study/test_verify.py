"""`arbitrage verify` on the smoke study, as it is and with one thing wrong at a time."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from arbitrage.config.load import load_study
from arbitrage.publishing.mismatches import VerifyError
from arbitrage.publishing.verify import verify
from arbitrage.runtime.provenance import digest, record_of
from tests.integration.study.conftest import ROOT, SmokeStudy, environment

pytestmark = [pytest.mark.study, pytest.mark.timeout(1800)]

STEPS, SWEPT = "steps/small.parquet", "trajectories/small/lab500.parquet"
PAGE = "report/index.html"
DATASET = "router/small/default/dataset"


@pytest.fixture
def folder(smoke: SmokeStudy, tmp_path: Path) -> Path:
    """A copy of the finished study, to spoil."""
    return Path(shutil.copytree(smoke.folder, tmp_path / "smoke"))


def found(folder: Path) -> list[tuple[str, str]]:
    return [(finding.kind, finding.subject) for finding in verify(folder)]


def amend(folder: Path, name: str, **changes: Any) -> None:
    """Change the record of result `name`."""
    path = record_of(folder / name)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_finished_study_is_what_its_records_say(smoke):
    assert verify(smoke.folder) == []


def test_every_result_has_a_record_of_everything_that_made_it(smoke):
    records = [json.loads(path.read_text()) for path in smoke.folder.rglob("*.provenance.json")]
    assert len(records) > 50
    needed = ["study_hash", "seed", "command", "code", "inputs", "models", "settings", "packages", "hardware", "job"]
    for record in records:
        assert {*needed, "started", "ended"} <= set(record), record["output"]
        assert {"commit", "modified", "sources"} <= set(record["code"])
        assert not [name for name in record["inputs"] if name.startswith("/")]
        if record["stage"] not in ("evaluation_questions", "questions"):
            assert record["inputs"], record["output"]
    by_stage = {record["stage"]: record for record in records}
    assert "src/arbitrage/lab/zoo/router_start" in by_stage["router"]["inputs"]  # the checkpoint it starts from
    assert {"draft", "target", "prm", "router"} <= set(by_stage["sweep"]["models"])
    assert {"path", "revision", "dtype"} <= set(by_stage["sweep"]["settings"]["models.target"])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda f: flip(f / SWEPT), [("changed", SWEPT)]),
        (lambda f: flip(f / "figures/fig4.png"), [("changed", "figures/fig4.png")]),
        (
            lambda f: flip(f / "router/small/default/seed-0/model/model.safetensors"),
            [("changed", "router/small/default/seed-0/model")],
        ),
        (lambda f: (f / STEPS).write_bytes((f / STEPS).read_bytes()[:-9]), [("changed", STEPS)]),
        (lambda f: (f / "summary.md").unlink(), [("missing", "summary.md")]),
        (lambda f: shutil.rmtree(f / "router/small/default/dataset"), [("missing", "router/small/default/dataset")]),
        (lambda f: record_of(f / "summary.md").unlink(), [("foreign", "summary.md")]),
        (lambda f: record_of(f / "summary.md").write_text('{"output": '), [("broken", "summary.md")]),
        (lambda f: record_of(f / "summary.md").write_text("{}"), [("broken", "summary.md")]),
        (lambda f: amend(f, "summary.md", study="lab"), [("foreign", "summary.md")]),
        (lambda f: amend(f, "summary.md", output="curves/outcomes.csv"), [("foreign", "summary.md")]),
        (lambda f: (f / "curves/mine.csv").write_text("a\n1\n"), [("foreign", "curves/mine.csv")]),
        (lambda f: amend(f, SWEPT, code={"version": "0.0.1", "sources": "0"}), [("code", "1 results")]),
    ],
)
def test_one_thing_wrong_is_one_finding(folder, spoil, expected):
    spoil(folder)
    assert found(folder) == expected


def test_what_a_stopped_run_has_not_made_yet_is_one_finding(folder):
    for made in [*folder.glob("figures/*"), *folder.glob("tables/*"), folder / "summary.md", folder / PAGE]:
        made.unlink(missing_ok=True)
        record_of(made).unlink(missing_ok=True)
    ((kind, subject),) = found(folder)
    assert kind == "missing" and re.fullmatch(r"(\d+) of (\d+) results", subject)


def test_what_was_made_from_something_changed_is_stale_and_the_rest_is_not(folder):
    curves = "curves/outcomes.csv"
    lines = (folder / curves).read_text().splitlines(keepends=True)
    (folder / curves).write_text("".join(lines[:-1]))
    amend(folder, curves, sha256=digest(folder / curves))
    drawn = [f"figures/{name}.{kind}" for name in ("fig3", "figA1") for kind in ("pdf", "png")]
    assert found(folder) == [("stale", name) for name in (*drawn, "summary.md", PAGE)]


def test_another_checkpoint_at_the_same_place_makes_stale(folder):
    record = json.loads(
        record_of(folder / STEPS).with_name("small").joinpath("shard-0.parquet.provenance.json").read_text()
    )
    inputs = record["inputs"] | {"src/arbitrage/lab/zoo/draft": "0" * 64}
    amend(folder, "steps/small/shard-0.parquet", inputs=inputs)
    assert found(folder) == [("stale", "steps/small/shard-0.parquet")]


def test_a_result_left_from_an_earlier_form_of_the_study_is_foreign_and_a_record_alone_is_missing(folder):
    for name in ("shard-0.parquet", "shard-0.parquet.provenance.json"):
        shutil.copy(folder / "steps/small" / name, folder / "steps/small" / name.replace("0", "9"))
    shutil.copy(record_of(folder / STEPS), record_of(folder / "steps/other.parquet"))
    assert found(folder) == [("missing", "steps/other.parquet"), ("foreign", "steps/small/shard-9.parquet")]


@pytest.mark.parametrize(
    ("overrides", "stale", "why"),
    [
        ({"figures": {"dpi": 99}}, {"figures/fig4.png"}, "figures.dpi 150; the study has 99"),
        ({"seed": 7}, {STEPS.replace(".parquet", "/shard-0.parquet"), "questions/lab500.parquet"}, "seed 42"),
        ({"steps": {"chunk": 21}}, {"steps/small/shard-0.parquet"}, "steps.chunk 20; the study has 21"),
        ({"resources": {"max_hours": 3.0}}, set(), ""),
    ],
)
def test_another_study_makes_stale_what_reads_the_keys_that_differ(smoke, overrides, stale, why):
    study = load_study([ROOT / "studies/smoke.yaml"], overrides | {"results": str(smoke.results)})
    findings = verify(smoke.folder, study)
    assert stale <= {finding.subject for finding in findings}
    assert all(finding.kind == "stale" and why in finding.detail for finding in findings)
    assert "summary.md" not in {finding.subject for finding in findings} or "seed" in overrides


@pytest.mark.parametrize(
    ("name", "result"),
    [(STEPS, STEPS), (f"{DATASET}/validation.parquet", DATASET)],
)
def test_a_table_without_a_column_is_broken(folder, name, result):
    table = pq.read_table(folder / name).drop_columns(["label"])
    pq.write_table(table, folder / name)
    amend(folder, result, sha256=digest(folder / result))
    (finding,) = (finding for finding in verify(folder) if finding.kind == "broken")
    assert finding.subject == result and "missing columns ['label']" in finding.detail


def test_the_command_says_one_line_a_finding_and_fails_on_a_fault(smoke, folder):
    def run(where: Path) -> subprocess.CompletedProcess[str]:
        command = ["arbitrage", "verify", str(where)]
        return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)

    good = run(smoke.folder)
    assert good.returncode == 0 and "every result is what its record says" in good.stdout
    (folder / "summary.md").unlink()
    bad = run(folder)
    assert bad.returncode == 1
    assert bad.stdout.splitlines()[0].startswith("missing       summary.md: ") and "1 fault" in bad.stdout


def test_where_there_are_no_results_that_is_said(tmp_path):
    with pytest.raises(VerifyError, match=r"no provenance record; expected the results of a study"):
        verify(tmp_path)
