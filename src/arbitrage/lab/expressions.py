"""Reading arithmetic out of prose: claims in a step's text, and exact values of the expressions in them."""

import re
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd

from arbitrage.lab.families.base import Leaves, Truth

LARGEST_EXPONENT = 64
LARGEST_NUMBER = 10**9

# Spellings that are made uniform before anything is read. Order matters: longer ones first.
SPELLINGS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))"),
        (r"\\(?:times|cdot)|[×·]", "*"),
        (r"\\(?:left|right|quad|,|;|!|\(|\)|\[|\])|\$", " "),
        (r"\\(?:equiv)|≡", "="),
        (r"\\p?mod", " mod "),
        (r"[−–]", "-"),
        (r"÷", "/"),
        (r"\*\*", "^"),
        (r"[{}]", ""),
        (r"_", ""),
        (r"\bremainder (?:of|when) (\d+) (?:is )?(?:divided )?by (\d+)", r"\1 mod \2"),
        (r"\b(?:modulo|modulus)\b|%", " mod "),
        (r"(?:is )?(?:is )?\b(?:equal to|congruent to)\b|\bequals?\b", "="),
        (r"\bmultiplied by\b|\btimes\b", "*"),
        (r"\bdivided by\b", "/"),
        (r"\bplus\b", "+"),
        (r"\bminus\b", "-"),
        (r"\bgreatest common (?:divisor|factor)\b|\\gcd\b", "gcd"),
        (r"\bgcd of (\d+) and (\d+)", r"gcd(\1, \2)"),
        (r"\b(?:gives|makes|leaves|becomes|is|costs?)\b", "="),
        (r"(\d+) ?/ ?(\d+) ?= ?(\d+),? (?:remainder|rem|r|R) ?=? ?(\d+)", r"\1 = \2 * \3 + \4"),
        # A place in the solution is no claim about a value.
        (r"\b(?:[Dd]ay|[Ss]tep|[Tt]erm|[Pp]lace|[Ii]tem|[Ss]tage|[Nn]umber) \d+\b", " "),
        (r"\b\d+(?:st|nd|rd|th)\b", " "),
    )
)
TOKEN = re.compile(r"\s*(?:(\d+)|([A-Za-z]+\d*)|([-+*/^()=,]))")
CLAUSES = re.compile(r"[;\n]|\.(?=\s|$)|,(?![^()]*\))")


class ReadingError(ValueError):
    """The text is no arithmetic this reader knows."""


@dataclass(slots=True)
class Expression:
    """A value with the literals it was made of; `tied` if it names something of the question (x, a3, gcd(…))."""

    value: Fraction
    literals: list[Fraction] = field(default_factory=list)
    tied: bool = False
    compound: bool = False

    @property
    def leaves(self) -> Leaves:
        """The literals, sorted, as facts have them."""
        return tuple(sorted(self.literals))


def uniform(text: str) -> str:
    """The text with one spelling for every operator."""
    for pattern, replacement in SPELLINGS:
        text = pattern.sub(replacement, text)
    return text


def clauses(text: str) -> list[str]:
    """The parts of a text that claim something of their own."""
    return [clause for clause in CLAUSES.split(text) if clause.strip()]


def segments(clause: str, names: set[str]) -> list[list[str]]:
    """The runs of arithmetic tokens in a clause; words that name nothing in `names` separate them.

    Raises ReadingError at a sign that is neither arithmetic nor punctuation.
    """
    runs: list[list[str]] = [[]]
    position = 0
    clause = clause.rstrip()
    while position < len(clause):
        match = TOKEN.match(clause, position)
        if match is None:
            if clause[position] in "!?.:'\"":
                runs.append([])
                position += 1
                continue
            raise ReadingError(f"cannot read {clause[position:]!r}")
        position = match.end()
        token = match[1] or match[2] or match[3]
        # "3x" is read as 3 and x; a word such as "ax" is prose.
        if match[2] and token not in names and token != "mod":
            if token[-1].isdigit():
                raise ReadingError(f"the question has no {token}")
            runs.append([])
        else:
            runs[-1].append(token)
    return [run for run in runs if any(token[0].isalnum() for token in run)]


