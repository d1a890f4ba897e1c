"""Several answers in one text."""

import pytest

from arbitrage.questions.answers import split_answers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$69$,$84$", ["69", "84"]),
        ("$-2,0,2$", ["-2", "0", "2"]),
        ("$(1,1), (3,2)$", ["(1,1)", "(3,2)"]),
        ("$221,$8$", ["221", "8"]),
        ("$f(x)=x,f(x)=-x$", ["f(x)=x", "f(x)=-x"]),
        ("$\\frac{1}{6} \\pi, \\{1,2\\}$", ["\\frac{1}{6} \\pi", "\\{1,2\\}"]),
        ("$]0,1[$", ["]0,1["]),
        ("$(0,1]$, $[2,3)$", ["(0,1]", "[2,3)"]),
        ("$(0, 1$", ["$(0, 1$"]),
        ("$f(x)=ax+b$, where $b$ is an integer", ["$f(x)=ax+b$, where $b$ is an integer"]),
        ("7", ["7"]),
    ],
)
def test_a_text_is_cut_at_the_commas_outside_brackets(text: str, expected: list[str]) -> None:
    assert split_answers(text) == expected
