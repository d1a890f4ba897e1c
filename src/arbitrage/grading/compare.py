r"""Whether two answers are equal: their shape first (tuple, interval, set, union, matrix, list), then their parts.

Shapes are compared here, exactly, and only single expressions go to math-verify, which would take an open interval
for a pair, round decimals to six places and let brackets pass.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache

from scipy.optimize import linear_sum_assignment

from arbitrage.grading.extract import split_list, split_outside
from arbitrage.grading.normalise import canonical_unit, decimals, exact, key, plain, without_unit
from arbitrage.grading.symbolic import ALGEBRA

LONGEST_ANSWER = 400  # characters; longer texts are runaway generations that a parser should not be fed
ENOUGH_DECIMALS = 5  # an answer rounded to so many places stands for the value that it is rounded from

_HUGE = re.compile(r"\d{201}|\^\{?\d*\^|\^\{?\d{5}|!!|\d{4}!")
_NAME = re.compile(
    r"(?:([a-zA-Z]|\\[a-zA-Z]+)(?:_(?:\w|\{[^{}]*\}))?'*(\([a-z](?:,[a-z])*\))?"
    r"|\\angle ?[A-Z_{}\d ]+|\([a-zA-Z](?:,[a-zA-Z])+\))"
)
_MATRIX = re.compile(r"\\begin\{pmatrix\}(.*)\\end\{pmatrix\}")
_WORD = re.compile(r"\\text\{\(?([^{}\d]*?)\)?\}|\(?([A-F]|[A-Za-z]{3,}(?: [a-z]+)*)\)?")
_BASE = re.compile(r"(\w+?)_\{?(\d+)\}?")
_CHAIN = re.compile(r"([^<>=]+?) ?(<|\\le) ?[a-zA-Z] ?(<|\\le) ?([^<>=]+)")
_BOUND = re.compile(r"[a-zA-Z] ?(<|>|\\le|\\ge) ?([^<>=]+)")
_ENTRY = re.compile(r"\\in(?![a-z])")


@lru_cache(maxsize=200_000)
def equal(answer: str, gold: str, unit: str | None = None, tolerance: float = 0.0) -> bool:
    """Whether an answer is the gold answer. `unit` is the gold answer's where its text does not name it."""
    return _equal(plain(answer), plain(gold), unit, tolerance)


def match_all(answers: Sequence[str], golds: Sequence[str], same: Callable[[str, str], bool]) -> bool:
    """Whether the answers are the golds in some order, each used once."""
    if len(answers) != len(golds):
        return False
    table = [[same(answer, gold) for gold in golds] for answer in answers]
    rows, columns = linear_sum_assignment(table, maximize=True)
    return all(table[row][column] for row, column in zip(rows, columns, strict=True))


def _equal(answer: str, gold: str, unit: str | None, tolerance: float) -> bool:
    if key(answer) == key(gold):
        return True
    (name, value), (gold_name, gold_value) = _named(answer), _named(gold)
    other_form = "=" in value + gold_value and "," not in answer + gold
    if other_form or (name and gold_name and not _same_name(name, gold_name)):
        return _single(answer, gold, unit, tolerance)  # two equations, perhaps in another order
    return _shaped(value, gold_value, unit, tolerance)


