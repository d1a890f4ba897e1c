from __future__ import annotations

import json
from pathlib import Path

import pytest
from performance import __main__ as bench
from performance.conditions import Finding, conditions, report


def test_a_goal_is_met_at_its_edge() -> None:
    assert Finding.at_least("a", 8.0, "x", 8).met and not Finding.at_least("a", 7.99, "x", 8).met
    assert Finding.at_most("a", 5.0, "%", 5).met and not Finding.at_most("a", 5.01, "%", 5).met
    assert str(Finding.at_most("overhead", 5.01, "%", 5)) == "overhead: 5.01 % (goal <= 5: MISSED)"
    assert str(Finding("ratio", 2.0, "x")) == "ratio: 2 x"


def test_a_report_holds_conditions_findings_and_detail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(
        "live", conditions({"draft": "zoo/draft"}), [Finding.at_least("a", 2, "x", 3)], {"s": 1}, tmp_path / "o.json"
    )
    whole = json.loads((tmp_path / "o.json").read_text())
    assert whole["findings"] == [{"measure": "a", "value": 2, "unit": "x", "goal": ">= 3", "met": False}]
    assert {"machine", "packages", "threads", "load", "commit", "models"} <= set(whole["conditions"])
    assert whole["benchmark"] == "live" and whole["detail"] == {"s": 1}
    assert "# models: {'draft': 'zoo/draft'}" in capsys.readouterr().out


def test_the_table_has_a_line_a_finding_and_says_what_was_reached() -> None:
    findings = [
        Finding.at_least("tokens", 20.6123, "x", 15),
        Finding.at_most("overhead", 6, "%", 5),
        Finding("rest", 1, "s"),
    ]
    lines = bench.table([{"benchmark": "live", "findings": [vars(finding) for finding in findings]}]).splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["live", "tokens", "20.61", "x", ">=", "15", "reached"],
        ["live", "overhead", "6", "%", "<=", "5", "MISSED"],
        ["live", "rest", "1", "s"],
    ]


def test_every_benchmark_named_is_there() -> None:
    folder = Path(bench.__file__).parent
    assert all((folder / f"{name}.py").is_file() for name in bench.NAMES)


def test_a_benchmark_that_fails_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = {"benchmark": "live", "findings": [vars(Finding("a", 1, "s"))]}
    monkeypatch.setattr(bench, "run", lambda name: None if name == "sweep" else done)
    assert bench.main(["sweep", "live"]) == 1
    told = capsys.readouterr()
    assert "live" in told.out and told.err == "failed, see above: sweep\n"
    assert bench.main(["live"]) == 0
    assert bench.main(["lives"]) == 2 and "unknown: lives" in capsys.readouterr().err
