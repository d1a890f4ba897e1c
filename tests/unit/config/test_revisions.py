"""Branches of the hub: which commit they are, as a line to write into the study."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfApi, constants
from typer.testing import CliRunner

from arbitrage.cli import app
from arbitrage.config.load import ConfigError, read_study
from arbitrage.config.revisions import HubEntry, UnresolvedError, commit_of, hub_entries
from arbitrage.config.study import Study
from arbitrage.preflight.check_revisions import revision_findings

COMMIT, OTHER = "a" * 40, "b" * 40


def study(tmp_path: Path, **changes: Any) -> Study:
    content: dict[str, Any] = {
        "study": "lab",
        "results": str(tmp_path),
        "models": {
            "d": {"path": str(tmp_path)},
            "t": {"path": "some/target", "revision": OTHER},
            "q": {"quantise": {"model": "t", "bits": 4}},
        },
        "pairs": {"p": {"draft": "d", "target": "t"}},
        "prm": {"path": "some/prm", "revision": "main"},
        "benchmarks": {"b": {"source": "math500", "revision": "v1"}, "l": {"source": "lab500"}},
    }
    return Study.model_validate(content | changes)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """A hub that answers COMMIT, and what it was asked."""
    questions = []

    def answer(self: HfApi, name: str, *, repo_type: str, revision: str, timeout: float) -> SimpleNamespace:
        questions.append((repo_type, name, revision))
        return SimpleNamespace(sha=COMMIT)

    monkeypatch.setattr(HfApi, "repo_info", answer)
    return questions


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No hub, and an empty cache at the path returned."""

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("no route to the hub")

    monkeypatch.setattr(HfApi, "repo_info", refuse)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_only_what_comes_from_the_hub_is_listed(tmp_path: Path) -> None:
    listed = {".".join(entry.key): str(entry) for entry in hub_entries(study(tmp_path))}
    assert listed == {
        "models.t.revision": f"some/target@{OTHER}",
        "prm.revision": "some/prm@main",
        "benchmarks.b.revision": "HuggingFaceH4/MATH-500@v1",
    }


def test_without_the_hub_its_cache_is_asked(tmp_path: Path, no_hub: Path) -> None:
    refs = no_hub / "models--some--prm" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text(COMMIT)
    for revision in ("main", None):
        assert commit_of(HubEntry(("prm", "revision"), "model", "some/prm", revision)) == COMMIT


def test_check_prints_the_line_that_pins(tmp_path: Path, asked: list[Any]) -> None:
    first, _ = revision_findings(study(tmp_path))
    assert (first.subject, first.verdict) == ("prm.revision", "fault") and f"`revision: {COMMIT}`" in first.detail


def test_check_says_where_no_commit_can_be_resolved(tmp_path: Path, no_hub: Path) -> None:
    with pytest.raises(UnresolvedError, match="no route"):
        commit_of(HubEntry(("prm", "revision"), "model", "some/prm", "main"))
    assert {finding.verdict for finding in revision_findings(study(tmp_path))} == {"fault"}


def test_fetch_writes_the_commits_of_branches_beside_the_study_and_from_then_on_they_are_read(
    tmp_path: Path, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(study(tmp_path).model_dump_json(exclude_defaults=True))
    monkeypatch.setattr("arbitrage.preflight.fetch.fetch", lambda *arguments: iter(()))
    result = CliRunner().invoke(app, ["fetch", "--study", str(file)])
    assert result.exit_code == 0 and f"model some/prm@main is {COMMIT} today" in result.output
    lock = tmp_path / "mine.lock.json"
    assert json.loads(lock.read_text()) == {
        "model some/prm@main": COMMIT,
        "dataset HuggingFaceH4/MATH-500@v1": COMMIT,
    }
    read = read_study([file])
    assert (read.prm.revision, read.benchmarks["b"].revision, read.models["t"].revision) == (COMMIT, COMMIT, OTHER)
    assert not list(revision_findings(read))
    assert read_study([file], {"prm": {"path": "another/prm"}}).prm.revision == "main"  # the lock is of another one
    lock.write_text('{"model some/prm@main": "main"}')
    with pytest.raises(ConfigError, match="expected commits of 40 digits"):
        read_study([file])


def test_check_names_the_lock_file_as_a_remedy(tmp_path: Path, asked: list[Any]) -> None:
    assert all("run `arbitrage fetch`" in finding.detail for finding in revision_findings(study(tmp_path)))
