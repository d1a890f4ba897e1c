r"""From a solution's text to its answer, and from an answer to right or wrong.

The answer is the last `\boxed{...}`; a solution without one has no answer and is wrong. Answers are compared by
math-verify (which knows LaTeX, sets, tuples, intervals and units), after a fast exact comparison that settles plain
integers and fractions. Unlike the grader of the paper's release, "69,84" is a pair of numbers and not 6984, x is
neither 100 x nor x / 100, several answers may come in any order, and a benchmark's tolerance is respected.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from math_verify import parse, verify
from scipy.optimize import linear_sum_assignment

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns whenever its own time limit is off

SECONDS = 5  # math-verify's limit for one parse or comparison, where it can have one
LONGEST_ANSWER = 400  # characters; longer texts are runaway generations that a parser should not be fed

_BOX = re.compile(r"\\f?boxed\s*\{")
_BETWEEN_BOXES = re.compile(r"[\s$,;]*(?:and|or)?[\s$,;]*")  # two boxes with only this between them are one answer
_INTEGER = re.compile(r"[+-]?\d{1,200}")
_FRACTION = re.compile(r"([+-]?)(?:(\d{1,200})/(\d{1,200})|\\[dt]?frac\{([+-]?\d{1,200})\}\{(\d{1,200})\})")
_OR = re.compile(r"\\text\s*\{\s*(?:and|or)\s*\}|\band\b|\bor\b|;")


def extract_answer(text: str) -> str | None:
    r"""The content of the last `\boxed{...}` with balanced braces, or None.

    Boxes that stand side by side (`\boxed{2} and \boxed{3}`) are one answer with several parts: "2, 3".
    """
    parts: list[str] = []
    end_of_last = -1
    for match in _BOX.finditer(text):
        if match.start() < end_of_last:
            continue  # a box inside a box
        end = _closing_brace(text, match.end())
        if end is None:
            continue
        content = text[match.end() : end].strip()
        between = text[end_of_last : match.start()] if parts else ""
        if parts and _BETWEEN_BOXES.fullmatch(between) and "\n" not in between:
            parts += [content] if content not in parts else []
        else:
            parts = [content]
        end_of_last = end + 1
    return ", ".join(parts) or None


def grade(solution: str, gold: Sequence[str], grading: Mapping[str, Any] | str) -> tuple[str | None, bool]:
    """The answer of `solution` and whether it equals the gold answers (all of them, in any order).

    grading: what the benchmark asks for besides, also as JSON (the `questions` table's column); {"tolerance": 0.01}
    accepts numbers that are off by at most 0.01. Other keys (the answer's unit, its type) change nothing.
    Raises ValueError where gold is empty.
    """
    if not gold:
        raise ValueError("gold is empty: a question needs at least one gold answer to be graded")
    answer = extract_answer(solution)
    if answer is None:
        return None, False
    wishes = json.loads(grading) if isinstance(grading, str) else grading
    return answer, _is_right(answer, tuple(gold), float(wishes.get("tolerance") or 0.0))


@lru_cache(maxsize=200_000)
def _is_right(answer: str, gold: tuple[str, ...], tolerance: float) -> bool:
    if len(gold) == 1:
        return _equal(answer, gold[0], tolerance)
    pieces = _split(answer)
    if len(pieces) != len(gold):
        return False
    table = [[_equal(piece, one, tolerance) for one in gold] for piece in pieces]
    rows, columns = linear_sum_assignment(table, maximize=True)
    return all(table[row][column] for row, column in zip(rows, columns, strict=True))


@lru_cache(maxsize=200_000)
def _equal(answer: str, gold: str, tolerance: float) -> bool:
    answer, gold = answer.strip().strip("$").strip(), gold.strip().strip("$").strip()
    if answer == gold:
        return True
    ours, theirs = _exact(answer), _exact(gold)
    if ours is not None and theirs is not None:
        return abs(ours - theirs) <= Fraction(tolerance)
    if len(answer) > LONGEST_ANSWER or re.search(r"\d{201}|\^\s*\{?\s*\d*\s*\^|!\s*!", answer):
        return False  # nothing of this size is a gold answer, and evaluating it could take for ever
    # A time limit by signals works in the main thread only; elsewhere the checks above have to do.
    seconds = SECONDS if threading.current_thread() is threading.main_thread() else None
    parsed_gold = parse(f"\\boxed{{{gold}}}", parsing_timeout=seconds)
    parsed = parse(f"\\boxed{{{answer}}}", parsing_timeout=seconds)
    if verify(parsed_gold, parsed, timeout_seconds=seconds):  # asymmetric: gold comes first
        return True
    return tolerance > 0 and _is_near(parsed_gold, parsed, tolerance)


def _exact(text: str) -> Fraction | None:
    """The value of a plain integer or fraction; None for anything else (math-verify rounds decimals)."""
    if _INTEGER.fullmatch(text):
        return Fraction(int(text))
    if match := _FRACTION.fullmatch(text):
        sign, above, below, tex_above, tex_below = match.groups()
        bottom = int(below or tex_below)
        top = int(above or tex_above)
        return None if bottom == 0 else Fraction(-top if sign == "-" else top, bottom)
    return None


def _is_near(gold: list[Any], answer: list[Any], tolerance: float) -> bool:
    try:
        return abs(float(gold[0]) - float(answer[0])) <= tolerance
    except (TypeError, ValueError, IndexError, OverflowError):
        return False  # not two numbers


def _closing_brace(text: str, start: int) -> int | None:
    depth = 1
    for position in range(start, len(text)):
        if text[position] in "{}" and text[position - 1] != "\\":
            depth += 1 if text[position] == "{" else -1
            if depth == 0:
                return position
    return None


def _split(answer: str) -> list[str]:
    """The parts of an answer with several: cut at commas, `and` and `or` outside brackets; plus-minus is two parts."""
    text = answer.strip().strip("$").strip()
    if text.startswith("\\{") and text.endswith("\\}"):
        text = text[2:-2]
    text = _OR.sub(",", text.replace("\\left", "").replace("\\right", ""))
    parts, depth, begin = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append(text[begin:position])
            begin = position + 1
    parts = [part.strip() for part in [*parts, text[begin:]] if part.strip()]
    return [part.replace("\\pm", sign) for part in parts for sign in ("+-" if "\\pm" in part else "+")]
