"""Every column is explained, once, where the tables are."""

import pytest

from arbitrage.io import tables
from arbitrage.io.column_meanings import STEP, meaning


@pytest.mark.parametrize(
    ("table", "column", "words"),
    [
        ("steps", "label", "1 where advantage > 0"),
        ("examples", "label", "the class, of the variant's own"),  # its own words before those of another table
        ("heldout", "label", "1 where advantage > 0"),  # says nothing of its own
        (STEP, "draft_tokens", "tokens the draft generated for this step; 0 if not asked"),
        ("latency", "draft_tokens", "tokens the draft generated"),
        ("latency", "no such column", ""),
    ],
)
def test_a_column_means_what_its_table_says_or_else_what_another_says(table: str, column: str, words: str) -> None:
    assert meaning(table, column) == words


def test_no_column_is_left_unexplained() -> None:
    columns = [(name, field.name) for name, schema in tables.SCHEMAS.items() for field in schema]
    columns += [(STEP, field.name) for field in tables.TRAJECTORY_STEP]
    assert [column for column in columns if not meaning(*column)] == []
