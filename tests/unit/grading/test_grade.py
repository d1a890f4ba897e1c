"""Grading: what counts as the answer, and which answers are equal."""

import json
import threading
import time

import pytest

from arbitrage.grading.extract import extract_answer
from arbitrage.grading.grade import grade


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{42}", "42"),
        (r"\boxed{1} no, \boxed{2}", "2"),
        (r"first \boxed{1}, then wrong, so the answer is \boxed{7}.", "7"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{ 5 }", "5"),
        (r"\fbox{5} and \fboxed{6}", "5, 6"),
        (r"It is \fbox{7}.", "7"),
        (r"The answer is $\boxed{12}$. (It is given in \boxed{} as asked.)", "12"),
        (r"$\boxed 7$", "7"),
        (r"\boxed -3.", "-3"),
        (r"\boxed\frac{1}{2}", r"\frac{1}{2}"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{2} and \boxed{3}", "2, 3"),
        (r"$\boxed{2}$, $\boxed{3}$", "2, 3"),
        (r"\boxed{5} \boxed{5}", "5"),
        ("\\boxed{4}\n\n\\boxed{5}", "5"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{1} and an open \boxed{2", "1"),
        (r"\boxed{}", None),
        ("the answer is 42", None),
        ("", None),
    ],
)
def test_the_answer_is_the_last_box(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


RIGHT = [
    ("42", ["42"]),
    ("042", ["42"]),
    ("-7", ["-7"]),
    ("2/4", ["1/2"]),
    (r"\frac{1}{2}", ["1/2"]),
    (r"-\frac{3}{6}", ["-1/2"]),
    (r"\dfrac{3}{1}", ["3"]),
    ("0.5", [r"\frac{1}{2}"]),
    ("1,000", ["1000"]),
    ("x=5", ["5"]),
    (r"5\text{ cm}", ["5"]),
    (r"90^\circ", ["90"]),
    (r"\sqrt{8}", [r"2\sqrt{2}"]),
    ("(1,2)", ["(1,2)"]),
    (r"\left(\frac12, 2\right)", [r"(\frac{1}{2},2)"]),
    (r"[0,1)", ["[0,1)"]),
    (r"(-\infty, 3]", [r"(-\infty,3]"]),
    ("69,84", ["69,84"]),
    ("2, 3", ["3", "2"]),
    ("x=2 or x=3", ["3", "2"]),
    (r"2 \text{ and } 3", ["3", "2"]),
    (r"\{3, 2\}", ["2", "3"]),
    (r"\pm 3", ["3", "-3"]),
    (r"x=\pm\sqrt{2}", [r"-\sqrt{2}", r"\sqrt{2}"]),
    ("(3,4),(1,2)", ["(1,2)", "(3,4)"]),
    (r"\frac{2}{4}, 7", ["7", "1/2"]),
    (r"50\%", [r"50\%"]),
    (r"50\%", ["50"]),  # the sign as a unit, where the question asks for per cent
    (r"50\%", ["1/2"]),
    ("n^2+1", ["1+n^2"]),
]
WRONG = [
    ("41", ["42"]),
    ("6984", ["69,84"]),
    ("50", ["0.5"]),
    ("0.5", ["50"]),
    (r"\sqrt{3}", [r"2\sqrt{2}"]),
    ("(2,1)", ["(1,2)"]),
    ("(0,1)", ["[0,1)"]),
    ("2", ["2", "3"]),
    (r"\pm 3", ["3"]),
    ("2, 2", ["2", "3"]),
    ("2, 3, 4", ["2", "3"]),
    ("1/0", ["0"]),
    ("0.33", ["1/3"]),
    (r"\frac{1}{", ["1"]),
    ("9^9^9^9^9", ["9"]),
    ("7" * 5000, ["7"]),
]


@pytest.mark.parametrize(("answer", "gold"), RIGHT)
def test_equal_answers_are_right(answer: str, gold: list[str]) -> None:
    assert grade(f"so \\boxed{{{answer}}}", gold, {}) == (answer, True)


@pytest.mark.parametrize(("answer", "gold"), WRONG)
def test_other_answers_are_wrong(answer: str, gold: list[str]) -> None:
    assert grade(f"so \\boxed{{{answer}}}", gold, {})[1] is False


def test_a_solution_without_a_box_has_no_answer_and_is_wrong() -> None:
    assert grade("the answer is 42", ["42"], {}) == (None, False)


@pytest.mark.parametrize(
    ("answer", "tolerance", "right"),
    [
        ("12.34", 0.01, True),
        ("12.36", 0.01, False),
        ("12", 0.5, True),
        (r"\frac{37}{3}", 0.02, True),
        ("12.34", None, False),
    ],
)
def test_a_tolerance_accepts_numbers_that_near_and_no_others(answer: str, tolerance: float | None, right: bool) -> None:
    assert grade(f"\\boxed{{{answer}}}", ["12.345"], {"tolerance": tolerance})[1] is right
    assert grade(f"\\boxed{{{answer}}}", ["12.345"], json.dumps({"tolerance": tolerance, "unit": "cm"}))[1] is right


def test_an_empty_gold_is_refused() -> None:
    with pytest.raises(ValueError, match="gold is empty"):
        grade(r"\boxed{1}", [], {})


def test_grading_works_outside_the_main_thread() -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(grade(r"\boxed{\sqrt{18}}", [r"3\sqrt{2}"], {})[1]))
    thread.start()
    thread.join()
    assert found == [True]


def test_a_hundred_thousand_plain_answers_take_seconds() -> None:
    begin = time.process_time()
    right = sum(grade(f"\\boxed{{{number}}}", [str(number % 1000)], {})[1] for number in range(100_000))
    assert right == 1000
    assert time.process_time() - begin < 10
