"""Is a step right? Decided exactly, from the question's text, for every family.

A step is right if every claim in it is true of the question. A claim about something the question names (x, a3, n,
gcd(84, 36), 7^3) is true if all its sides have the right value. A bare calculation must be one the question calls for:
`22 - 5 = 17` is true anywhere, but right only where 5 is to be taken from 22.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from arbitrage.lab.expressions import Expression, Reader, ReadingError, clauses, segments, uniform
from arbitrage.lab.families import FAMILIES, SEPARATOR, Truth

BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
FINAL_WORDS = re.compile(r"\b(?:answer|final)\b", re.IGNORECASE)


class UnknownQuestionError(ValueError):
    """No family of the lab wrote this question."""


@lru_cache(maxsize=4096)
def question_truth(problem: str) -> Truth:
    """What is true of a question. Raises UnknownQuestionError if no family reads it."""
    for family in FAMILIES.values():
        truth = family.truth(problem)
        if truth is not None:
            return truth
    raise UnknownQuestionError(f"no family of the lab reads the question {problem!r}")


def boxed_answer(text: str) -> str | None:
    """The content of the last box in a text, or None."""
    answers = BOXED.findall(text)
    return str(answers[-1]).strip() if answers else None


def check_answer(problem: str, text: str) -> bool:
    """Whether the last box of `text` holds the right answer (as a number; 2/4 is as right as 1/2)."""
    answer = boxed_answer(text)
    if answer is None:
        return False
    truth = question_truth(problem)
    try:
        [run] = segments(uniform(answer), set(truth.names))
        return Reader(run, truth).read().value == truth.answer
    except ValueError:
        return False


def check_step(problem: str, history: Sequence[str], step: str) -> bool:
    """Whether `step` is right after `history`, the steps before it (separators may be left on).

    True statements may repeat earlier ones, leave steps out or join them; a step without any claim is not progress,
    and nothing follows the final answer. What earlier steps got wrong excuses nothing: claims are about the question.

    Raises UnknownQuestionError if no family of the lab reads the question.
    """
    truth = question_truth(problem)
    if any(boxed_answer(earlier) is not None for earlier in history):
        return False
    text = step.removesuffix(SEPARATOR).strip()
    if any(not check_answer(problem, f"\\boxed{{{content}}}") for content in BOXED.findall(text)):
        return False
    text = uniform(BOXED.sub(r"\1", text))
    claims = 0
    try:
        for clause in clauses(text):
            for run in segments(clause, set(truth.names)):
                claims += 1
                if not _claim_holds(truth, run, clause):
                    return False
    except ReadingError:
        return False
    return claims > 0


def _claim_holds(truth: Truth, run: list[str], clause: str) -> bool:
    """Whether one run of arithmetic, with the words around it, is true of the question."""
    modulus = None
    run, congruent = _split_congruence(run)
    if congruent is not None:
        modulus = Reader(congruent, truth).read().value
        if truth.modulus is None or modulus != truth.modulus:
            return False
    sides: list[list[str]] = [[]]
    for token in run:
        if token == "=":
            sides.append([])
        else:
            sides[-1].append(token)
    asserted = len(sides) > 1
    expressions = [Reader(side, truth).read() for side in sides if side]
    first = expressions[0]
    if any(not _same(first.value, other.value, modulus) for other in expressions[1:]):
        return False
    if (asserted or first.compound) and not _owner_agrees(truth, clause, first.value):
        return False
    if "denominator" in clause:
        return first.value > 0 and all(first.value % low == 0 for low in truth.denominators)
    if len(expressions) == 1:
        return _mention_holds(truth, first, asserted, clause)
    if any(expression.tied for expression in expressions):
        return True
    bare = [expression for expression in expressions if not expression.compound]
    whole = [expression for expression in expressions if expression.compound]
    # 30 = 8 (mod 11) relates two numbers of the question's own; 12 = 12 and 1/3 = 4/12 do so too.
    if any(expression.value not in truth.goals for expression in bare) and (modulus is not None or not whole):
        return False
    return all((expression.value, expression.leaves) in truth.facts for expression in whole)


def _split_congruence(run: list[str]) -> tuple[list[str], list[str] | None]:
    """Take a closing `mod m` or `(mod m)` off a chain of equations: there it qualifies the whole chain."""
    if "=" not in run or "mod" not in run:
        return run, None
    last = len(run) - 1 - run[::-1].index("mod")
    rest = [token for token in run[last + 1 :] if token not in "()"]
    if len(rest) != 1 or last < run.index("="):
        return run, None
    opened = run[last - 1] == "("
    return run[: last - 1 if opened else last], rest


def _same(left: Fraction, right: Fraction, modulus: Fraction | None) -> bool:
    return left == right if modulus is None else (left - right) % modulus == 0


def _mention_holds(truth: Truth, expression: Expression, asserted: bool, clause: str) -> bool:
    """Whether a number or expression that is set equal to nothing else is right where it stands."""
    if FINAL_WORDS.search(clause):
        return expression.value == truth.answer
    if expression.tied:
        return True
    if expression.compound:
        return (expression.value, expression.leaves) in truth.facts
    if asserted and any(expression.value in amounts for amounts in truth.amounts.values()):
        return True
    return expression.value in truth.goals or (not asserted and expression.value in truth.numbers)


def _owner_agrees(truth: Truth, clause: str, value: Fraction) -> bool:
    """A claim that names one of the question's things must be about its money: `4 pens` about four times its price."""
    named = [noun for noun in truth.prices if re.search(rf"\b{noun[:-1]}s?\b", clause)]
    if len(named) != 1:
        return True
    counted = re.search(rf"\b(\d+|one|each|an?|per) {named[0][:-1]}s?\b", clause)
    if counted is None:
        return value in truth.amounts[named[0]]
    return value == truth.prices[named[0]] * (int(counted[1]) if counted[1].isdigit() else 1)
