"""Where results are is written once."""

from __future__ import annotations

import re
from pathlib import Path

from arbitrage.config.study import Study
from arbitrage.runtime.paths import StudyPaths

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = "questions|models|steps|lookahead|states|router|trajectories|latency|curves|figures|tables|logs|timings|zoo"


def test_nobody_else_puts_a_path_of_results_together() -> None:
    files = [*(ROOT / "src/arbitrage").rglob("*.py"), *(ROOT / "rules").glob("*.smk"), ROOT / "Snakefile"]
    others = [path for path in files if path.name not in ("paths.py", "study.py")]  # config names what is made for it
    literal = re.compile(rf'folder\)? / "({FOLDERS})"|\.folder\}}/({FOLDERS})')
    assert [
        f"{path}: {line}" for path in others for line in path.read_text().splitlines() if literal.search(line)
    ] == []


def test_rules_give_wildcards_for_names_and_a_bundle_has_its_results_where_it_was_unpacked() -> None:
    study = Study.model_validate(
        {
            "study": "mine",
            "results": "there",
            "models": {"d": {"path": "d"}, "t": {"path": "t"}},
            "pairs": {"p": {"draft": "d", "target": "t"}},
            "prm": {"path": "prm"},
            "benchmarks": {"b": {"source": "lab500"}},
        }
    )
    paths = StudyPaths.of(study)
    assert paths.sweep("{pair}", "{benchmark}", "{shard}") == Path(
        "there/mine/trajectories/{pair}/{benchmark}/shard-{shard}.parquet"
    )
    assert paths.store == Path("there/.store") and paths.log("report") == Path("there/mine/logs/report.log")
    assert StudyPaths(Path("/unpacked")).router_quality == Path("/unpacked/router/quality.csv")