def _shaped(answer: str, gold: str, unit: str | None, tolerance: float) -> bool:
    def same(one: str, other: str) -> bool:
        return _equal(one, other, unit, tolerance)

    number = exact(answer), exact(gold)
    if number[0] is not None and number[1] is not None:
        return _near(number[0], number[1], decimals(answer), tolerance)
    for mark in ("\\cup", "\\text{or}"):
        if mark in gold and mark in answer:
            return match_all(split_outside(answer, mark), split_outside(gold, mark), same)
    if _is_set(gold):
        inner = answer[2:-2] if _is_set(answer) else answer
        return match_all(split_list(inner), split_list(gold[2:-2]), same)
    if _is_set(answer):
        return len(split_list(gold)) > 1 and match_all(split_list(answer[2:-2]), split_list(gold), same)
    if matrix := _MATRIX.fullmatch(gold):
        other = _MATRIX.fullmatch(answer)
        return other is not None and _same_entries(_entries(other[1]), _entries(matrix[1]), same)
    entries, gold_entries = _bracketed(answer), _bracketed(gold)
    if gold_entries is not None and len(gold_entries) == 2 and (interval := _as_interval(answer)):
        answer, entries = interval, _bracketed(interval)
    if gold_entries is not None:
        if entries is None and gold[0] == "(" and gold[-1] == ")" and not re.search(r"[<>]|\\[lg]e", answer):
            entries = split_outside(answer, ",")  # a tuple without its brackets
        elif entries is not None and (answer[0], answer[-1]) != (gold[0], gold[-1]):
            return False
        if entries is not None:
            return _same_entries([entries], [gold_entries], same)
    elif entries is not None:
        return False
    parts, gold_parts = split_list(answer), split_list(gold)
    if len(parts) > 1 or len(gold_parts) > 1:
        return match_all(parts, gold_parts, same)
    return _single(answer, gold, unit, tolerance)


def _single(answer: str, gold: str, unit: str | None, tolerance: float) -> bool:
    """Whether two single expressions are equal, words and units included."""
    word, gold_word = _word(answer), _word(gold)
    if gold_word is not None:
        choice = len(gold_word) == 1 and re.fullmatch(r"\(?([a-z])\)?", answer)  # a choice's letter in lower case
        return (choice[1] if choice else word) == gold_word
    if (base := _BASE.fullmatch(key(gold))) and (digits := re.fullmatch(r"(\w+?)(?:_\{?(\d+)\}?)?", key(answer))):
        return digits[1] == base[1] and digits[2] in (None, base[2])  # the question says the base
    (value, ours), (gold_value, theirs) = without_unit(answer), without_unit(gold)
    theirs = theirs or (canonical_unit(unit) if unit else None)
    if "percent" in (ours, theirs) and ours != theirs:
        return _as_share(value, gold_value, ours, tolerance)
    if ours and theirs and ours != theirs:
        return False
    number, gold_number = exact(value), exact(gold_value)
    if number is not None and gold_number is not None:
        return _near(number, gold_number, decimals(value), tolerance)
    if key(value) == key(gold_value):
        return True
    return _algebra(value, gold_value, tolerance)


def _algebra(answer: str, gold: str, tolerance: float) -> bool:
    if len(answer) > LONGEST_ANSWER or (_HUGE.search(answer) and not _HUGE.search(gold)):
        return False  # nothing of this size is a gold answer, and evaluating it could take for ever
    number, gold_number = exact(answer), exact(gold)
    if number is not None and decimals(answer):  # a rounded value: as near as its own last digit says
        if max(decimals(answer), ENOUGH_DECIMALS) > decimals(answer):
            return tolerance > 0 and ALGEBRA.same(answer, gold, tolerance)
        return ALGEBRA.same(answer, gold, max(tolerance, 0.5 * 10.0 ** -decimals(answer)))
    return ALGEBRA.same(_for_parser(answer), _for_parser(gold), tolerance if gold_number is not None else 0.0)


def _near(answer: Fraction, gold: Fraction, digits: int, tolerance: float) -> bool:
    """Exact, but for the tolerance and for a long decimal that is gold rounded to its last digit."""
    allowed = Fraction(str(tolerance))
    if digits >= ENOUGH_DECIMALS and 10**12 % gold.denominator:  # a fraction that no decimal of use can write
        allowed = max(allowed, Fraction(1, 2 * 10**digits))
    return abs(answer - gold) <= allowed


def _as_share(answer: str, gold: str, ours: str | None, tolerance: float) -> bool:
    """One of the two is in per cent: the bare number may be the same, as the unit was asked for, or the share of 1."""
    number, gold_number = exact(answer), exact(gold)
    if number is None or gold_number is None:
        return False
    share = (number / 100, gold_number) if ours == "percent" else (number, gold_number / 100)
    return _near(number, gold_number, 0, tolerance) or share[0] == share[1]


