"""`arbitrage fetch`: what a study takes from the hub is on disk and checked before any job; what is local stays so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from arbitrage.cli import app
from arbitrage.config.load import validate_config
from arbitrage.config.study import Study
from arbitrage.preflight.fetch import entry_of, fetch
from arbitrage.questions.normal_form import QuestionError
from arbitrage.runtime.dependencies import source_files
from arbitrage.speculation.protocols import EngineError
from tests.support.hub_cache import cached
from tests.support.tiny_models import build_causal, build_classifier

COMMIT = "c" * 40


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {"draft": build_causal(folder / "draft"), "prm": build_classifier(folder / "prm")}


def study_of(checkpoints: dict[str, Path], folder: Path, target: dict[str, Any]) -> Study:
    rows = [{"problem": f"{number} + 1?", "answer": number + 1} for number in range(3)]
    (folder / "exam.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return validate_config(
        {
            "study": "fetched",
            "results": str(folder / "results"),
            "models": {"draft": {"path": str(checkpoints["draft"])}, "target": target},
            "pairs": {"pair": {"draft": "draft", "target": "target"}},
            "prm": {"path": str(checkpoints["prm"])},
            "benchmarks": {"exam": {"path": str(folder / "exam.jsonl")}},
        }
    )


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    from arbitrage.engines import checkpoints

    checkpoints._snapshot.cache_clear()
    return tmp_path / "hub"


def test_what_is_local_is_checked_and_sized_without_a_network(
    checkpoints: dict[str, Path], offline: Path, tmp_path: Path
) -> None:
    study = study_of(checkpoints, tmp_path, {"path": str(checkpoints["draft"]), "dtype": "bfloat16"})
    found = {each.subject: each for each in fetch(study)}
    assert set(found) == {"models.draft", "prm", "benchmarks.exam"}  # the target is the draft's checkpoint
    size = sum(file.stat().st_size for file in checkpoints["draft"].iterdir())
    assert found["models.draft"].bytes == size and "1 weight files" in found["models.draft"].detail
    assert found["benchmarks.exam"].detail == "3 questions with answers"
    assert not offline.exists() and source_files(study, "label", pair="pair")
    assert not [file for file in source_files(study, "label", pair="pair") if "fetched" in file]


def test_a_repository_of_the_hub_is_found_checked_and_noted(
    checkpoints: dict[str, Path], offline: Path, tmp_path: Path
) -> None:
    study = study_of(checkpoints, tmp_path, {"path": "some/model", "revision": COMMIT})
    with pytest.raises(EngineError, match=r"some/model@c{40}: not a local directory, and not to be had from the hub"):
        list(fetch(study))
    snapshot = cached(COMMIT, checkpoints["draft"], offline)
    name = f"model--some--model@{COMMIT}"
    note = tmp_path / "results" / "fetched" / ".study" / "fetched" / f"{name}.json"
    assert str(note) in source_files(study, "label", pair="pair")  # so the rule `fetch` comes before any of its jobs
    (tmp_path / "study.json").write_text(study.model_dump_json())
    entry = entry_of(study, name)
    (only,) = fetch(study, entry, verify=True)
    assert (only.subject, only.location, only.source) == ("models.target", snapshot, "some/model")
    assert "1 hashes verified" in only.detail


def test_a_fetched_file_that_is_damaged_is_told_by_its_hash(
    checkpoints: dict[str, Path], offline: Path, tmp_path: Path
) -> None:
    study = study_of(checkpoints, tmp_path, {"path": "some/model", "revision": COMMIT})
    weights = (cached(COMMIT, checkpoints["draft"], offline) / "model.safetensors").resolve()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    entry = entry_of(study, f"model--some--model@{COMMIT}")
    assert len(list(fetch(study, entry))) == 1  # its size and its header are as they were
    with pytest.raises(EngineError, match=r"model\.safetensors is damaged.*fetch again"):
        list(fetch(study, entry, verify=True))


def test_data_are_looked_at_too(checkpoints: dict[str, Path], offline: Path, tmp_path: Path) -> None:
    study = study_of(checkpoints, tmp_path, {"path": str(checkpoints["draft"]), "dtype": "bfloat16"})
    (tmp_path / "exam.jsonl").write_text('{"problem": "1 + 1?"}\n')
    with pytest.raises(QuestionError, match="no column 'answer'"):
        list(fetch(study))


def test_the_command_prints_sizes_and_writes_the_note(
    checkpoints: dict[str, Path], offline: Path, tmp_path: Path
) -> None:
    cached(COMMIT, checkpoints["draft"], offline)
    study = study_of(checkpoints, tmp_path, {"path": "some/model", "revision": COMMIT})
    (tmp_path / "study.yaml").write_text(study.model_dump_json())  # JSON is YAML
    command = ["fetch", "--study", str(tmp_path / "study.yaml")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0 and "models.target: some/model: 0.00 GiB" in done.output
    note = tmp_path / "note.json"
    one = CliRunner().invoke(app, [*command, "--repository", f"model--some--model@{COMMIT}", "--out", str(note)])
    assert one.exit_code == 0, one.output
    (entry,) = json.loads(note.read_text())
    assert entry["source"] == "some/model" and entry["bytes"] > 0
    other = CliRunner().invoke(app, [*command, "--repository", "model--other@x"])
    assert other.exit_code == 2 and "the study takes nothing from" in other.output
