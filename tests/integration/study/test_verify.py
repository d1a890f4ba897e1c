"""`arbitrage verify` on the smoke study, as it is and with one thing wrong at a time."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from arbitrage.config.load import load_study
from arbitrage.config.pipeline import Sweep
from arbitrage.publishing.check_trajectories import trajectory_faults
from arbitrage.publishing.mismatches import VerifyError
from arbitrage.publishing.verify import verify
from arbitrage.runtime.provenance import digest, record_of
from tests.integration.study.conftest import ROOT, SmokeStudy, environment

pytestmark = [pytest.mark.study, pytest.mark.timeout(1800)]

STEPS, SWEPT, HELDOUT = (
    "steps/small.parquet",
    "trajectories/small/lab500.parquet",
    "router/small/default/heldout.parquet",
)
Edit = Callable[[pd.DataFrame], pd.DataFrame]


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


def rewrite(folder: Path, name: str, edit: Edit) -> None:
    """Change rows of a table, and its record with it, as if that had been made so."""
    path = folder / name
    schema = pq.read_schema(path)
    rows = edit(pq.read_table(path).to_pandas())
    pq.write_table(pa.Table.from_pandas(rows, schema=schema, preserve_index=False), path)
    owner = name if record_of(path).exists() else str(Path(name).parent)
    amend(folder, owner, sha256=digest(folder / owner))


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
        if record["stage"] not in ("check", "benchmark", "questions"):
            assert record["inputs"], record["output"]
    by_stage = {record["stage"]: record for record in records}
    assert "src/arbitrage/lab/zoo/prm" in by_stage["router"]["inputs"]  # the checkpoint it starts from
    assert set(by_stage["trajectories"]["models"]) == {"draft", "target", "prm", "router"}
    assert {"path", "revision", "dtype"} <= set(by_stage["trajectories"]["settings"]["models.target"])


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
            lambda f: flip(f / "router/small/default/model/model.safetensors"),
            [("changed", "router/small/default/model")],
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
    for made in [*folder.glob("figures/*"), *folder.glob("tables/*"), folder / "summary.md"]:
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
    assert found(folder) == [("stale", name) for name in (*drawn, "summary.md")]


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
    files = [ROOT / "config.yaml", ROOT / "studies/smoke.yaml"]
    study = load_study(files, overrides | {"results": str(smoke.results)})
    findings = verify(smoke.folder, study)
    assert stale <= {finding.subject for finding in findings}
    assert all(finding.kind == "stale" and why in finding.detail for finding in findings)
    assert "summary.md" not in {finding.subject for finding in findings} or "seed" in overrides


def set_first(column: str, value: Any) -> Edit:
    return lambda rows: rows.assign(**{column: [value, *rows[column][1:]]})


def raised_policy_score(rows: pd.DataFrame) -> pd.DataFrame:
    place = rows.index[rows["policy"] == "router"][0]
    rows.at[place, "steps"] = [{**step, "policy_score": 2.0, "model": "draft"} for step in rows.at[place, "steps"]]
    return rows


@pytest.mark.parametrize(
    ("name", "edit", "why"),
    [
        (STEPS, lambda rows: rows.assign(label=1 - rows["label"]), "labels disagree with their advantage"),
        (STEPS, set_first("advantage", 0.9), "not mean(target_scores) - draft_score"),
        (STEPS, set_first("draft_score", 1.5), "draft_score are not between 0 and 1"),
        (STEPS, set_first("step_index", 4), "do not follow the step before"),
        (STEPS, set_first("question_id", "nobody"), "question_id: 1 of 80 not expected, 'nobody'"),
        (STEPS, set_first("pair", "lowbit"), "column pair holds 'lowbit'"),
        (SWEPT, lambda rows: rows.drop(rows.index[rows["policy"] == "oracle"][0]), "thresholds leave gaps"),
        (SWEPT, lambda rows: rows[(rows.index > 0) | (rows["policy"] != "draft_only")], "every policy of the study"),
        (SWEPT, raised_policy_score, "steps of router were not decided as their score says"),
        (SWEPT, lambda rows: rows.assign(answer=None, correct=True), "correct without an answer"),
        (SWEPT, lambda rows: rows[1:], "are not the"),
        ("questions/lab500.parquet", lambda rows: pd.concat([rows, rows[:1]]), "question_ids occur twice"),
        (HELDOUT, set_first("advantage", 0.123), "have other scores there"),
        (HELDOUT, lambda rows: rows[1:], "holds out"),
        ("router/small/default/dataset/train.parquet", set_first("step_index", 39), "are not in steps/small.parquet"),
        ("latency/small.parquet", set_first("question_id", "nobody"), "not in lab500, nobody among them"),
        ("latency/small.parquet", lambda rows: pd.concat([rows, rows[:1]]), "rows repeat another's"),
    ],
)
def test_tables_that_disagree_are_found_though_their_hash_is_right(folder, name, edit, why):
    rewrite(folder, name, edit)
    said = [finding.detail for finding in verify(folder) if finding.kind == "inconsistent"]
    assert any(why in detail for detail in said), said


def test_questions_both_trained_on_and_held_out_are_found(folder):
    dataset = folder / "router/small/default/dataset"
    shutil.copy(dataset / "train.parquet", dataset / "validation.parquet")
    amend(folder, "router/small/default/dataset", sha256=digest(dataset))
    assert ("inconsistent", "router/small/default/dataset") in found(folder)


def test_a_table_without_a_column_is_broken(folder):
    table = pq.read_table(folder / STEPS).drop_columns(["label"])
    pq.write_table(table, folder / STEPS)
    amend(folder, STEPS, sha256=digest(folder / STEPS))
    (finding,) = (finding for finding in verify(folder) if finding.kind == "broken")
    assert finding.subject == STEPS and "missing columns ['label']" in finding.detail


def test_listed_thresholds_are_each_met_by_one_trajectory(smoke):
    table = pq.read_table(smoke.folder / SWEPT)
    low, high = table.column("threshold_low"), table.column("threshold_high")
    at = [pc.and_(pc.less_equal(low, value), pc.greater(high, value)) for value in (0.25, 0.5)]
    listed = Sweep(thresholds=[0.25, 0.5])
    assert list(trajectory_faults(table.filter(pc.or_(*at)), listed)) == []
    assert "leave gaps" in next(trajectory_faults(table.filter(at[0]), Sweep(thresholds=[-9.0])))


def test_the_command_says_one_line_a_finding_and_fails_on_a_fault(smoke, folder):
    def run(where: Path) -> subprocess.CompletedProcess[str]:
        command = ["arbitrage", "verify", str(where)]
        return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)

    good = run(smoke.folder)
    assert good.returncode == 0 and "every result is what its record says" in good.stdout
    (folder / "summary.md").unlink()
    bad = run(folder)
    assert bad.returncode == 1
    assert bad.stdout.splitlines()[0].startswith("missing       summary.md: ") and "1 faults" in bad.stdout


def test_where_there_are_no_results_that_is_said(tmp_path):
    with pytest.raises(VerifyError, match=r"no provenance record; expected the results of a study"):
        verify(tmp_path)
