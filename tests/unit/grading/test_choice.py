r"""Choices: the letter however it is written, or the text chosen; never another's."""

from __future__ import annotations

import json

import pytest

from arbitrage.grading.grade import grade

GRADING = json.dumps({"choices": ["12", "15", "\\frac{1}{2}", "no solution"]})


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(B)", "B"),
        ("B.", "B"),
        (r"\text{B}", "B"),
        (r"\textbf{(B)}\ 15", "B"),
        ("B) 15", "B"),
        ("B: 15", "B"),
        ("15", "B"),
        (r"$\frac{1}{2}$", "C"),
        (r"\text{no solution}", "D"),
    ],
)
def test_a_choice_is_known_by_letter_or_text(answer: str, letter: str) -> None:
    assert grade(f"So \\boxed{{{answer}}}.", [letter], GRADING) == (answer, True)
    for other in set("ABCD") - {letter}:
        assert grade(f"So \\boxed{{{answer}}}.", [other], GRADING) == (answer, False)


@pytest.mark.parametrize("answer", ["E", "16", "(B) 12", "A or B", "All", "-15"])
def test_what_names_no_choice_or_two_is_wrong(answer: str) -> None:
    assert not any(grade(f"\\boxed{{{answer}}}", [letter], GRADING)[1] for letter in "ABCD")


def test_letters_alone_where_the_choices_stand_in_the_question() -> None:
    assert grade(r"\boxed{\textbf{(E)}\ 9}", ["E"], {"choices": []}) == (r"\textbf{(E)}\ 9", True)
    assert grade(r"\boxed{9}", ["E"], {"choices": []}) == ("9", False)
