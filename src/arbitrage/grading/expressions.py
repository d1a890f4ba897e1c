"""Whether two LaTeX expressions, equations or inequalities are equal; only the comparing process imports sympy.

Parsing is latex2sympy2_extended's, math-verify's parser, with capital and small letters kept apart. The comparison is
our own, because math-verify rounds to a fixed number of decimals (so that small numbers are all equal), takes letters
without their case, and reads a number out of an expression that it cannot parse. Here

- numbers are equal if they are the same fraction, or agree to `CERTAIN_DIGITS` significant digits;
- expressions with letters are equal if their values are at some points, of either sign, where both have a real value;
- equations are equal if their sides' differences have a constant ratio; inequalities if it is positive besides.
"""

import math
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
from sympy.core.function import AppliedUndef
from sympy.core.relational import Equality, Relational, Unequality

DIGITS = 50  # significant digits that values at points share
CERTAIN_DIGITS = 400  # that equal numbers share
LARGEST_POWER = 200_000  # binary digits of a power that is worked out exactly; larger ones are rounded to DIGITS
LARGEST_SYMBOLIC_POWER = 1000  # of a letter; at larger ones values are rounded to DIGITS
ENOUGH_POINTS = 5  # at which two expressions with letters have equal values

_CONVERSION = ConversionConfig(lowercase_symbols=False)
_FUNCTION_NAMES = frozenset("fghpqFGHPQ")
_REAL_LETTERS = frozenset("xyzuvwtr")  # floor(x) is asked of all real numbers, floor(n) of whole ones
_WHOLE_ONLY = (sympy.floor, sympy.ceiling, sympy.Mod, sympy.Sum, sympy.Product)
_I = sympy.Symbol("i")


def same(answer: str, gold: str, tolerance: float) -> bool:
    """Whether two texts are equal, or numbers at most `tolerance` apart. A text that cannot be read equals nothing."""
    ours, theirs = _parse(answer), _parse(gold)
    if ours is None or theirs is None:
        return False
    if isinstance(ours, Relational) or isinstance(theirs, Relational):
        return isinstance(ours, Relational) and isinstance(theirs, Relational) and _same_relation(ours, theirs)
    if isinstance(ours, sympy.MatrixBase) or isinstance(theirs, sympy.MatrixBase):
        return _same_matrix(ours, theirs)
    if isinstance(ours, sympy.Expr) and isinstance(theirs, sympy.Expr):
        return _same_expression(ours, theirs, tolerance)
    return bool(ours == theirs)


@lru_cache(maxsize=1000)
def _parse(text: str) -> Any:
    """The expression a text stands for, or None where it is no mathematics that the parser knows."""
    try:
        parsed = latex2sympy(text, normalization_config=None, conversion_config=_CONVERSION)
        if not isinstance(parsed, sympy.Basic | sympy.MatrixBase):
            return None
        if isinstance(parsed, sympy.MatMul | sympy.MatAdd | sympy.MatPow):
            parsed = parsed.doit()
        if isinstance(parsed, sympy.MatrixBase):
            return parsed.applyfunc(_prepared)
        return _prepared(parsed)
    except (MemoryError, RecursionError):
        raise
    except Exception:  # the parser and sympy raise anything on a text that is no mathematics
        return None


def _prepared(parsed: Any) -> Any:
    """`i` is the imaginary unit unless it is summed over, odd roots of negative numbers are real, n(k) is n times k."""

    def change(node: Any) -> Any:
        if isinstance(node, sympy.UnevaluatedExpr):
            return node.args[0]
        if isinstance(node, AppliedUndef) and len(node.args) == 1 and node.func.__name__ not in _FUNCTION_NAMES:
            name = node.func.__name__
            return (sympy.pi if name == "\\pi" else sympy.Symbol(name.lstrip("\\"))) * node.args[0]
        if isinstance(node, sympy.Pow) and isinstance(node.exp, sympy.Rational) and node.exp.q % 2 and node.exp.q > 1:
            base = node.base.doit() if not node.base.free_symbols else node.base
            if not base.has(sympy.I, _I) and not (base.is_number and base.is_positive):
                size = sympy.Pow(sympy.Abs(base), node.exp)
                return size if node.exp.p % 2 == 0 else sympy.sign(base) * size
        return node

    parsed = _rebuilt(parsed, change)  # before i is the unit, which sympy draws into roots of negative numbers
    return parsed.xreplace({_I: sympy.I}) if _I in parsed.free_symbols else parsed


