"""Whether two single answers are equal: words, numbers in a base, values with units, expressions."""

import re
from fractions import Fraction
from itertools import pairwise

from arbitrage.grading.extract import split_outside
from arbitrage.grading.normalise import decimals, exact, key, significant
from arbitrage.grading.notation import for_parser, without_degrees
from arbitrage.grading.symbolic import SYMBOLIC
from arbitrage.grading.units import Unit, read_unit, without_unit

LONGEST_ANSWER = 400  # characters; a text that is longer, and longer than 4 gold answers, is no answer
ENOUGH_DIGITS = 5  # an answer rounded to so many decimals and digits stands for the value that it is rounded from

_TOWER = re.compile(r"[2-9]\^\{?\d+\^\{?\d+\^|\d{2001}|!!!")
_WRAPPED = re.compile(r"\(?\\text\{\(?([^{}\d]*?)\)?\}\)?")
_CHOICE = re.compile(r"(?:\\text\{)?\(([A-Z])\)\}?")  # (B), whatever follows it
_CHOSEN = re.compile(r"(?:\\text\{)?(?:(?i:option|choice|answer):? ?\}?)?\(?([A-Z])(?:[:.)].*|\}?)")  # C: 12, Option C
_BARE_WORD = re.compile(r"\(?([A-F]|(?i:no)|[A-Za-z]{3,}(?: [a-z]+)*)\)?")
_WORDS = frozenset(
    re.findall(
        r"\S+",
        "yes no true false none never always even odd both neither east west north south left right up down infinite "
        "monday tuesday wednesday thursday friday saturday sunday",
    )
)
_ARTICLE = re.compile(r"^(?i:an?|the) ")
_EMPTY_WORDS = frozenset(re.findall(r"\S+", "a an the of in i are be for to per and or at on with"))  # without last s
_CLOCK = re.compile(r"0?(\d{1,2}(?::[0-5]\d){1,2})")
_TO = re.compile(r"(?<=\d) to (?=\d)|(?<=[\w})]) ?\\text\{to\} ?")
_BASE = re.compile(r"\(?(\w+?)\)?(?:_\{?|base)(\d+)\}?")
_RUN_TOGETHER = re.compile(r"\\frac\{[^{}]*\}\{[^{}]*\} ?\d")  # \frac431: nobody knows what is meant
_RELATIVE_TO_PI = "\\frac{{({})\\pi}}{{180}}"


def same_single(answer: str, gold: str, unit: str | None, tolerance: float) -> bool:
    """Whether two single expressions (plain) are equal, words and units included. Raises GaveUp."""
    if choice_letter := _CHOICE.fullmatch(gold):
        ours_letter = _CHOICE.match(answer) or _CHOSEN.fullmatch(answer)
        if ours_letter:
            return ours_letter[1] == choice_letter[1]
    word, gold_word = _word(answer), _word(gold)
    if word is not None and word == gold:  # \text{e}
        return True
    if gold_word is not None:
        # A choice's letter may be small; one that stands bare may be a symbol, whose case says which.
        choice = len(gold_word) == 1 and len(gold) > 1 and re.fullmatch(r"\(?([a-z])\)?", answer)
        return _same_word(choice[1] if choice else word, gold_word, "\\text" in answer + gold)
    if (base := _BASE.fullmatch(key(gold))) and base[1][0].isalnum() and re.search(r"\d", base[1]):
        bare = re.sub(r"\\text|[{}]", "", key(answer))
        if digits := _BASE.fullmatch(bare) or re.fullmatch(r"([^\W_]+)()", bare):
            number = _numeral(base[1], base[2])
            same_digits = digits[1] == base[1] or (number is not None and _numeral(digits[1], base[2]) == number)
            return same_digits and digits[2] in ("", base[2])  # the question says the base
    (value, ours, words), (gold_value, theirs, gold_words) = without_unit(answer), without_unit(gold)
    theirs = theirs or (read_unit(unit) if unit else None)
    if words and gold_words and not _one_says_the_other(words, gold_words):
        return False
    if (words and theirs and not ours) or (gold_words and ours and not theirs):
        return False
    if ours != theirs and (ours or theirs):
        return _in_units(value, ours, gold_value, theirs, tolerance)
    return _same_value(value, gold_value, tolerance)


def _in_units(value: str, ours: Unit | None, gold: str, theirs: Unit | None, tolerance: float) -> bool:
    """Two values whose units differ, or of which one has none."""
    if ours and theirs:
        if ours.powers == theirs.powers:
            ratio = ours.factor / theirs.factor
            return _same_value(_times(value, ratio), gold, tolerance)
        if ours.is_plain("degrees") and theirs.is_plain("angle"):
            return _same_value(_RELATIVE_TO_PI.format(value), gold, tolerance)
        if ours.is_plain("angle") and theirs.is_plain("degrees"):
            return _same_value(value, _RELATIVE_TO_PI.format(gold), tolerance)
        in_pounds = all(one.is_plain("pounds") or one.is_plain("sterling") for one in (ours, theirs))
        return in_pounds and _same_value(value, gold, tolerance)
    if _same_value(value, gold, tolerance):
        return True  # the question names the unit
    for dimension, factor in (("percent", Fraction(1, 100)), ("dozen", Fraction(12))):
        if ours and ours.is_plain(dimension):
            return _same_value(_times(value, factor), gold, 0.0)
        if theirs and theirs.is_plain(dimension):
            return _same_value(value, _times(gold, factor), 0.0)
    if ours and ours.is_plain("degrees") and exact(gold) is None:
        return _same_value(_RELATIVE_TO_PI.format(value), gold, tolerance)
    if theirs and theirs.is_plain("degrees") and exact(value) is None:
        return _same_value(value, _RELATIVE_TO_PI.format(gold), tolerance)
    return False


