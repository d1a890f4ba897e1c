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


def test_missing_numbers_are_written_as_nothing_beside_none_too(tmp_path: Path) -> None:
    values = pd.Series([None, float("nan"), 0.25], dtype="object")
    write_csv(tmp_path / "points.csv", pd.DataFrame({"low": values, "policy": "rsd"}))
    assert (tmp_path / "points.csv").read_text() == "low,policy\n,rsd\n,rsd\n0.25,rsd\n"
