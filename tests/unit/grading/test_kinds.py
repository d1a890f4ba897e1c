r"""Both directions of every kind that graders are reported to get wrong: right however spelt, wrong however alike."""

import pytest

from arbitrage.grading.extract import extract_answer
from arbitrage.grading.grade import grade

VERDICTS: dict[str, list[tuple[str, str, bool]]] = {  # kind -> (answer, gold, whether it is right)
    "small and near numbers": [
        (r"\left(\frac{5}{6}\right)^{300}", r"\left(\frac{5}{6}\right)^{301}", False),
        (r"\frac{5^{300}}{6^{300}}", r"\left(\frac56\right)^{300}", True),
        (r"\frac{1}{30\cdot 29!}", r"\frac{1}{30!}", True),
        ("2024^{2025}+1", "2024^{2025}", False),
        ("9^{9^9}+1", "9^{9^9}", False),
        ("9^{9^9}+1", "1+9^{9^9}", True),
        (r"10^{10^{10}}+1", r"10^{10^{10}}", False),
        (r"\sin(10^{-30})", "10^{-30}", False),
        (r"\pi+10^{-100}", r"\pi", False),
        (r"\sqrt{2}+\sqrt{3}", r"\sqrt{5+2\sqrt6}", True),
    ],
    "sums and equations": [
        (r"\sum_{k=1}^{9}(k+1)", "54", True),
        (r"\sum_{k=1}^{10} k = 55", "55", True),
        ("1+2=4", "3", False),
        ("1+2=4", "4", False),
        ("x+y=5", "5", False),
        ("x=1 and x=2", "x=2", False),
        ("x=2", "x=1 and x=2", False),
    ],
    "letter case": [
        ("e", "E", False),
        ("I", "i", False),
        ("2I", "2i", False),
        (r"\frac{V}{I}", r"\frac{V}{i}", False),
        ("d", r"\text{(D)}", True),
        ("NO", "no", True),
        (r"\textnormal{no}", "no", True),
    ],
    "names": [
        (r"x \mapsto 2x", "f(x)=2x", True),
        ("(m,n)=(1,2)", "m=1, n=2", True),
        ("(n,m)=(2,1)", "(m,n)=(1,2)", True),
        ("(m,n)=(1,2)", "(n,m)=(1,2)", False),
        (r"f(x)=0 \text{ or } f(x)=x", "f(x)=x, f(x)=0", True),
        (r"f(x) = x \text{ and } f(x) = -x", r"f(x)=\pm x", True),
        ("a_n=2^n", "a_k=2^k", True),
        ("a_n=3", "a_m=3", False),
    ],
    "words": [
        (r"n \text{ is odd}", r"n \text{ is even}", False),
        ("n", r"n \text{ is odd}", False),
        (r"\text{even integers}", r"\text{odd integers}", False),
        (r"5\text{ red apples}", r"5\text{ apples}", True),
        (r"5\text{ red apples}", r"5\text{ blue apples}", False),
    ],
    "degrees": [
        (r"\frac{1}{\sin 10^\circ}", r"\csc 10^\circ", True),
        (r"15^\circ 30'", r"15.5^\circ", True),
        (r"15^\circ 30'", r"15.3^\circ", False),
    ],
    "units": [
        (r"\text{€}5", r"5\text{ euros}", True),
        ("£5", r"5\text{ pounds}", True),
        ("£5", r"\$5", False),
        (r"5\text{ USD}", r"\$5", True),
        (r"\text{Rs. }50", "50", True),
        (r"5\text{ dollars and }50\text{ cents}", r"\$5.50", True),
        (r"5\text{ feet }6\text{ inches}", r"66\text{ inches}", True),
        ("2 hours 30 minutes", "2.3 hours", False),
        (r"5\text{ dozen}", "60", True),
    ],
    "intervals": [
        (r"x \ne \pm 1", r"(-\infty,-1)\cup(-1,1)\cup(1,\infty)", True),
        (r"\mathbb{R}-\{1\}", r"x\ne 1", True),
        (r"\text{all real numbers}", r"(-\infty,\infty)", True),
        (r"\text{All real numbers except }3", r"x\ne3", True),
        (r"\text{all real numbers except }0\text{ and }1", r"x\ne0,1", True),
        (r"x=1\text{ or }x=2", "1,2", True),
        (r"x=1\text{ or }x=2", r"x=1\text{ or }x=3", False),
        ("]2,5[", "(2,5)", True),
        ("]2,5[", "[2,5]", False),
        ("[2,5[", "(2,5]", False),
        (r"]-\infty,2[\cup]3,+\infty[", r"(-\infty,2)\cup(3,\infty)", True),
        ("[0;5]", "[0,5]", True),
        (r"\{2\}\cup(2,3)", "[2,3)", True),
    ],
    "thousands": [
        ("1,200, 1,300", "1200, 1300", True),
        ("2,048 and 4,096", "2048, 4096", True),
        ("(1,000, 2,000)", "(1000,2000)", True),
        (r"1,000\pi", r"1000\pi", True),
        ("999,999+1", "1,000,000", True),
        ("1,200, 1,301", "1200, 1300", False),
        ("(1,200)", "1200", False),
    ],
    "styles": [
        (r"\frac{1}{\mathrm e}", r"\frac1e", True),
        (r"\bf{7}", "7", True),
        (r"\color{red}{5}", "5", True),
        (r"{\color{blue}5}", "5", True),
        (r"\underline{5}", "5", True),
        (r"{\displaystyle \frac12}", "0.5", True),
        (r"\large 5", "5", True),
        (r"\color{red}{5}", "6", False),
    ],
}


@pytest.mark.parametrize(
    ("answer", "gold", "right"), [pytest.param(*case, id=kind) for kind, cases in VERDICTS.items() for case in cases]
)
def test_what_an_answer_means_decides_and_not_how_it_is_written(answer: str, gold: str, right: bool) -> None:
    assert grade(f"\\boxed{{{answer}}}", [gold], {})[1] is right


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed\frac12", r"\frac12"),
        (r"\boxed -\frac12.", r"-\frac12"),
        (r"\boxed 2\pi$", r"2\pi"),
        (r"(so \boxed 7)", "7"),
        (r"\[\boxed 7\]", "7"),
        (r"\boxed~7", "7"),
        (r"\framebox[2cm]{12}", "12"),
        (r"It is \boxed{12}, in \boxed{...}.", "12"),
        (r"\boxed{12}, as \boxed{\ldots} asks", "12"),
        (r"\boxed{12}. I wrote \boxed{\text{answer}}.", "12"),
        (r"\boxed{12}\boxed{\ }", "12"),
        (r"\boxed{12}, put in \boxed as asked", "12"),
        (r"\boxed{12} (put it in \boxed)", "12"),
        (r"\boxed{\text{}}", None),
        (r"\boxed{{}}", None),
        (r"\boxed{\{\}}", r"\{\}"),
        (r"\boxed yes", "yes"),
    ],
)
def test_a_box_that_only_holds_a_place_is_no_answer_and_one_without_braces_ends_at_a_blank(
    text: str, answer: str | None
) -> None:
    assert extract_answer(text) == answer
