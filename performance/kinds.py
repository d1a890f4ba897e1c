r"""Right answers spelt otherwise and wrong ones that look alike, of the kinds that graders are reported to get wrong.

Each function takes a question's gold answers and gives cases (gold answers, answer). Most golds have none of these
kinds in them, so some are put into one: a number into a sum's bound, under a power of ten, beside a unit. Like
`rewritings`, these are rules on the text, made without the grader's own parsing.
"""

import re
from collections.abc import Callable, Iterator
from fractions import Fraction

Case = tuple[list[str], str]
Cases = Callable[[list[str]], Iterator[Case]]

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_LETTERS = re.compile(r"(?<![\\a-zA-Z{])[a-zA-Z](?![a-zA-Z}])")
_INTERVAL = re.compile(r"(?:x ?\\in ?)?([(\[])\s*([^,()\[\]]+?)\s*,\s*([^,()\[\]]+?)\s*([)\]])")
_FUNCTION = re.compile(r"([fgp])\(([xnz])\) ?= ?([^,]+)")


def _only(answers: list[str]) -> str | None:
    """The one answer of a question that has one, without dollar signs and `\\left`."""
    if len(answers) != 1:
        return None
    return answers[0].strip().strip("$").strip().rstrip(".").replace("\\left", "").replace("\\right", "")


def _number(answers: list[str]) -> str | None:
    text = _only(answers)
    return text if text and _NUMBER.fullmatch(text) and Fraction(text) != 0 else None


def _whole(answers: list[str]) -> int | None:
    text = _number(answers)
    return int(text) if text and "." not in text else None


def _right_inequality(answers: list[str]) -> Iterator[Case]:
    match = _INTERVAL.fullmatch(_only(answers) or "")
    if match is None:
        return
    left, low, high, right = match.groups()
    below, above = r"\le" if left == "[" else "<", r"\leq" if right == "]" else "<"
    if "infty" in low and "infty" not in high:
        yield answers, f"x {above} {high}"
        yield answers, f"{high} {'>' if above == '<' else chr(92) + 'geq'} x"
    elif "infty" in high and "infty" not in low:
        yield answers, f"{low} {below} x"
        yield answers, f"x {'>' if below == '<' else chr(92) + 'geqslant'} {low}"
    elif "infty" not in low:
        turned = {"<": ">", r"\le": r"\ge", r"\leq": r"\geq"}
        yield answers, f"{low} {below} x {above} {high}"
        yield answers, f"{high} {turned[above]} x {turned[below]} {low}"
        yield [f"{low} {below} t {above} {high}"], f"t \\in {left}{low},{high}{right}"


def _right_or(answers: list[str]) -> Iterator[Case]:
    value = _whole(answers)
    if value is not None and 0 < value < 100:
        gold = [f"(-\\infty,{value})\\cup({value + 3},\\infty)"]
        yield gold, f"x<{value} \\text{{ or }} x>{value + 3}"
        yield gold, f"x>{value + 3} \\lor {value}>x"
        yield [f"(-\\infty,{value})\\cup({value},\\infty)"], f"x \\ne {value}"
        yield [f"[-{value},{value}]"], f"|x| \\le {value}"
        yield [f"(-\\infty,-{value}]\\cup[{value},\\infty)"], f"|x| \\ge {value}"


def _right_degrees(answers: list[str]) -> Iterator[Case]:
    text = _only(answers) or ""
    if match := re.fullmatch(r"(\d+)\^(?:\\circ|\{\\circ\})", text):
        share = Fraction(int(match[1]), 180)
        yield answers, f"\\frac{{{share.numerator}\\pi}}{{{share.denominator}}}"
        yield answers, f"{match[1]}\\text{{ degrees}}"
    value = _whole(answers)
    if value is not None and 0 < value < 90:
        yield [f"\\sin {90 - value}^\\circ"], f"\\cos {value}^{{\\circ}}"
        yield [f"2\\sin {value}^\\circ\\cos {value}^\\circ"], f"\\sin({2 * value}^\\circ)"


