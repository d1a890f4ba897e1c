"""When does each pay: what was timed, beside the target alone with and without token-level speculation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from arbitrage.evaluation.latency_curves import COLUMNS
from arbitrage.figures import latencies
from arbitrage.io.csv_tables import read_csv, write_csv
from arbitrage.runtime.paths import StudyPaths
from tests.conftest import World


def test_each_timed_setting_stands_beside_the_target_alone(world: World, tmp_path: Path) -> None:
    points = read_csv(world.folder / "curves" / "accuracy_latency.csv")
    latencies.write(world.study, tmp_path / "t.csv", tmp_path / "t.md")
    table = read_csv(tmp_path / "t.csv")
    assert len(table) == points["measured"].sum() > 0
    for _, own in table.groupby(["pair", "benchmark"]):
        assert own["latency_s"].is_monotonic_increasing
        whole = own[(own["policy"] == "target_only") & own["uninterrupted"]]
        alone = whole[whole["speculative_tokens"] == 0]["latency_s"].item()
        checked = whole[whole["speculative_tokens"] > 0]["latency_s"].min()
        assert own["times_as_fast"].tolist() == pytest.approx((alone / own["latency_s"]).tolist())
        assert own["times_with_speculation"].tolist() == pytest.approx((checked / own["latency_s"]).tolist())
    text = (tmp_path / "t.md").read_text()
    assert text.count("\n| ") == 2 + len(table)
    assert "target alone, token-level speculation" in text and "target alone, step by step" in text


def test_without_a_timed_pair_the_table_says_so(world: World, tmp_path: Path) -> None:
    study = world.study.model_copy(update={"results": str(tmp_path)})
    write_csv(StudyPaths.of(study).curves("accuracy_latency"), pd.DataFrame(columns=COLUMNS))
    latencies.write(study, tmp_path / "t.csv", tmp_path / "t.md")
    assert "No pair of this study was timed." in (tmp_path / "t.md").read_text()
    assert read_csv(tmp_path / "t.csv").empty


@pytest.mark.parametrize(
    ("policy", "uninterrupted", "tokens", "words"),
    [
        ("rsd", False, 0, "RSD"),
        ("rsd", False, 8, "RSD, token-level speculation (8 tokens)"),
        ("target_only", True, 0, "target alone"),
        ("target_only", False, 0, "target alone, step by step"),
        ("target_only", True, 4, "target alone, token-level speculation (4 tokens)"),
    ],
)
def test_a_way_has_a_name(policy: str, uninterrupted: bool, tokens: int, words: str) -> None:
    assert latencies.way(policy, uninterrupted, tokens) == words