def _times(value: str, ratio: Fraction) -> str:
    number = exact(value)
    if number is not None:
        product = number * ratio
        return f"{product.numerator}/{product.denominator}" if product.denominator > 1 else str(product.numerator)
    return f"({value})\\cdot\\frac{{{ratio.numerator}}}{{{ratio.denominator}}}"


def _same_value(answer: str, gold: str, tolerance: float) -> bool:
    number, gold_number = exact(answer), exact(gold)
    if number is not None and gold_number is not None:
        return near(number, gold_number, answer, tolerance)
    if key(answer) == key(gold):
        return True
    if (clock := _CLOCK.fullmatch(answer)) and (gold_clock := _CLOCK.fullmatch(gold)):
        return clock[1] == gold_clock[1]  # ten past one is not twenty past two
    (parts, ranges), (gold_parts, gold_ranges) = _ratio(answer), _ratio(gold)
    if max(len(parts), len(gold_parts)) > 2 or ranges or gold_ranges:
        return len(parts) == len(gold_parts) and _in_proportion(parts, gold_parts, scaled=not (ranges and gold_ranges))
    if len(answer) > max(LONGEST_ANSWER, 4 * len(gold)) or (_TOWER.search(answer) and not _TOWER.search(gold)):
        return False  # nothing of this size is a gold answer, and evaluating it could take for ever
    if _RUN_TOGETHER.search(answer):
        return False
    if number is not None and decimals(answer):  # a rounded value: as near as its own last digit says
        rounded = 0.5 * 10.0 ** -decimals(answer) if _is_rounded(answer) else 0.0
        if max(rounded, tolerance) > 0:
            return SYMBOLIC.same(for_parser(answer), for_parser(gold), max(tolerance, rounded))
    answer, gold = (
        text if value is None else _times(text, Fraction(1))  # 1e10, 1\frac12
        for text, value in ((answer, number), (gold, gold_number))
    )
    allowed = tolerance if gold_number is not None else 0.0
    if SYMBOLIC.same(for_parser(answer), for_parser(gold), allowed):
        return True
    if ("^\\circ" in answer) != ("^\\circ" in gold):
        bare, gold_bare = without_degrees(answer), without_degrees(gold)
        if bare is not None and gold_bare is not None:
            return SYMBOLIC.same(for_parser(bare), for_parser(gold_bare), allowed)
    return False


def _ratio(text: str) -> tuple[list[str], bool]:
    """The parts of 3:2:1 or "3 to 2", and whether `to` stands between them: then it may be a range."""
    with_colons = _TO.sub(":", text)
    return split_outside(with_colons, ":"), with_colons != text


def _in_proportion(ours: list[str], theirs: list[str], scaled: bool) -> bool:
    """Whether two ratios are equal; scaled: whether 6:4:2 is 3:2:1. Raises GaveUp."""
    pairs = list(zip(ours, theirs, strict=True))
    if all(_same_value(part, other, 0.0) for part, other in pairs):
        return True
    if not scaled or any(exact(part) == 0 for part in [*ours, *theirs]):
        return False
    products = [
        (for_parser(f"({part})\\cdot({next_other})"), for_parser(f"({next_part})\\cdot({other})"))
        for (part, other), (next_part, next_other) in pairwise(pairs)
    ]
    return all(SYMBOLIC.same(*product) for product in products)


def near(answer: Fraction, gold: Fraction, text: str, tolerance: float) -> bool:
    """Exact, but for the tolerance and for a long decimal that is gold rounded to its last digit."""
    allowed = Fraction(str(tolerance))
    if _is_rounded(text) and 10**12 % gold.denominator:  # a fraction that no decimal of use can write
        allowed = max(allowed, Fraction(1, 2 * 10 ** decimals(text)))
    return abs(answer - gold) <= allowed


def _is_rounded(text: str) -> bool:
    return decimals(text) >= ENOUGH_DIGITS and significant(text) >= ENOUGH_DIGITS


def _numeral(digits: str, base: str) -> int | None:
    """The value of digits (letters in either case) in a base; None where they are no numeral in it."""
    try:
        return int(digits, int(base))
    except ValueError:
        return None


def _word(text: str) -> str | None:
    """A word, a name or a choice letter, without \\text and brackets; None for mathematics."""
    match = _WRAPPED.fullmatch(text) or _BARE_WORD.fullmatch(text)
    return (_ARTICLE.sub("", match[1].strip().rstrip("."), count=1) or None) if match else None


def _same_word(word: str | None, gold: str, is_text: bool) -> bool:
    """Text may be written in capitals or not; letters that stand bare may be symbols, whose case says which."""
    if word is None or word.lower() != gold.lower():
        return False
    return word == gold or is_text or len(gold) == 1 or gold.lower() in _WORDS


def _one_says_the_other(words: str, others: str) -> bool:
    """Whether the words of one are all among the other's: "red apples" are apples, even numbers no odd numbers."""
    stems = [{word.rstrip("s") for word in text.split()} - _EMPTY_WORDS for text in (words, others)]
    return stems[0] <= stems[1] or stems[1] <= stems[0]
