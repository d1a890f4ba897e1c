"""One spelling of a question: LaTeX looks make no difference, numbers, signs and brackets do."""

import pytest

from arbitrage.questions.overlap import find_overlaps
from arbitrage.questions.spelling import copy_key

PROBLEM = r"Compute $\frac{1}{2} \cdot \left( 3x + 4 \right) \leq 5^{\circ}$."
SPELLINGS = [
    r"Compute $\dfrac12\times(3x+4)\le5^\circ$.",
    r"Compute $\displaystyle \tfrac{1}{2} \cdot \bigl(3x + 4\bigr) \leqslant 5^{\circ}$",
    "Compute 1/2 · (3x + 4) ≤ 5°.",
    r"Compute \(\frac 12\,\cdot\, (3 x+4) \leq 5 \text{ degrees}\).",
    r"compute $${1 \over 2} \times \left(3x+4\right) \le 5^{\circ}$$",
    "Compute $\\frac{1}{2} \\cdot (3x + 4) &lt;= 5^{\\circ}$.",
]
OTHERS = [
    r"Compute $\frac{1}{3} \cdot \left( 3x + 4 \right) \leq 5^{\circ}$.",
    r"Compute $\frac{1}{2} \cdot \left( 3x - 4 \right) \leq 5^{\circ}$.",
    r"Compute $\frac{1}{2} \cdot 3x + 4 \leq 5^{\circ}$.",
    r"Compute $\frac{1}{2} \cdot \left( 3x + 4 \right) \geq 5^{\circ}$.",
    r"Compute $\frac{1}{2} \cdot \left( 3y + 4 \right) \leq 5^{\circ}$.",
]


@pytest.mark.parametrize("other", SPELLINGS)
def test_another_spelling_is_the_same_question(other: str) -> None:
    assert copy_key(other) == copy_key(PROBLEM)
    assert find_overlaps([other], [PROBLEM], 13) == ["whole"]


@pytest.mark.parametrize("other", OTHERS)
def test_another_number_sign_bracket_or_letter_is_another_question(other: str) -> None:
    assert copy_key(other) != copy_key(PROBLEM)


def test_picture_code_is_a_link_to_the_picture() -> None:
    problem = "How large is the angle $x$? [asy]\nunitsize(0.8 cm);\ndraw((0,0)--(1,1));\n[/asy]"
    link = "How large is the angle $x$? ![](https://cdn.example.org/picture-1.png)"
    fenced = problem.replace("[asy]", "```asy").replace("[/asy]", "```")
    assert copy_key(problem) == copy_key(link) == copy_key(fenced)
    assert find_overlaps([link], [problem], 13) == ["whole"]


def test_an_x_between_numbers_is_a_product() -> None:
    assert copy_key(r"Find $10\times 15$.") == copy_key("Find 10 x 15.")
    assert copy_key("Find 10 x.") != copy_key(r"Find $10\times$.")


def test_thousands_and_dots_are_spelt_alike() -> None:
    assert copy_key(r"Add $1, 2, \ldots, 10{,}000$.") == copy_key("Add $1, 2, ..., 10,000$.")
    assert copy_key(r"Add $\$1{,}000$ and $a$ % of it") == copy_key("Add \\$1000 and a \\% of it.")