def _named(text: str) -> tuple[str | None, str]:
    """ "x = 5" is (x, 5), "x \\in [0,1]" (x, [0,1]), "x = 10/2 = 5" (x, 5); anything else (None, text)."""
    parts = [part.strip() for part in _ENTRY.sub("=", text).split("=")]
    if len(parts) == 1 or not all(parts) or not _NAME.fullmatch(parts[0]):
        return None, text
    if len(split_outside(text, ",")) > 1 and len(parts) > 2:
        return None, text  # several equations: a list
    return parts[0], parts[-1]


def _same_name(one: str, other: str) -> bool:
    if one[0] in "\\(" or other[0] in "\\(":
        return key(one) == key(other)
    if "(" in one or "(" in other:
        return True  # f(x) = ..., g(x) = ... and y = ...: a function by any name
    return one.lower() == other.lower()


def _is_set(text: str) -> bool:
    return text.startswith("\\{") and text.endswith("\\}") and text.count("\\{") == 1


def _bracketed(text: str) -> list[str] | None:
    """The entries of "(1,2]", "(1,2,3)": two or more between one pair of brackets that spans the text; else None."""
    if len(text) < 2 or text[0] not in "([" or text[-1] not in ")]" or len(split_outside(text, ",")) != 1:
        return None
    depth = 0
    for position, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0 and position < len(text) - 1:
            return None
    entries = split_outside(text[1:-1], ",")
    return entries if len(entries) > 1 else None


def _as_interval(text: str) -> str | None:
    """ "-2 \\le x < 7" is "[-2,7)", "x > 3" is "(3,\\infty)"; None for anything else."""
    if match := _CHAIN.fullmatch(text):
        low, left, right, high = match.groups()
        return f"{'(' if left == '<' else '['}{low},{high}{')' if right == '<' else ']'}"
    if match := _BOUND.fullmatch(text):
        relation, bound = match.groups()
        closed = relation.startswith("\\")
        if relation in ("<", "\\le"):
            return f"(-\\infty,{bound}{']' if closed else ')'}"
        return f"{'[' if closed else '('}{bound},\\infty)"
    return None


def _entries(matrix: str) -> list[list[str]]:
    rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?", matrix) if row.strip()]
    return [[plain(entry) for entry in row.split("&")] for row in rows]


def _same_entries(ours: list[list[str]], gold: list[list[str]], same: Callable[[str, str], bool]) -> bool:
    if [len(row) for row in ours] != [len(row) for row in gold]:
        return False
    return all(same(a, b) for row, other in zip(ours, gold, strict=True) for a, b in zip(row, other, strict=True))


def _word(text: str) -> str | None:
    """A word, a name or a choice letter in lower case, without \\text and brackets; None for mathematics."""
    match = _WORD.fullmatch(text)
    if match is None:
        return None
    word = (match[1] if match[1] is not None else match[2]).strip().rstrip(".")
    return word.lower() if word else None


def _for_parser(text: str) -> str:
    """An expression as math-verify reads it best: `3m` is not metres, `2(1/3)` no mixed number, `n` is a term."""
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text.replace("^\\circ", ""))
    text = re.sub(r"(?<![\w}^])(\d+)/(\d+)(?![\w{!^])", r"\\frac{\1}{\2}", text)
    text = re.sub(r"^\(([a-zA-Z])\)$", r"\1", text)
    text = re.sub(r"(?<![_\d.])([\d.]+)(?=\()", r"\1\\cdot ", text)
    text = re.sub(r"(?<=\d) ?(?=[a-z](?![a-z]))", r"\\cdot ", text)
    return (
        text + "+0" if re.search(r"(?<![a-zA-Z\\])[a-zA-Z]$", text) and not re.search(r"[=<>,]|\\[lg]e", text) else text
    )