def _rebuilt(node: Any, change: Any) -> Any:
    """`node` with `change` applied from the leaves up; what does not change is kept, unevaluated as it is."""
    if not node.args:
        return node
    args = tuple(_rebuilt(arg, change) for arg in node.args)
    if any(new is not old for new, old in zip(args, node.args, strict=True)):
        lazy = isinstance(node, sympy.Add | sympy.Mul | sympy.Pow | Relational)
        node = node.func(*args, evaluate=False) if lazy else node.func(*args)
    return change(node)


def _same_expression(ours: Any, theirs: Any, tolerance: float) -> bool:
    if any(side.has(sympy.zoo, sympy.nan) for side in (ours, theirs)):
        return False  # 1:00 and 12:00 have no value, and not the same one
    if ours == theirs:
        return True
    symbols = sorted(ours.free_symbols | theirs.free_symbols, key=str)
    if ours.atoms(AppliedUndef) or theirs.atoms(AppliedUndef):
        return bool(sympy.expand(ours.doit() - theirs.doit()) == 0)
    if not symbols:
        if any(side.has(sympy.oo, -sympy.oo, sympy.zoo) for side in (ours, theirs)):
            return bool(ours.doit() == theirs.doit())
        return _same_number(ours, theirs, tolerance) is True
    return _agree(ours, theirs, symbols)


def _same_number(ours: Any, theirs: Any, tolerance: float = 0.0) -> bool | None:
    """Whether two numbers are equal; None where one of them is not a finite number."""
    exact, exact_theirs = _fraction(ours), _fraction(theirs)
    if exact is not None and exact_theirs is not None:
        return abs(exact - exact_theirs) <= Fraction(str(tolerance))
    terms, other_terms = Counter(sympy.Add.make_args(ours)), Counter(sympy.Add.make_args(theirs))
    if terms & other_terms:  # 9^{9^9}+1 and 9^{9^9}: what both have says nothing, and drowns the rest
        rests = [(one - two).elements() for one, two in ((terms, other_terms), (other_terms, terms))]
        ours, theirs = (sympy.Add(*rest, evaluate=False) for rest in rests)
        return _same_number(ours, theirs, tolerance)
    rounded = ours.has(sympy.Float) or theirs.has(sympy.Float)  # values at a point are known to DIGITS
    for digits in (DIGITS,) if rounded else (DIGITS, CERTAIN_DIGITS):
        value, other = _number(ours, digits), _number(theirs, digits)
        if value is None or other is None:
            return None
        gap, size = abs(value - other), max(abs(value), abs(other))
        if gap > max(sympy.Float(tolerance), size * sympy.Float(10, digits) ** -digits):
            return False
        if tolerance:
            return True
    return True


def _fraction(node: Any) -> Fraction | None:
    """The value of an expression that is a fraction by its form; None where it is not, or too large to work out."""
    if isinstance(node, sympy.Rational):
        return Fraction(int(node.p), int(node.q))
    if isinstance(node, sympy.Add | sympy.Mul):
        parts = [_fraction(arg) for arg in node.args]
        if None in parts:
            return None
        numbers = [part for part in parts if part is not None]
        return sum(numbers, Fraction(0)) if isinstance(node, sympy.Add) else math.prod(numbers, start=Fraction(1))
    if isinstance(node, sympy.Pow):
        base, exponent = _fraction(node.base), _fraction(node.exp)
        if base is None or exponent is None or exponent.denominator != 1 or (base == 0 and exponent < 0):
            return None
        bits = max(abs(base.numerator), base.denominator).bit_length() * abs(exponent)
        return base ** int(exponent) if bits <= LARGEST_POWER else None
    if isinstance(node, sympy.factorial):
        value = _fraction(node.args[0])
        small = value is not None and value.denominator == 1 and 0 <= value <= 2000
        return Fraction(math.factorial(int(value))) if small and value is not None else None
    return None


def _number(node: Any, digits: int = DIGITS) -> Any:
    """A complex number to `digits` significant digits and more, or None. What is 0 to all digits tried is 0."""
    if node.is_Rational:
        return node
    if node.has(sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit, sympy.Derivative, sympy.floor, sympy.ceiling):
        node = node.doit()
    try:
        value = node.evalf(digits + 10, maxn=4 * digits, strict=True)
    except sympy.core.evalf.PrecisionExhausted:
        value = node.evalf(digits + 10, maxn=4 * digits)
        parts = [
            part if abs(part) > sympy.Float(10) ** -(2 * digits) else sympy.S.Zero for part in value.as_real_imag()
        ]
        value = parts[0] + sympy.I * parts[1]
    real, imaginary = value.as_real_imag()
    return value if real.is_number and imaginary.is_number and real.is_finite and imaginary.is_finite else None


