"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NOTHING = "–"  # a cell without a value


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with its last line ended."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def number(value: float, digits: int, scale: float = 1.0) -> str:
    """`value * scale` with so many digits, zero without a sign; NOTHING where it is no number."""
    return NOTHING if value != value else f"{scale * value:z.{digits}f}"


def with_interval(value: float, low: float, high: float, digits: int, scale: float = 1.0) -> str:
    """`1.25 [1.09, 1.32]`; NOTHING where there is no value, and no brackets where there is no interval."""
    if value != value:
        return NOTHING
    ends = "" if low != low else f" [{number(low, digits, scale)}, {number(high, digits, scale)}]"
    return f"{number(value, digits, scale)}{ends}"
