"""The checker recognises right steps however they are put, and wrong ones however close they come."""

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.lab.checker import UnknownQuestionError, check_answer, check_step, question_truth
from arbitrage.lab.families import FAMILIES, SEPARATOR

CHAIN = "Start with 14. Add 8. Subtract 5. Multiply by 3. Add 10. What is the result?"
LINEAR = "Solve 7x + 12 = 3x + 40 for x."
BRACKETS = "Find x if 5(x + 3) + 8 = 2x + 47."
GCD = "Find the gcd of 84 and 36."
MODULAR = "Find the remainder when 5 * 7^4 is divided by 11."
SUM = "Find the sum of 12, 7, 25 and 9."
SEQUENCE = "A sequence has a1 = 3 and each term is the last one plus 4. Find a6."
PAIRED = "In a sequence, a1 = 2, a2 = 3 and each term is the sum of the last two. What is a6?"
FRACTION = "Compute 1/3 + 3/4 - 1/6."
TO_BASE = "Write 57 in base 3."
FROM_BASE = "Convert 2010 from base 3 to base 10."
RATES = "3 pens cost 12 dollars and 5 books cost 40 dollars. Find the cost of 4 pens and 2 books."
MIX = "Let n be the gcd of 84 and 36. Start with n. Add 7. Multiply by 3. What is the result?"

