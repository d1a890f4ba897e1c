"""What the columns of the tables mean: the comments beside them in `arbitrage.io.tables`, which alone say so."""

from __future__ import annotations

import inspect
import re
from functools import cache

from arbitrage.io import tables

STEP = "TRAJECTORY_STEP"  # the fields of a step in `trajectories.steps` are told under the schema's name

_TABLE = re.compile(r'    "(\w+)": pa\.schema|([A-Z_]+) = pa\.struct')
_COLUMN = re.compile(r'\s+\("(\w+)", .*\),  # (.*)')


def meaning(table: str, column: str) -> str:
    """A column in words; where its table says nothing, what the first table says that has a column of that name.

    table: a name of `tables.SCHEMAS`, or STEP. "" where nothing is said anywhere.
    """
    told = _comments()
    others = (told[other, name] for other, name in told if name == column and other != STEP)
    return told.get((table, column)) or next(others, "")


@cache
def _comments() -> dict[tuple[str, str], str]:
    """Comments by table and column."""
    found: dict[tuple[str, str], str] = {}
    table = ""
    for line in inspect.getsource(tables).splitlines():
        if start := _TABLE.match(line):
            table = start[1] or start[2]
        if column := _COLUMN.match(line):
            found[table, column[1]] = column[2]
    return found
