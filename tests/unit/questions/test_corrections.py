"""Slips of gold answers are put right where the published text is the slip, and nowhere else."""

from arbitrage.grading.grade import grade
from arbitrage.questions.corrections import corrected


def test_the_slip_of_olympiadbench_2045_can_be_answered() -> None:
    gold = corrected("olympiadbench", "2045", "$t(0,4]$")
    assert grade(r"\boxed{(0,4]}", [gold], {})[1] is True
    assert grade(r"\boxed{0<t\le 4}", [gold], {})[1] is True
    assert grade(r"\boxed{[0,4]}", [gold], {})[1] is False


def test_other_texts_are_left_alone() -> None:
    assert corrected("olympiadbench", "2045", r"$(0,4]$") == r"$(0,4]$"
    assert corrected("math500", "2045", "$t(0,4]$") == "$t(0,4]$"
    assert corrected("olympiadbench", None, "$t(0,4]$") == "$t(0,4]$"
