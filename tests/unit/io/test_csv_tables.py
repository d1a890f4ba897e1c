"""CSV tables come back as they were written."""

from pathlib import Path

import pandas as pd

from arbitrage.io.csv_tables import read_csv, write_csv


def test_a_column_without_any_value_is_one_of_missing_numbers(tmp_path: Path) -> None:
    """A study of one question has no interval anywhere: figures subtract such columns from others."""
    frame = pd.DataFrame({"policy": ["rsd", "router"], "low": [None, None], "measured": [True, False]})
    write_csv(tmp_path / "points.csv", frame)
    back = read_csv(tmp_path / "points.csv")
    assert back["low"].dtype == "float64" and back["low"].isna().all()
    assert back["measured"].tolist() == [True, False]
