"""Tables of tokens, calls and hours, as `arbitrage plan` and `arbitrage times` print them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

UNITS = {"draft": "draft\ntokens", "target": "target\ntokens", "prm": "PRM\ncalls", "router": "router\ncalls"}
WIDTH = 120  # characters the table needs


def table_console() -> Console:
    """As wide as the tables need, also in a log."""
    from rich.console import Console

    console = Console()
    console.width = max(console.width, WIDTH)
    return console


def amounts_table(title: str, first: str, columns: tuple[str, ...]) -> Table:
    """A table of `UNITS` by stage or rule, with further columns."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first)
    for column in ("jobs", *UNITS.values(), *columns):
        table.add_column(column, justify="right", no_wrap=True)
    return table


def hours_range(low_s: float, high_s: float) -> str:
    """Seconds as hours; one number where the two are within 10 %."""
    low, high = shown(low_s / 3600, 2), shown(high_s / 3600, 2)
    return high if high_s <= 1.1 * low_s else f"{low}-{high}"


def shown(value: float, digits: int = 3) -> str:
    """So many digits, and k, M or G; nothing for nothing."""
    if not value:
        return ""
    power = min(int(math.log10(max(value, 1) * (1 + 0.51 / 10**digits)) / 3), 3)  # 999.6 is 1k
    rounded = float(f"{value / 1000**power:.{digits}g}")
    return f"{rounded:g}{('', 'k', 'M', 'G')[power]}"
