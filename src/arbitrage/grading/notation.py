r"""An expression as the parser reads it best: braces, degrees as angles, decimals as fractions, `2(3)` as a product."""

import math
import re

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_DECIMAL = re.compile(r"(?<![\d_])(\d*)\.(\d+)")
_DEGREES = re.compile(
    r"(\d+(?:\.\d+)?|\\frac\{[^{}]*\}\{[^{}]*\}|\((?:[^()]|\([^()]*\))*\)|\{[^{}]*\}|\\[a-zA-Z]+|[a-zA-Z])\^\\circ ?"
)
_PRIMES = re.compile(r"(\\[a-zA-Z]+|[a-zA-Z])(_(?:\w|\{[^{}]*\}))?('{1,2})")
_GCD = re.compile(r"\\(gcd|lcm)(?=\([^()]*[a-zA-Z])")
_DOUBLE_FACTORIAL = re.compile(r"(\d+)!!|([a-zA-Z]|\([^()]*\))!!")
_RATIO = re.compile(r"(?<![\w}^])(\d+)/(\d+)(?![\w{!^])")
_MIXED = re.compile(r"(?<![\d.^_}])(\d+) ?\\frac\{(\d+)\}\{(\d+)\}")
_LONE_IN_BRACKETS = re.compile(r"\(([a-zA-Z])\)")
_TIMES_BRACKET = re.compile(r"(?<![_\d.])([\d.]+)(?=\()")
_TIMES_LETTER = re.compile(r"(?<=\d)(?<![\^_]\d) ?(?=[a-zA-Z](?![a-z]{2}))")
_GAMMA = re.compile(r"\\([gG])amma(?![a-zA-Z(])")
_FACTORIAL_POWER = re.compile(r"(\d+!|(?<![a-zA-Z])[a-zA-Z]!)(?=\^)")
_RAISED_DIGIT = re.compile(r"\^(\d)(?=\()")
_CAPITAL_I = re.compile(r"(?<![a-zA-Z\\_{])I(?![a-zA-Z])|(?<=\{)I(?=\})")  # the parser takes it for the imaginary unit
_LOG_TEN = re.compile(r"\\lg(?![a-zA-Z])")
_PLAIN_NUMBERS_FUNCTION = {"gcd": "G_{gcd}", "lcm": "L_{lcm}"}

_OF_AN_ANGLE = re.compile(r"\\(?:exp|log|ln|sqrt)(?![a-zA-Z])|\^\{[^{}]*\^\\circ")
TRIGONOMETRIC = re.compile(r"\\(?:arc)?(?:sin|cos|tan|cot|sec|csc)")


def for_parser(text: str) -> str:
    """`text` (plain) as `expressions.same` reads it. Texts that mean the same still may differ."""
    text = _THOUSANDS.sub("", text)
    text = _DEGREES.sub(lambda m: rf"({_inner(m[1])}\cdot\frac{{\pi}}{{180}})", text)
    text = _DECIMAL.sub(lambda m: rf"\frac{{{int(m[1] + m[2])}}}{{{10 ** len(m[2])}}}", text)
    text = _PRIMES.sub(lambda m: ("\\hat" if len(m[3]) == 1 else "\\tilde") + f"{{{m[1]}}}{m[2] or ''}", text)
    text = _GAMMA.sub(lambda m: f"\\tilde{{{'small' if m[1] == 'g' else 'large'}gamma}}", text)
    text = _GCD.sub(lambda m: _PLAIN_NUMBERS_FUNCTION[m[1]], text)
    text = _DOUBLE_FACTORIAL.sub(_double_factorial, text)
    text = _RATIO.sub(r"\\frac{\1}{\2}", text)
    text = _MIXED.sub(lambda m: _mixed(*map(int, m.groups())), _FACTORIAL_POWER.sub(r"(\1)", text))
    text = _LONE_IN_BRACKETS.sub(r"\1", text) if _LONE_IN_BRACKETS.fullmatch(text) else text
    text = _RAISED_DIGIT.sub(r"^{\1}", text)
    text = _CAPITAL_I.sub(r"\\tilde{I}", text)
    text = _TIMES_BRACKET.sub(r"\1\\cdot ", text)
    return _LOG_TEN.sub(r"\\log_{10}", _TIMES_LETTER.sub(r"\\cdot ", text))


def without_degrees(text: str) -> str | None:
    r"""`text` with its degree signs gone: 180^\circ-2\alpha where an answer in degrees leaves the sign out.

    None where an angle stands in a function or an exponent: there the sign is a factor, which cannot be left out.
    """
    if "^\\circ" in text and (TRIGONOMETRIC.search(text) or _OF_AN_ANGLE.search(text)):
        return None
    return text.replace("^\\circ", " ")


def _mixed(whole: int, above: int, below: int) -> str:
    r"""`1\frac{1}{2}x` is three halves of x; `2\frac{4}{3}` can only be a product."""
    if 0 < above < below:
        return rf"\frac{{{whole * below + above}}}{{{below}}}"
    return rf"{whole}\cdot\frac{{{above}}}{{{below}}}"


def _inner(operand: str) -> str:
    return operand[1:-1] if operand[0] == "{" else operand


def _double_factorial(match: re.Match[str]) -> str:
    if match[1] and int(match[1]) <= 300:
        return str(math.prod(range(int(match[1]), 0, -2)))
    return f"D_{{fact}}({match[1] or match[2].strip('()')})"
