r"""From a solution's text to right or wrong.

The answer is the last `\boxed{...}` (`extraction`); a solution without one has no answer and is wrong. Answers are
brought to one way of writing (`writing`) and compared by shape and part (`equality`); only single expressions go to
math-verify (`algebra`), under a time limit that holds in threads and worker processes. Unlike the grader of the
paper's release, "69,84" is a pair of numbers and not 6984, x is neither 100 x nor x / 100, several answers may come
in any order, and a benchmark's tolerance and unit are respected.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from arbitrage.grading.compare import equal, match_all
from arbitrage.grading.extract import extract_answer, split_list, split_outside
from arbitrage.grading.normalise import plain


def grade(solution: str, gold: Sequence[str], grading: Mapping[str, Any] | str) -> tuple[str | None, bool]:
    """The answer of `solution` and whether it equals the gold answers (all of them, in any order).

    The answer is None where none could be extracted: no box, or none that closes.
    grading: what the benchmark asks for besides, also as JSON (the `questions` table's column). {"tolerance": 0.01}
    accepts numbers that are off by at most 0.01; {"unit": "km"} is the gold answers' unit, so that another is wrong.
    Other keys (the answer's type) change nothing.
    Raises ValueError where gold is empty.
    """
    if not gold:
        raise ValueError("gold is empty: a question needs at least one gold answer to be graded")
    answer = extract_answer(solution)
    if answer is None:
        return None, False
    wishes = json.loads(grading) if isinstance(grading, str) else grading
    return answer, _is_right(answer, tuple(gold), wishes.get("unit"), float(wishes.get("tolerance") or 0.0))


@lru_cache(maxsize=200_000)
def _is_right(answer: str, gold: tuple[str, ...], unit: str | None, tolerance: float) -> bool:
    if len(gold) == 1:
        return equal(answer, gold[0], unit, tolerance)

    def same(piece: str, one: str) -> bool:
        return equal(piece, one, unit, tolerance)

    text = plain(answer)
    if text.startswith("\\{") and text.endswith("\\}"):
        text = text[2:-2]
    # "1,080, 2,000" has four parts or two, and which of them only the writer's spaces tell.
    readings = [split_list(text)]
    if "," in text and ", " in answer:
        readings.append([plain(part) for part in split_outside(answer.strip().strip("$"), ", ")])
    return any(match_all(pieces, gold, same) for pieces in readings)