RIGHT = {
    CHAIN: (
        "8 + 14 = 22",
        "14+8=22",
        "14 + 8 = 22, 22 - 5 = 17",
        "(14 + 8) - 5 = 17",
        "After step 2 we get 17.",
        "17 times 3 is 51",
        "3 \\times 17 = 51",
        "22 minus 5 equals 17, so next 17 * 3 = 51.",
        "The answer is \\boxed{61}.",
        "51 + 10 = \\boxed{61}",
    ),
    LINEAR: (
        "4x + 12 = 40",
        "12 + 7x = 40 + 3x",
        "4x = 28, so x = 7",
        "7x - 3x = 40 - 12",
        "x is 28 divided by 4, which gives 7",
        "40 - 12 = 28",
        "x = \\frac{28}{4}",
        "28 = 4 * x",
        "Thus x = \\boxed{7}",
    ),
    BRACKETS: ("5x + 15 + 8 = 2x + 47", "5x + 23 = 47 + 2x", "3x = 24", "5 * 3 = 15", "x = 24/3 = 8"),
    GCD: (
        "gcd(36, 48) = gcd(84, 36)",
        "84 - 36 = 48",
        "84 = 2 * 36 + 12",
        "84 mod 36 = 12",
        "36 = 3 * 12",
        "gcd(84, 36) = gcd(36, 12) = 12",
        "gcd(12, 0) = 12",
        "The gcd is \\boxed{12}",
    ),
    MODULAR: (
        "5 * 7 = 35, and 35 mod 11 = 2",
        "7^2 = 49 = 5 (mod 11)",
        "7^2 \\equiv 5 \\pmod{11}",
        "7^4 = 5 * 5 = 25 = 3 (mod 11)",
        "5 * 7^2 = 3 (mod 11)",
        "7 * 2 = 14 = 3 mod 11",
        "35 = 3 * 11 + 2",
        "35 - 33 = 2",
        "5 * 7^4 mod 11 = \\boxed{4}",
    ),
    SUM: (
        "7 + 12 = 19",
        "12 + 7 + 25 = 44",
        "25 + 9 = 34",
        "19 + 25 = 44; 44 + 9 = 53",
        "The total is 53",
        "12 + 7 + 25 + 9 = \\boxed{53}",
    ),
    SEQUENCE: (
        "a_2 = 3 + 4 = 7",
        "a2 = 7, a3 = 11",
        "a_{4} = a_{3} + 4 = 15",
        "3 + 5 * 4 = 23",
        "a6 = 3 + 5 * 4",
        "11 + 4 = 15",
        "the 3rd term is 11",
    ),
    PAIRED: ("a3 = a1 + a2", "a3 = 2 + 3 = 5", "3 + 5 = 8", "a6 = a5 + a4 = 13 + 8 = 21", "a4 is 8"),
    FRACTION: (
        "The common denominator is 24",
        "1/3 = 4/12, 3/4 = 9/12",
        "9/12 = 3/4",
        "4 + 9 = 13",
        "\\frac{1}{3} = \\frac{4}{12}",
        "9/12 + 4/12 = 13/12",
        "4/12 + 9/12 - 2/12 = 11/12",
        "(4 + 9)/12 = 13/12",
        "The result is \\boxed{22/24}",
        "The answer is \\boxed{\\frac{11}{12}}",
    ),
    TO_BASE: (
        "57 = 3 * 19",
        "57 / 3 = 19 remainder 0",
        "19 = 3 * 6 + 1",
        "19 mod 3 = 1",
        "19 - 18 = 1",
        "57 = 19*3+0, 19 = 6*3+1",
        "2 = 0 * 3 + 2",
        "In base 3 it is \\boxed{2010}",
    ),
    FROM_BASE: (
        "2 * 3 + 0 = 6",
        "3^3 = 27",
        "2 * 27 = 54",
        "54 + 3 = 57",
        "3 * 6 + 1 = 19",
        "2 * 27 + 0 * 9 + 1 * 3 + 0 * 1 = 57",
        "54 + 0 = 54, 54 + 3 = 57",
        "The number is \\boxed{57}",
    ),
    RATES: (
        "12 / 3 = 4",
        "one pen costs 4 dollars",
        "each book: 40 / 5 = 8",
        "4 pens: 12 / 3 * 4 = 16",
        "2 * 8 = 16",
        "16 + 16 = 32",
        "pens: 4 * 4 = 16, books: 2 * 8 = 16",
        "Together \\boxed{32} dollars",
    ),
    MIX: (
        "84 mod 36 = 12",
        "gcd(84, 36) = 12, so n = 12",
        "n + 7 = 19",
        "7 + 12 = 19",
        "(n + 7) * 3 = 57",
        "19 * 3 = \\boxed{57}",
    ),
}
WRONG = {
    CHAIN: (
        "14 + 8 = 23",
        "14 - 5 = 9",
        "22 + 5 = 27",
        "22 - 8 = 14",
        "The answer is 51",
        "The answer is \\boxed{51}",
        "8 * 3 = 24",
        "Let us begin.",
    ),
    LINEAR: ("10x + 12 = 40", "4x = 52", "x = 28 / 3", "40 + 12 = 52", "x = \\boxed{6}", "4x + 12 = 43"),
    BRACKETS: ("5x + 3 + 8 = 2x + 47", "7x + 23 = 47", "3x = 70", "x = 7", "5 * 8 = 40"),
    GCD: (
        "84 - 36 = 38",
        "gcd(84, 36) = gcd(36, 18)",
        "gcd(84, 36) = 6",
        "84 = 2 * 36 + 14",
        "gcd(120, 36) = gcd(84, 36)",
        "84 + 36 = 120",
        "The gcd is \\boxed{4}",
    ),
    MODULAR: (
        "5 * 7 = 35 = 3 (mod 11)",
        "7^2 = 49 = 5 (mod 13)",
        "5 * 7^2 = 2 (mod 11)",
        "5 + 7 = 12",
        "7^5 = 10 (mod 11)",
        "5 * 7^4 mod 11 = \\boxed{3}",
    ),
    SUM: ("12 + 7 = 29", "12 + 12 = 24", "19 + 9 = 27", "25 - 9 = 16", "The total is 44 + 9 = 52", "The answer is 44"),
    SEQUENCE: ("a2 = 3 + 5 = 8", "a3 = 7", "a7 = 23", "3 + 6 * 4 = 27", "a6 = \\boxed{27}", "a2 = 3 + 4 = 6"),
    PAIRED: ("a3 = 2 * 3 = 6", "a4 = 5 + 5 = 10", "a5 = 5 + 8 = 12", "2 + 2 = 4", "a6 is 13"),
    FRACTION: (
        "The common denominator is 6",
        "1/3 = 3/12",
        "1/3 + 3/4 = 4/7",
        "4/12 + 9/12 = 13/24",
        "13/12 + 2/12 = 15/12",
        "The answer is \\boxed{13/12}",
    ),
    TO_BASE: (
        "57 = 18 * 3 + 3",
        "57 = 19 * 3 + 1",
        "19 = 9 * 2 + 1",
        "19 / 3 = 6 remainder 2",
        "In base 3 it is \\boxed{0102}",
        "57 - 3 = 54",
    ),
    FROM_BASE: (
        "2 * 3 + 1 = 7",
        "2 * 9 = 18",
        "2 * 27 + 1 * 9 = 63",
        "6 * 3 + 0 = 18",
        "The number is \\boxed{60}",
        "3^3 = 9",
    ),
    RATES: (
        "books: 12 / 3 = 4",
        "12 / 4 = 3",
        "3 * 4 = 12, 5 * 16 = 80",
        "one pen costs 3 dollars",
        "16 + 8 = 24",
        "12 + 40 = 52",
        "Together \\boxed{52}",
    ),
    MIX: ("n = 6", "n + 3 = 15", "7 * 3 = 21", "12 + 7 = 18", "The answer is 19", "gcd(84, 36) = 57"),
}


