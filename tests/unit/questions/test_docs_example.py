"""The example in docs/benchmarks-of-your-own.md works as it is written there, and so do the ready sources it lists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from arbitrage.config.questions import Benchmark, Questions, ready_sources
from arbitrage.questions.sampling import benchmark_questions
from arbitrage.questions.sources import load

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "benchmarks-of-your-own.md").read_text(encoding="utf-8")
CSV, YAML = (re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) for kind in ("csv", "yaml"))


def test_the_example_is_read_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/exam.csv").write_text(CSV[0])
    entry = yaml.safe_load(YAML[1])["benchmarks"]["exam"]
    first, second, third = benchmark_questions("mine", "exam", Benchmark.model_validate(entry), 42)
    assert (first["question_id"], first["answers"], first["source"]) == ("e1", ["7"], "arithmetic")
    assert second["problem"] == "Solve $x^2 = 9$ for $x > 0$.\nAnswer with a whole number."
    assert third["answers"] == ["364"]


def test_the_ready_entries_of_the_page_are_those_there_are() -> None:
    cells = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell) if name != "questions"}
    assert named == set(ready_sources())
    for name, entry in ready_sources().items():
        if not entry.get("generated"):
            (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{name}`"))
            assert entry["dataset"] in line
            rows = entry.get("rows")
            assert rows is None or f"{rows[0] if isinstance(rows, list) else rows:,}" in line
    for example in yaml.safe_load(YAML[0])["benchmarks"].values():
        Benchmark.model_validate(example)


# A row of each ready source, written by us in its columns
ROWS: dict[str, dict[str, Any]] = {
    "math500": {"problem": "p", "solution": "s", "answer": "4", "subject": "Algebra", "unique_id": "u"},
    "aime24": {"id": 60, "problem": "p", "solution": "s", "answer": "033", "url": "u", "year": "2024"},
    "aime25": {"problem": "p", "answer": "70", "id": "0"},
    "amc23": {"id": 0, "answer": "27.0", "url": "u", "question": "p"},
    "gsm8k": {"question": "p", "answer": "So 70.\n#### 70"},
    "minerva_math": {"question": "p", "answer": "4.5e33"},
    "college_math": {"problem": "p", "answer": "$y=2x$"},
}
GOLDS = {"aime24": "33", "gsm8k": "70", "amc23": "27.0"}


@pytest.mark.parametrize("name", ROWS)
def test_a_ready_source_reads_its_columns(name: str, tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text(json.dumps(ROWS[name]))
    (row,) = load("s", Benchmark(source=name, path=str(tmp_path / "b.jsonl")), 1)
    assert (row["problem"], row["answers"]) == ("p", [GOLDS.get(name, ROWS[name]["answer"])])


def test_questions_to_label_may_be_of_any_source(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(json.dumps({"question": "p", "topic": 3}))
    settings = Questions(
        source="own", path=str(tmp_path / "q.jsonl"), columns={"problem": "question", "stratum": "topic"}
    )
    (row,) = load("s", settings, 1)
    assert (row["problem"], row["source"], row["solution"], row["answers"]) == ("p", "3", "", [])
    (tmp_path / "g.jsonl").write_text(json.dumps(ROWS["gsm8k"]))
    (row,) = load("s", Questions(source="gsm8k", path=str(tmp_path / "g.jsonl")), 1)
    assert (row["problem"], row["answers"], row["source"]) == ("p", [], "gsm8k")
