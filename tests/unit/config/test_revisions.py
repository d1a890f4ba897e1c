"""Branches of the hub become commits once, and stay those commits for the results they began."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfApi, constants

from arbitrage.config.revisions import HubEntry, UnpinnedError, commit_of, hub_entries, pinned
from arbitrage.config.study import Study
from arbitrage.preflight.check_revisions import revision_findings

COMMIT, OTHER = "a" * 40, "b" * 40


def study(tmp_path: Path, **changes: Any) -> Study:
    content: dict[str, Any] = {
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


def test_branches_and_tags_become_commits_and_commits_stay(tmp_path: Path, asked: list[Any]) -> None:
    made, untold = pinned(study(tmp_path))
    assert (made.prm.revision, made.benchmarks["b"].revision, untold) == (COMMIT, COMMIT, [])
    assert made.models["t"].revision == OTHER
    assert asked == [("model", "some/prm", "main"), ("dataset", "HuggingFaceH4/MATH-500", "v1")]


def test_a_second_run_reads_the_commits_of_the_first(tmp_path: Path, asked: list[Any], no_hub: Path) -> None:
    (tmp_path / "lab/.study").mkdir(parents=True)
    known = {"model some/prm@main": OTHER, "dataset HuggingFaceH4/MATH-500@v1": COMMIT}
    (tmp_path / "lab/.study/revisions.json").write_text(json.dumps(known))
    made, untold = pinned(study(tmp_path))
    assert (made.prm.revision, untold, asked) == (OTHER, [], [])


def test_without_the_hub_its_cache_is_asked_and_what_nobody_knows_is_told(tmp_path: Path, no_hub: Path) -> None:
    refs = no_hub / "models--some--prm" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text(COMMIT)
    made, (line,) = pinned(study(tmp_path))
    assert made.prm.revision == COMMIT and made.benchmarks["b"].revision == "v1"
    assert line.startswith("benchmarks.b.revision: HuggingFaceH4/MATH-500@v1") and "no route" in line


def test_a_study_of_commits_never_asks(tmp_path: Path, no_hub: Path) -> None:
    settled = study(tmp_path, prm={"path": "some/prm", "revision": COMMIT}, benchmarks={"l": {"source": "lab500"}})
    assert pinned(settled) == (settled, []) and not (tmp_path / "lab").exists()


def test_check_prints_the_line_that_pins(tmp_path: Path, asked: list[Any]) -> None:
    first, _ = revision_findings(study(tmp_path))
    assert (first.subject, first.verdict) == ("prm.revision", "warning") and f"`revision: {COMMIT}`" in first.detail


def test_check_warns_where_nobody_knows_the_commit(tmp_path: Path, no_hub: Path) -> None:
    with pytest.raises(UnpinnedError, match="no route"):
        commit_of(HubEntry(("prm", "revision"), "model", "some/prm", "main"))
    assert {finding.verdict for finding in revision_findings(study(tmp_path))} == {"warning"}
