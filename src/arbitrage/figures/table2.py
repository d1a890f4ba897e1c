"""Table 2: telling the router who wrote each step."""

from pathlib import Path

from arbitrage.config.router import Variant
from arbitrage.config.study import Study
from arbitrage.figures.router_table import PaperRow, write_router_table

PAPER = (
    PaperRow("with annotation", lambda variant: variant == Variant(), 0.1508, 0.7004, 0.7296),
    PaperRow("without annotation", lambda variant: variant == Variant(annotate=False), 0.1305, 0.7306, 0.6958),
)


def write(study: Study, csv: Path, md: Path) -> None:
    """Write Table 2 of a finished study."""
    write_router_table(study, "Table 2: history annotation", PAPER, csv, md)