def _right_money(answers: list[str]) -> Iterator[Case]:
    value = _number(answers) or (_only(answers) or "").removeprefix("\\$")
    if _NUMBER.fullmatch(value) and float(value) > 0:
        cents = Fraction(value) * 100
        if cents.denominator == 1 and cents < 10**6:
            yield [f"\\${value}"], f"{cents} \\text{{ cents}}"
            yield [f"{cents}\\text{{ cents}}"], f"\\${value}"
            yield [f"\\${value}"], f"{value} \\text{{ dollars}}"


def _right_number(answers: list[str]) -> Iterator[Case]:
    value = _whole(answers)
    if value is None:
        return
    yield answers, f"\\boldsymbol{{{value}}}"
    yield answers, f"{{\\bf {value}}}"
    if abs(value) < 1000:
        yield answers, f"\\sqrt[3]{{{value**3}}}"
    if abs(value) >= 1000:
        digits = str(abs(value)).rstrip("0")
        power = len(str(abs(value))) - 1
        sign = "-" if value < 0 else ""
        yield [f"{value:,}"], f"{sign}{digits[0]}.{digits[1:] or 0} \\times 10^{{{power}}}"
        yield [f"{value:,}"], f"{value - 500} + 500"


def _right_recurring(answers: list[str]) -> Iterator[Case]:
    match = re.fullmatch(r"(-?)\\d?frac\{?(\d+?)\}? ?\{?(\d+)\}?", _only(answers) or "")
    if match is None or int(match[3]) == 0:
        return
    whole, rest = divmod(int(match[2]), int(match[3]))
    digits, seen = "", {}
    while rest and rest not in seen and len(digits) < 30:
        seen[rest] = len(digits)
        digit, rest = divmod(10 * rest, int(match[3]))
        digits += str(digit)
    if rest and rest in seen:
        fixed, period = digits[: seen[rest]], digits[seen[rest] :]
        yield answers, f"{match[1]}{whole}.{fixed}\\overline{{{period}}}"
        dotted = (
            f"\\dot{{{period}}}" if len(period) == 1 else f"\\dot{{{period[0]}}}{period[1:-1]}\\dot{{{period[-1]}}}"
        )
        yield answers, f"{match[1]}{whole}.{fixed}{dotted}"


def _right_letters(answers: list[str]) -> Iterator[Case]:
    text = _only(answers) or ""
    if re.search(r"\d ?i$", text):
        yield answers, re.sub(r"i$", r"\\mathrm{i}", text)
        yield answers, re.sub(r"i$", r"{\\rm i}", text)
    if match := _FUNCTION.fullmatch(text):
        name, letter, value = match.groups()
        if "t" not in re.sub(r"\\[a-z]+", "", value):
            renamed = re.sub(rf"(?<![\\a-zA-Z]){letter}(?![a-zA-Z])", "t", value)
            yield answers, f"{name}(t)={renamed}"
        yield answers, f"{text} \\text{{ for any }} {letter}"
        yield answers, f"{text} \\quad \\forall {letter} \\in \\mathbb{{R}}"
    value = _whole(answers)
    if value is not None and 0 < value < 50:
        yield [f"e^{{{value}}}"], f"\\mathrm{{e}}^{{{value}}}"
        yield [f"{{\\rm e}}^{value}"], f"e^{{{value}}}"


def _wrong_tiny(answers: list[str]) -> Iterator[Case]:
    value = _number(answers)
    if value:
        yield [f"\\frac{{{value}}}{{10^{{40}}}}"], f"\\frac{{2\\cdot({value})}}{{10^{{40}}}}"
        yield [f"{value}\\cdot 2^{{-90}}"], f"{value}\\cdot 2^{{-91}}"
        yield [f"\\frac{{{value}}}{{25!}}"], "0"
        yield [f"\\frac{{{value}}}{{25!}}"], "0.000000"