def _agree(ours: Any, theirs: Any, symbols: list[Any]) -> bool:
    """Whether two expressions have equal values wherever both have one, judged at points of either sign."""
    meant_complex = ours.has(sympy.I) or theirs.has(sympy.I)
    for every_value in (False, True) if not meant_complex else (True,):
        equal = 0
        for point in _points(ours, theirs, symbols):
            value, other = _value(ours, point), _value(theirs, point)
            if value is None or other is None:
                continue
            if not every_value and (value.as_real_imag()[1] != 0 or other.as_real_imag()[1] != 0):
                continue  # outside of what the question is about: sqrt(1/n) at a negative n
            if not _same_number(value, other):
                return False
            equal += 1
            if equal == ENOUGH_POINTS:
                return True
    return equal > 1


def _value(node: Any, point: dict[Any, Any]) -> Any:
    try:
        if any(power.exp.is_Rational and abs(power.exp) > LARGEST_SYMBOLIC_POWER for power in node.atoms(sympy.Pow)):
            value = node.evalf(DIGITS + 10, subs=point)  # substituting would work out all digits
            return value if value.is_number else None
        value = node.xreplace(point)
        exact = _fraction(value)
        return sympy.Rational(exact.numerator, exact.denominator) if exact is not None else _number(value)
    except (MemoryError, RecursionError):
        raise
    except Exception:  # poles, and what has no value here
        return None


def _points(ours: Any, theirs: Any, symbols: list[Any]) -> Iterator[dict[Any, Any]]:
    """Values for the symbols: fractions of either sign and whole numbers of either parity; whole ones only for sums."""
    whole_only = [kind for kind in _WHOLE_ONLY if ours.has(kind) or theirs.has(kind)]
    summed = any(kind in (sympy.Sum, sympy.Product) for kind in whole_only)

    def whole(symbol: Any) -> bool:
        return summed or (bool(whole_only) and str(symbol)[0] not in _REAL_LETTERS)

    for number in range(16):
        point = {}
        for rank, symbol in enumerate(symbols):
            step = (7 * number + 11 * rank + 3 * number * rank) % 29
            integer = sympy.Integer(2 + number + (step * (rank + 1)) % 13)
            if whole(symbol) or number % 4 == 2:
                point[symbol] = integer
            else:
                value = sympy.Rational(37 + 10 * step + 3 * rank, 23)
                point[symbol] = -value if (number + rank * (number // 2)) % 4 == 1 else value
        yield point


def _same_matrix(ours: Any, theirs: Any) -> bool:
    if not (isinstance(ours, sympy.MatrixBase) and isinstance(theirs, sympy.MatrixBase) and ours.shape == theirs.shape):
        return False
    return all(_same_expression(a, b, 0.0) for a, b in zip(ours.flat(), theirs.flat(), strict=True))


def _same_relation(ours: Relational, theirs: Relational) -> bool:
    kinds = [
        "=" if isinstance(one, Equality) else "!" if isinstance(one, Unequality) else one.rel_op[1:] + "<"
        for one in (ours, theirs)
    ]
    if kinds[0] != kinds[1] or not all(
        isinstance(side, sympy.Expr) for one in (ours, theirs) for side in (one.lhs, one.rhs)
    ):
        return False
    differences = [
        one.rhs - one.lhs if ">" in one.rel_op else one.lhs - one.rhs for one in (ours, theirs)
    ]  # ">" turned round is "<"
    if kinds[0] == "=":
        differences = [sympy.fraction(sympy.together(difference))[0] for difference in differences]
    symbols = sorted(differences[0].free_symbols | differences[1].free_symbols, key=str)
    ratios = []
    for point in _points(differences[0], differences[1], symbols):
        ours_value, theirs_value = (_value(difference, point) for difference in differences)
        if ours_value is None or theirs_value is None:
            continue
        if ours_value == 0 or theirs_value == 0:
            if ours_value != theirs_value:
                return False
            continue
        ratios.append(ours_value / theirs_value)
        if len(ratios) > 1 and not _same_number(ratios[0], ratios[-1]):
            return False
        if len(ratios) == ENOUGH_POINTS:
            break
    return len(ratios) > 1 and (kinds[0] in "=!" or bool(ratios[0].is_positive))