def _cases(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(problem, step) for problem, steps in table.items() for step in steps]


@pytest.mark.parametrize(("problem", "step"), _cases(RIGHT))
def test_right_steps_are_recognised(problem: str, step: str) -> None:
    assert check_step(problem, [], step)


@pytest.mark.parametrize(("problem", "step"), _cases(WRONG))
def test_wrong_steps_are_caught(problem: str, step: str) -> None:
    assert not check_step(problem, [], step)


def test_every_family_has_its_tables() -> None:
    for table in (RIGHT, WRONG):
        counts = dict.fromkeys(FAMILIES, 0)
        for problem, steps in table.items():
            counts[next(name for name, family in FAMILIES.items() if family.truth(problem))] += len(steps)
        assert min(counts.values()) >= 5, counts


@given(st.sampled_from(sorted(FAMILIES)), st.integers(1, 3), st.integers(0, 10**6))
@settings(max_examples=300, deadline=None)
def test_canonical_solutions_pass_and_only_their_family_reads_them(name: str, difficulty: int, seed: int) -> None:
    question = FAMILIES[name].generate(Random(seed), difficulty)
    assert [family.name for family in FAMILIES.values() if family.truth(question.problem)] == [name]
    assert question_truth(question.problem).answer == Fraction(question.answer)
    assert check_answer(question.problem, question.solution)
    for index, step in enumerate(question.steps):
        assert check_step(question.problem, question.steps[:index], step), (question.problem, step)
        assert step.endswith(SEPARATOR) == (index + 1 < len(question.steps))


@given(st.sampled_from(sorted(FAMILIES)), st.integers(0, 10**6), st.integers(1, 9))
@settings(max_examples=300, deadline=None)
def test_a_wrong_last_digit_of_a_result_is_caught(name: str, seed: int, shift: int) -> None:
    question = FAMILIES[name].generate(Random(seed), 2)
    last = question.steps[-1]
    digit = max(index for index, char in enumerate(last) if char.isdigit())
    changed = last[:digit] + str((int(last[digit]) + shift) % 10) + last[digit + 1 :]
    # A fraction with denominator 0 has no value; a changed denominator is another number.
    assert not check_step(question.problem, question.steps[:-1], changed)


def test_nothing_follows_the_final_answer() -> None:
    assert not check_step(CHAIN, ["The answer is \\boxed{61}"], "14 + 8 = 22")


def test_an_earlier_mistake_excuses_nothing() -> None:
    assert not check_step(CHAIN, ["14 + 8 = 23"], "23 - 5 = 18")
    assert check_step(CHAIN, ["14 + 8 = 23"], "22 - 5 = 17")


def test_a_foreign_question_is_refused() -> None:
    with pytest.raises(UnknownQuestionError, match="How old"):
        check_step("How old is Ana?", [], "12 + 7 = 19")


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_gets_a_verdict(text: str) -> None:
    assert check_step(CHAIN, [], text) in (True, False)
    assert check_answer(FRACTION, f"\\boxed{{{text}}}") in (True, False)
