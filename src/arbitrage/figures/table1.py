"""Table 1: how fine the router's labels are."""

from pathlib import Path

from arbitrage.config.router import Variant
from arbitrage.config.study import Study
from arbitrage.figures.router_table import PaperRow, write_router_table

PAPER = (
    PaperRow("2 classes", lambda variant: variant == Variant(), 0.1508, 0.7004, 0.7296),
    PaperRow("4 classes", lambda variant: variant == Variant(classes=4), 0.1417, 0.6424, 0.8053),
    PaperRow("4 classes, ordinal", lambda variant: variant == Variant(classes=4, ordinal=True), 0.1355, 0.6200, 0.7977),
    PaperRow("10 classes", lambda variant: variant == Variant(classes=10), 0.1337, 0.7129, 0.7177),
)


def write(study: Study, csv: Path, md: Path) -> None:
    """Write Table 1 of a finished study."""
    write_router_table(study, "Table 1: label granularity", PAPER, csv, md)
