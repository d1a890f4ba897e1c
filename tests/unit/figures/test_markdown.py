"""Numbers in Markdown tables."""

from math import nan

from arbitrage.figures.markdown import with_interval


def test_a_number_has_its_interval_where_there_is_one_and_zero_has_no_sign() -> None:
    assert with_interval(0.042, -0.0001, 0.126, 1, 100) == "4.2 [0.0, 12.6]"
    assert with_interval(1.25, nan, nan, 2) == "1.25" and with_interval(nan, 0.0, 1.0, 2) == "–"
