"""Branches of the hub: which commit they are, as a line to write into the study."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfApi, constants

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
