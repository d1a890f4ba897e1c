"""Table 3: balancing the classes by downsampling.

The paper ran it apart from Tables 1 and 2, which is why its `with` row is not theirs.
"""

from pathlib import Path

from arbitrage.config.router import Variant
from arbitrage.config.study import Study
from arbitrage.figures.router_table import PaperRow, write_router_table

PAPER = (
    PaperRow("with balancing", lambda variant: variant == Variant(), 0.1673, 0.6328, 0.6480),
    PaperRow("without balancing", lambda variant: variant == Variant(balance=False), 0.1587, 0.7734, 0.4962),
)


def write(study: Study, csv: Path, md: Path) -> None:
    """Write Table 3 of a finished study."""
    write_router_table(study, "Table 3: balanced downsampling", PAPER, csv, md)