def _wrong_case(answers: list[str]) -> Iterator[Case]:
    text = _only(answers) or ""
    letters = [match for match in _LETTERS.finditer(text) if match.group() not in "ei"]
    if letters and "text" not in text and "=" not in text:
        match = letters[0]
        yield answers, text[: match.start()] + match.group().swapcase() + text[match.end() :]
    value = _whole(answers)
    if value is not None:
        yield [f"\\frac{{{value}R}}{{r}}"], f"\\frac{{{value}r}}{{R}}"
        yield [f"R-{abs(value)}r"], f"r-{abs(value)}R"


def _wrong_names(answers: list[str]) -> Iterator[Case]:
    value = _whole(answers)
    if value is not None:
        yield [f"f(1)={value}, f(2)={value + 2}"], f"f(1)={value + 2}, f(2)={value}"
        yield [f"x={value}, y={value - 5}"], f"x={value - 5}, y={value}"
        yield [f"f(x)={value}x", f"g(x)=x^{{{abs(value)}}}+1"], f"f(x)=x^{{{abs(value)}}}+1, g(x)={value}x"
        yield [f"x={value}"], f"y={value}"


def _wrong_unit(answers: list[str]) -> Iterator[Case]:
    value = _number(answers)
    if value:
        yield [f"{value}\\text{{ cm}}"], f"{value}\\text{{ m}}"
        yield [f"{value}\\text{{ cm}}"], f"{value}\\text{{ cm}}^2"
        yield [f"{value} \\text{{ cents}}"], f"\\${value}"
        yield [f"\\${value}"], f"{value} \\text{{ cents}}"
        yield [f"{value}\\%"], f"{value}\\text{{ cm}}"
        yield [f"{value}\\text{{ a.m.}}"], f"{value}\\text{{ p.m.}}"


def _wrong_bounds(answers: list[str]) -> Iterator[Case]:
    value = _whole(answers)
    if value is not None and 2 <= value <= 40:
        yield [f"S=\\sum_{{k=1}}^{{{value}}} k"], f"S=\\sum_{{k=1}}^{{{value + 1}}} k"
        yield [f"T=\\prod_{{k=1}}^{{{value}}} k"], f"T=\\sum_{{k=1}}^{{{value}}} k^2"
        yield [f"2\\sin {value}^\\circ"], f"2\\sin {value}"
        yield [f"\\binom{{{value + 3}}}{{2}}"], f"\\binom{{{value + 3}}}{{3}}" if value != 2 else "11"


def _wrong_region(answers: list[str]) -> Iterator[Case]:
    match = _INTERVAL.fullmatch(_only(answers) or "")
    if match is None:
        return
    left, low, high, right = match.groups()
    below, above = "<" if left == "[" else r"\le", "<" if right == "]" else r"\le"
    if "infty" not in low + high:
        yield answers, f"{low} {below} x < {high}" if right == ")" else f"{low} < x {above} {high}"
        yield answers, f"{low} > x > {high}"
        yield answers, f"x < {low} \\text{{ or }} x > {high}"
    elif "infty" in high:
        yield answers, f"x {below.replace('<', '>').replace('le', 'ge')} {low}"
        yield answers, f"x < {low}"
    else:
        yield answers, f"x {above} {high}"
        yield answers, f"x > {high}"


RIGHT: dict[str, Cases] = {
    "inequalities": _right_inequality, "or, ne, |x|": _right_or, "degrees": _right_degrees, "money": _right_money,
    "powers, roots, bold": _right_number, "recurring": _right_recurring, "letters, names": _right_letters,
}  # fmt: skip
WRONG: dict[str, Cases] = {
    "tiny": _wrong_tiny, "letter case": _wrong_case, "names": _wrong_names, "units": _wrong_unit,
    "bounds, degrees": _wrong_bounds, "regions": _wrong_region,
}  # fmt: skip
