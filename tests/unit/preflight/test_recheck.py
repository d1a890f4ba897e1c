"""A study is checked again when it has changed since, and only then."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from arbitrage.config.load import load_study
from arbitrage.config.study import Study
from arbitrage.preflight import recheck
from arbitrage.runtime.provenance import record, record_of, write_json

ROOT = Path(__file__).resolve().parents[3]


def study_in(folder: Path, **overrides: Any) -> Study:
    return load_study([ROOT / "config.yaml"], {"results": str(folder), **overrides})


def checked(study: Study) -> Path:
    report = Path(study.folder) / "check.json"
    report.parent.mkdir()
    write_json(report, [])
    record([report], "check", study, [], {}, {}, time.time())
    return report


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that were run; each ends well."""
    commands: list[list[str]] = []

    def run(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, returncode=0)

    monkeypatch.setattr(recheck, "subprocess", SimpleNamespace(run=run))
    return commands


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_a_study_without_a_report_is_left_to_the_rule(tmp_path: Path, asked: list[list[str]]) -> None:
    recheck.recheck(study_in(tmp_path))
    assert asked == []


def test_a_study_as_it_was_is_not_checked_again(tmp_path: Path, asked: list[list[str]]) -> None:
    study = study_in(tmp_path)
    checked(study)
    recheck.recheck(study)
    assert asked == []


@pytest.mark.parametrize("damaged", [False, True])
def test_a_changed_study_or_a_damaged_record_is(tmp_path: Path, asked: list[list[str]], damaged: bool) -> None:
    report = checked(study_in(tmp_path))
    if damaged:
        record_of(report).write_text("{")
    recheck.recheck(study_in(tmp_path, **({} if damaged else {"seed": 13})))
    assert asked == [["arbitrage", "check", "--out", str(report)]]


def test_a_fault_keeps_the_run_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked(study_in(tmp_path))
    refused = SimpleNamespace(run=lambda command, check: subprocess.CompletedProcess(command, returncode=1))
    monkeypatch.setattr(recheck, "subprocess", refused)
    with pytest.raises(recheck.NotReady, match=r"lab has changed since it was checked.*what is finished is kept"):
        recheck.recheck(study_in(tmp_path, seed=13))
