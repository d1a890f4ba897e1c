"""Numbers of a table that are not finite: a score that is NaN or infinite must not pass for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

INFINITE = ("threshold_low", "threshold_high")  # an interval may be open


def not_finite(table: pa.Table) -> str | None:
    """What is wrong with the first column, or field of a column, that holds NaN or infinity; None where none does."""
    for name in table.column_names:
        for where, numbers in _numbers(name, table[name].combine_chunks()):
            odd = numbers.filter(pc.invert(pc.is_finite(numbers)))
            if len(odd) and name not in INFINITE:
                return f"{where} would hold {odd[0]} ({len(odd)} times); expected finite numbers"
    return None


def _numbers(name: str, array: Any) -> Iterator[tuple[str, Any]]:
    """The floating-point arrays in an array, those in its lists and structs too, by name."""
    if pa.types.is_floating(array.type):
        yield name, array
    elif pa.types.is_list(array.type):
        yield from _numbers(name, array.flatten())
    elif pa.types.is_struct(array.type):
        for field, values in zip(array.type, array.flatten(), strict=True):
            yield from _numbers(f"{name}.{field.name}", values)
