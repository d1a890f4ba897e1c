"""Hard cases of grading: shapes, units, choices, other notations; and limits of time that hold everywhere."""

import multiprocessing
import threading
from multiprocessing.connection import Connection

import pytest

from arbitrage.grading.grade import grade

RIGHT = [
    (r"\text{C}", [r"\text{(C)}"], {}),
    ("C", [r"\text{(C)}"], {}),
    ("evelyn", [r"\text{Evelyn}"], {}),
    ("4.2", ["4.2"], {"unit": "%"}),
    (r"4.25\%", ["4.2"], {"unit": "%", "tolerance": 0.1}),
    ("4.3", ["4.2"], {"unit": "%", "tolerance": 0.1}),
    (r"\frac{41}{12}\text{ km}", [r"\frac{41}{12}"], {"unit": "km"}),
    (r"864\text{ square inches}", [r"864 \mbox{ inches}^2"], {}),
    ("864", [r"864 \mbox{ inches}^2"], {}),
    (r"\$32,348", [r"\$32,\!348"], {}),
    (r"1.8", [r"1\frac{4}{5}"], {}),
    ("1 4/5", [r"\frac{9}{5}"], {}),
    (r"-2 \leq x \leq 7", [r"x \in [-2,7]"], {}),
    ("x > 5", [r"(5,\infty)"], {}),
    (r"(3,\infty)\cup(-\infty,2)", [r"(-\infty, 2) \cup (3, \infty)"], {}),
    (r"\{-2, 1-\sqrt5, 1+\sqrt5\}", [r"\{1\pm\sqrt{5},-2\}"], {}),
    (r"\begin{bmatrix} -\frac13 \\ \frac53 \end{bmatrix}", [r"\begin{pmatrix} -1/3 \\ 5/3 \end{pmatrix}"], {}),
    ("7x-5", ["f(x)=7x-5"], {}),
    ("1.414214", [r"\sqrt{2}"], {}),
    ("1,080, 2,000", ["1080", "2000"], {}),
    ("52_{8}", ["52_8"], {}),
    (r"\frac{2(n)}{2}", ["n"], {}),
    ("y-2x=3", ["y = 2x + 3"], {}),
]  # fmt: skip
WRONG = [
    ("D", [r"\text{(C)}"], {}),
    ("4.31", ["4.2"], {"unit": "%", "tolerance": 0.1}),
    (r"41/12\text{ m}", [r"\frac{41}{12}"], {"unit": "km"}),
    (r"15\text{ cm}", [r"15\mbox{ cm}^2"], {}),
    (r"-2 < x \leq 7", [r"x \in [-2,7]"], {}),
    (r"(-\infty, 2] \cup (3, \infty)", [r"(-\infty, 2) \cup (3, \infty)"], {}),
    (r"[1,2]", ["(1,2)"], {}),
    (".0000671", [".0000672"], {}),
    ("1.414213", [r"\sqrt{2}"], {}),
    ("1.41", [r"\sqrt{2}"], {}),
    ("14/5", [r"1\frac{4}{5}"], {}),
    ("52_9", ["52_8"], {}),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", [r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}"], {}),
    ("x=5", ["y=5"], {}),
    ("-2", ["-2", "-2"], {}),
]


@pytest.mark.parametrize(("answer", "gold", "grading"), RIGHT)
def test_another_notation_is_right(answer: str, gold: list[str], grading: dict[str, object]) -> None:
    assert grade(f"\\boxed{{{answer}}}", gold, grading)[1] is True


@pytest.mark.parametrize(("answer", "gold", "grading"), WRONG)
def test_a_near_miss_is_wrong(answer: str, gold: list[str], grading: dict[str, object]) -> None:
    assert grade(f"\\boxed{{{answer}}}", gold, grading)[1] is False


def _grade_a_root(pipe: Connection) -> None:
    pipe.send(grade(r"\boxed{\sqrt{50}}", [r"5\sqrt{2}"], {})[1])


def test_grading_works_in_forked_workers_and_threads_at_once() -> None:
    found: list[bool] = []

    def one(n: int) -> None:
        found.append(grade(f"\\boxed{{\\sqrt{{{n * n * 3}}}}}", [f"{n}\\sqrt{{3}}"], {})[1])

    threads = [threading.Thread(target=one, args=(n,)) for n in range(2, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ours, theirs = multiprocessing.Pipe()
    worker = multiprocessing.get_context("fork").Process(target=_grade_a_root, args=(theirs,))
    worker.start()
    assert ours.poll(60)
    assert ours.recv() is True
    worker.join()
    assert found == [True] * 4