class Reader:
    """Recursive descent over tokens: mod, then + and -, then * and / (also implied), then ^, then signs and atoms."""

    def __init__(self, tokens: list[str], truth: Truth) -> None:
        self.tokens, self.truth, self.position = tokens, truth, 0

    def read(self) -> Expression:
        """The whole side of an equation. Raises ReadingError if anything is left over."""
        result = self._modulo()
        if self.position != len(self.tokens):
            raise ReadingError(f"{self.tokens[self.position]!r} is out of place")
        return result

    def _peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def _take(self, expected: str = "") -> str:
        token = self._peek()
        if not token or (expected and token != expected):
            raise ReadingError(f"expected {expected or 'a term'}, found {token!r}")
        self.position += 1
        return token

    def _modulo(self) -> Expression:
        left = self._sum()
        while self._peek() == "mod":
            self._take()
            right = self._sum()
            if right.value <= 0:
                raise ReadingError("modulus below 1")
            left = _joined(left, right, left.value % right.value)
        return left

    def _sum(self) -> Expression:
        left = self._product()
        while self._peek() in ("+", "-"):
            sign = self._take()
            right = self._product()
            left = _joined(left, right, left.value + right.value if sign == "+" else left.value - right.value)
        return left

    def _product(self) -> Expression:
        left = self._power()
        while True:
            token = self._peek()
            if token == "*":
                self._take()
                right = self._power()
                left = _joined(left, right, left.value * right.value)
            elif token == "/":
                self._take()
                right = self._power()
                if right.value == 0:
                    raise ReadingError("division by zero")
                if self.truth.denominators and not (left.compound or right.compound or left.tied or right.tied):
                    # In questions about fractions, 3/4 is one number.
                    left = Expression(left.value / right.value, [left.value / right.value])
                else:
                    left = _joined(left, right, left.value / right.value)
            elif token == "(" or token in self.truth.names:
                right = self._power()
                left = _joined(left, right, left.value * right.value)
            else:
                return left

    def _power(self) -> Expression:
        base = self._atom()
        if self._peek() != "^":
            return base
        self._take()
        exponent = self._atom()
        if not 0 <= exponent.value <= LARGEST_EXPONENT or exponent.value.denominator != 1:
            raise ReadingError(f"exponent {exponent.value} out of range")
        power = _joined(base, exponent, base.value ** int(exponent.value))
        power.tied = power.tied or (base.value == self.truth.power_base and exponent.value <= self.truth.exponent)
        return power

    def _atom(self) -> Expression:
        token = self._take()
        if token == "-":
            inner = self._power()
            return Expression(-inner.value, inner.literals, inner.tied, inner.compound)
        if token == "+":
            return self._power()
        if token == "(":
            inner = self._modulo()
            self._take(")")
            return inner
        if token == "gcd" and self._peek() == "(":
            return self._gcd()
        if token.isdigit():
            value = Fraction(int(token))
            if value > LARGEST_NUMBER:
                raise ReadingError(f"{token} is too large")
            return Expression(value, [value])
        if token in self.truth.names:
            value = self.truth.names[token]
            return Expression(value, [value]) if token in self.truth.aliases else Expression(value, tied=True)
        raise ReadingError(f"{token!r} is no term")

    def _gcd(self) -> Expression:
        self._take("(")
        first = self._modulo()
        self._take(",")
        second = self._modulo()
        self._take(")")
        pair = (first.value, second.value)
        divisor = gcd(int(first.value), int(second.value))
        if not all(value in self.truth.euclid for value in pair) or divisor != self.truth.divisor:
            raise ReadingError(f"the algorithm never meets the pair {pair}")
        return Expression(Fraction(divisor), tied=True, compound=True)


def _joined(left: Expression, right: Expression, value: Fraction) -> Expression:
    return Expression(value, left.literals + right.literals, left.tied or right.tied, compound=True)
