"""The record beside a result: complete, fast, and written without loading torch."""

import hashlib
import json
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import arbitrage
from arbitrage.config.load import study_hash, validate_config
from arbitrage.config.study import Study
from arbitrage.runtime.provenance import code_version, digest, record


@pytest.fixture
def study() -> Study:
    here = str(Path(__file__).parent)
    return validate_config(
        {
            "study": "lab",
            "seed": 11,
            "models": {"a": {"path": here}, "b": {"path": here}},
            "pairs": {"p": {"draft": "a", "target": "b"}},
            "prm": {"path": here},
            "benchmarks": {"x": {"source": "lab500"}},
        }
    )


def read(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(output.with_name(f"{output.name}.provenance.json").read_text())
    return content


def test_a_record_tells_what_made_the_output(tmp_path: Path, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "123")
    source, output = tmp_path / "in.txt", tmp_path / "out.parquet"
    source.write_bytes(b"question")
    output.write_bytes(b"answer")
    record(
        [output],
        "steps",
        study,
        [source],
        {"draft": "abc"},
        {"steps": {"chunk": 5}},
        time.time() - 2.0,
        {"texts_equal": 1.0},
    )
    told = read(output)
    assert told["output"] == str(output)
    assert told["sha256"] == hashlib.sha256(b"answer").hexdigest()
    assert told["inputs"] == {str(source): hashlib.sha256(b"question").hexdigest()}
    assert (told["stage"], told["study"], told["seed"], told["job"]) == ("steps", "lab", 11, "123")
    assert told["study_hash"] == study_hash(study)
    assert told["models"] == {"draft": "abc"}
    assert told["settings"] == {"steps": {"chunk": 5}}
    assert told["texts_equal"] == 1.0
    assert {"torch", "transformers", "numpy", "pandas", "snakemake", "python"} <= set(told["packages"])
    assert told["hardware"]["cores"] >= 1
    assert told["hardware"]["memory_gib"] > 0
    assert 2.0 <= told["wall_s"] < 4.0
    assert datetime.fromisoformat(told["started"]) < datetime.fromisoformat(told["ended"])
    assert told["code"]["version"] == arbitrage.__version__
    assert len(told["code"]["sources"]) == 64


def test_each_output_gets_a_record_and_no_temporary_file_stays(tmp_path: Path, study: Study) -> None:
    outputs = [tmp_path / "a.csv", tmp_path / "model"]
    outputs[0].write_text("x\n")
    outputs[1].mkdir()
    (outputs[1] / "weights").write_bytes(b"1")
    record(outputs, "router", study, [], {}, {}, time.time())
    assert read(outputs[0])["sha256"] != read(outputs[1])["sha256"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.csv",
        "a.csv.provenance.json",
        "model",
        "model.provenance.json",
    ]


def test_a_directory_has_the_hash_of_its_names_and_contents(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "file").write_text("same")
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    (tmp_path / "two" / "deep" / "file").rename(tmp_path / "two" / "deep" / "other")
    assert digest(tmp_path / "one") != digest(tmp_path / "two")


def test_a_model_card_and_hidden_files_are_no_part_of_a_directory(tmp_path: Path) -> None:
    """Cards are written when a model is finished; Snakemake leaves a time stamp in a directory after its job."""
    (tmp_path / "weights").write_text("1")
    before = digest(tmp_path)
    (tmp_path / "README.md").write_text("a card")
    (tmp_path / ".snakemake_timestamp").write_text("")
    assert digest(tmp_path) == before


def test_paths_are_told_from_the_studys_folder(tmp_path: Path, study: Study) -> None:
    here = study.model_copy(update={"results": str(tmp_path)})
    (tmp_path / "lab").mkdir()
    source, output = tmp_path / "lab" / "in", tmp_path / "lab" / "out"
    source.write_text("1")
    output.write_text("2")
    record([output], "merge", here, [source], {}, {}, time.time())
    assert (read(output)["output"], list(read(output)["inputs"])) == ("out", ["in"])


def test_a_missing_output_is_an_error_not_a_record(tmp_path: Path, study: Study) -> None:
    with pytest.raises(FileNotFoundError):
        record([tmp_path / "none"], "steps", study, [], {}, {}, time.time())
    assert list(tmp_path.iterdir()) == []


def test_the_commit_is_that_of_the_checkout_and_never_of_a_repository_around_it() -> None:
    root = Path(arbitrage.__file__).resolve().parents[2]
    version = code_version()
    if not (root / ".git").exists():
        assert version["commit"] is None
        return
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert version["commit"] == head.stdout.strip()
    assert isinstance(version["modified"], bool)


def test_recording_is_quick_and_imports_nothing_heavy(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.write_text("x")
    script = f"""
import sys, time
from pathlib import Path
from arbitrage.config.load import validate_config
from arbitrage.runtime.provenance import record
here = {str(tmp_path)!r}
study = validate_config({{"study": "lab", "prm": {{"path": here}},
    "models": {{"a": {{"path": here}}, "b": {{"path": here}}}},
    "pairs": {{"p": {{"draft": "a", "target": "b"}}}}, "benchmarks": {{"x": {{"source": "lab500"}}}}}})
began = time.process_time()
record([Path({str(output)!r})], "stage", study, [], {{}}, {{}}, time.time())
assert time.process_time() - began < 0.2, time.process_time() - began
assert not {{"torch", "transformers", "pandas", "numpy"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert read(output)["stage"] == "stage"


def test_an_input_is_recorded_as_its_own_record_has_it_and_hashed_where_it_has_none(
    tmp_path: Path, study: Study
) -> None:
    table, source, result = (tmp_path / name for name in ("steps.parquet", "source.jsonl", "result.csv"))
    for file in (table, source, result):
        file.write_bytes(b"rows")
    record([table], "steps", study, [], {}, {}, time.time())
    written = digest(table)
    table.write_bytes(b"rowz")  # `arbitrage verify` reports it; no job reads all its inputs twice for that
    record([result], "stage", study, [table, source], {}, {}, time.time())
    assert read(result)["inputs"] == {str(table): written, str(source): digest(source)}
