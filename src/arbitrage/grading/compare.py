r"""Whether two answers are equal: their shape first (tuple, interval, set, region, matrix, list), then their parts.

Shapes, names and units are compared here, exactly, and only single expressions go to the comparing process. Everything
here raises `GaveUp` where that process gave up and the verdict hangs on it.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from scipy.optimize import linear_sum_assignment

from arbitrage.grading.extract import split_list, split_outside
from arbitrage.grading.names import agree, as_tuples, assignments, in_order, named, without_qualifier
from arbitrage.grading.normalise import exact, key, plain, ungrouped
from arbitrage.grading.regions import MEMBER, RELATION, read_region, split_relations
from arbitrage.grading.singles import near, same_single
from arbitrage.grading.symbolic import GaveUp
from arbitrage.grading.units import one_quantity, without_unit

Same = Callable[[str, str], bool]

_MATRIX = re.compile(r"\\begin\{pmatrix\}((?:(?!\\begin).)*)\\end\{pmatrix\}", re.DOTALL)
_CASES = re.compile(
    r"\\begin\{(?:cases|aligned|align\*?|gathered)\}(.*)\\end\{(?:cases|aligned|align\*?|gathered)\}", re.DOTALL
)
_REGIONAL = re.compile(
    r"\\(?:le|ge|ne|cup|setminus|notin|mathbb)(?![a-zA-Z])|[<>]|\\text\{or\}|\\infty|(?i:all (?:real|values))"
)
_FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}


@lru_cache(maxsize=200_000)
def equal(answer: str, gold: str, unit: str | None = None, tolerance: float = 0.0) -> bool:
    """Whether an answer is the gold answer. `unit` is the gold answer's where its text does not name it.

    Raises GaveUp where nobody can say; such a comparison is not remembered.
    """
    if _equal(plain(answer), plain(gold), unit, tolerance):
        return True
    readings = ungrouped(answer), ungrouped(gold)  # 1,200, 1,300 are two numbers
    return readings != (answer, gold) and _equal(plain(readings[0]), plain(readings[1]), unit, tolerance)


def match_all(answers: Sequence[str], golds: Sequence[str], same: Same) -> bool:
    """Whether the answers are the golds in some order, each used once. Raises GaveUp where that hangs on one."""
    if len(answers) != len(golds):
        return False
    surely, perhaps, error = [], [], None
    for answer in answers:
        row: list[bool | None] = []
        for gold in golds:
            try:
                row.append(same(answer, gold))
            except GaveUp as gave_up:
                row.append(None)
                error = gave_up
        surely.append([verdict is True for verdict in row])
        perhaps.append([verdict is not False for verdict in row])
    if _can_be_matched(surely):
        return True
    if error is not None and _can_be_matched(perhaps):
        raise error
    return False


def _can_be_matched(table: list[list[bool]]) -> bool:
    if not table:
        return True
    rows, columns = linear_sum_assignment(table, maximize=True)
    return all(table[row][column] for row, column in zip(rows, columns, strict=True))


def _equal(answer: str, gold: str, unit: str | None, tolerance: float) -> bool:
    answer, gold = one_quantity(answer), one_quantity(gold)
    number, gold_number = exact(answer), exact(gold)
    if number is not None and gold_number is not None:
        return near(number, gold_number, answer, tolerance)
    if key(answer) == key(gold):
        return True
    (answer, kind), (gold, gold_kind) = (
        without_qualifier(_without_cases(answer)),
        without_qualifier(_without_cases(gold)),
    )
    if kind and gold_kind and kind != gold_kind:
        return False
    answer, gold = as_tuples(_exact_part(answer), named(gold)[0]), as_tuples(gold, named(answer)[0])

    def same(one: str, other: str) -> bool:
        return _equal(one, other, unit, tolerance)

    ours, theirs = assignments(answer), assignments(gold)
    if ours and theirs and (ours[1] or theirs[1]):
        names = sorted(theirs[0])
        return sorted(ours[0]) == names and _same_entries(
            [[ours[0][name] for name in names]], [[theirs[0][name] for name in names]], same
        )
    (name, value), (gold_name, gold_value) = named(answer), named(gold)
    if name and gold_name:
        values = agree(name, value, gold_name, gold_value)
        if values is None:  # two equations, perhaps in another order
            return "(" not in name + gold_name and same_single(answer, gold, unit, tolerance)
        value, gold_value = values
    elif len(split_list(answer)) == len(split_list(gold)) == 1 and any(
        "=" in split_relations(text)[1] for text in (value, gold_value)
    ):
        sides, signs = split_relations(value)
        if set(signs) == {"="} and not split_relations(gold)[1]:  # 1+2 = 3
            return all(same(side, gold_value) for side in sides)
        return same_single(answer, gold, unit, tolerance)
    if RELATION.search(answer + gold) and (MEMBER.fullmatch(answer) or MEMBER.fullmatch(gold)):
        value, gold_value = answer, gold  # a in [1,2] is not 1 <= b <= 2
    return _shaped(value, gold_value, gold_name, unit, tolerance)


def _shaped(answer: str, gold: str, gold_name: str | None, unit: str | None, tolerance: float) -> bool:
    def same(one: str, other: str) -> bool:
        return _equal(one, other, unit, tolerance)

    if key(answer) == key(gold):
        return True
    if _REGIONAL.search(answer) or _REGIONAL.search(gold):
        verdict = _same_region(answer, gold, same)
        if verdict is not None:
            return verdict
    if _is_number(gold) and (_is_number(answer) or (len(split_list(answer)) == 1 and _bracketed(answer) is None)):
        return same_single(_unwrapped(answer), gold, unit, tolerance)
    if _is_number(answer) and len(split_list(gold)) == 1:
        return same_single(answer, _unwrapped(gold), unit, tolerance)
    if _is_set(gold):
        inner = answer[2:-2] if _is_set(answer) else answer
        members, gold_members = split_list(inner), split_list(gold[2:-2])
        if match_all(members, gold_members, same):
            return True
        return _is_set(answer) and match_all(_distinct(members, same), _distinct(gold_members, same), same)
    if _is_set(answer):
        return len(split_list(gold)) > 1 and match_all(split_list(answer[2:-2]), split_list(gold), same)
    if (matrix := _MATRIX.fullmatch(gold)) and (other := _MATRIX.fullmatch(answer)):
        return _same_entries(_entries(other[1]), _entries(matrix[1]), same)
    if "{pmatrix}" in answer and "{pmatrix}" in gold:  # one of them times a number
        return same_single(answer, gold, unit, tolerance)
    entries, gold_entries = _bracketed(answer), _bracketed(gold)
    if gold_entries is not None:
        if entries is None and gold[0] == "(" and gold[-1] == ")" and not RELATION.search(answer):
            entries = in_order(answer, gold_name)  # a tuple without its brackets
        elif entries is not None and (answer[0], answer[-1]) != (gold[0], gold[-1]):
            return False
        if entries is not None:
            return _same_entries([entries], [gold_entries], same)
    elif entries is not None:
        return False
    parts, gold_parts = split_list(answer), split_list(gold)
    if len(parts) > 1 or len(gold_parts) > 1:
        return match_all(parts, gold_parts, same)
    return same_single(answer, gold, unit, tolerance)


def _same_region(answer: str, gold: str, same: Same) -> bool | None:
    """Whether two regions or chains of inequalities are equal; None where the texts are something else."""
    theirs = read_region(gold)
    readings = [answer]
    if RELATION.search(answer) and re.search("[,;]", answer):
        readings.append(r"\text{or}".join(split_outside(answer.replace(";", ","), ",")))
    regions = [region for region in map(read_region, readings) if region is not None]
    if theirs is not None and regions:
        if any(ours.is_like(theirs, same, match_all) for ours in regions):
            return True
        names = (regions[0].variable, theirs.variable)
        turned = None not in names and names[0] != names[1]  # a < b and b > a
        if not (turned and RELATION.search(answer) and RELATION.search(gold)):
            return False
    (operands, signs), (gold_operands, gold_signs) = split_relations(answer), split_relations(gold)
    if set(signs + gold_signs) <= {"="}:
        return None
    letters = re.findall(r"(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])", answer if theirs else gold)
    if len(set(letters)) == 1 and (theirs is None) == bool(regions):  # 2x > 6 against x > 3
        bound = (theirs or regions[0]).bound(letters[0])
        if bound is not None:
            return same_single(*((answer, bound) if theirs else (bound, gold)), None, 0.0)
    if "," in answer + gold:
        return None
    if len(signs) == len(gold_signs) == 1:
        return same_single(answer, gold, None, 0.0)
    if len(signs) != len(gold_signs):
        return False
    if signs != gold_signs:
        operands, signs = operands[::-1], [_FLIPPED.get(sign, sign) for sign in signs[::-1]]
    return signs == gold_signs and all(same(a, b) for a, b in zip(operands, gold_operands, strict=True))


def _is_number(text: str) -> bool:
    """Whether a text is one number, with or without a unit: 32,348 dollars are no list."""
    return exact(text) is not None or exact(without_unit(text)[0]) is not None


def _exact_part(text: str) -> str:
    r"""The exact side of `2\sqrt{2} \approx 2.83`; `x \approx 3.14` names a value."""
    if "\\approx" not in text:
        return text
    left, *rest = split_outside(text, "\\approx")
    return f"{left}={rest[0]}" if rest and re.fullmatch(r"[a-zA-Z]", left) else left


def _without_cases(text: str) -> str:
    """The equations of a system, one after the other, as a list."""
    match = _CASES.fullmatch(text)
    if match is None or ("&" in match[1] and "=" not in match[1]):
        return text
    rows = [row.replace("&", "").strip().strip(",") for row in re.split(r"\\\\", match[1])]
    return ",".join(row for row in rows if row)


def _unwrapped(text: str) -> str:
    """`(5)` and `\\{5\\}` are 5 where a number is compared."""
    if _is_set(text):
        return text[2:-2]
    return text


def _is_set(text: str) -> bool:
    return text.startswith("\\{") and text.endswith("\\}") and text.count("\\{") == 1


def _distinct(members: Sequence[str], same: Same) -> list[str]:
    """The members of a set, each once: {1, 2, 2} is {1, 2}."""
    distinct: list[str] = []
    for member in members:
        if not any(same(member, other) for other in distinct):
            distinct.append(member)
    return distinct


def _bracketed(text: str) -> list[str] | None:
    r"""The entries of "(1,2]", "(1,2,3)": two or more between one pair of brackets that spans the text; else None.

    (\pm 1, 2) is a list of two.
    """
    if (
        len(text) < 2
        or text.count("\\pm") == 1
        or text[0] not in "(["
        or text[-1] not in ")]"
        or len(split_outside(text, ",")) != 1
    ):
        return None
    depth = 0
    for position, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0 and position < len(text) - 1:
            return None
    entries = split_outside(text[1:-1], ",")
    return entries if len(entries) > 1 else None


def _entries(matrix: str) -> list[list[str]]:
    rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?", matrix) if row.strip()]
    return [[plain(entry) for entry in row.split("&")] for row in rows]


def _same_entries(ours: list[list[str]], gold: list[list[str]], same: Same) -> bool:
    """Whether all entries are equal; one that differs settles it, even beside one that nobody can compare."""
    if [len(row) for row in ours] != [len(row) for row in gold]:
        return False
    error = None
    for row, other in zip(ours, gold, strict=True):
        for one, two in zip(row, other, strict=True):
            try:
                if not same(one, two):
                    return False
            except GaveUp as gave_up:
                error = gave_up
    if error is not None:
        raise error
    return True
