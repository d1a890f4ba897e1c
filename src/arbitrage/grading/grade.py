r"""From a solution's text to right, wrong or ungraded.

The answer is the last `\boxed{...}` that is not empty (`extract`); a solution without one has no answer and is wrong.
Answers are brought to one way of writing (`normalise`) and compared by shape and part (`compare`): names, units,
regions and words are compared as texts, single expressions as mathematics by a process of its own (`symbolic`), under a
limit of processor time that holds in threads and worker processes. Where that process gives up the answer is neither
right nor wrong. Unlike the grader of the paper's release, "69,84" is a pair of numbers and not 6984, x is neither 100 x
nor x / 100, several answers may come in any order, and a benchmark's tolerance and unit are respected.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from arbitrage.grading.choice import chosen
from arbitrage.grading.compare import equal, match_all
from arbitrage.grading.extract import extract_answer, split_list, split_outside
from arbitrage.grading.normalise import plain
from arbitrage.grading.symbolic import GaveUp


def grade(solution: str, gold: Sequence[str], grading: Mapping[str, Any] | str) -> tuple[str | None, bool | None]:
    """The answer of `solution` and whether it equals the gold answers, in any order (paper: accuracy, section 5).

    The answer is None where none could be extracted: no box, or none that closes. The verdict is None where comparing
    took too much processor time or memory: the answer is ungraded, which says nothing about the solution.
    grading: what the benchmark asks for besides, also as JSON (the `questions` table's column). {"tolerance": 0.01}
    accepts numbers that are off by at most 0.01; {"unit": "km"} is the gold answers' unit, so that another is wrong.
    {"choices": ["3", "4"]}: gold is the letter of one of them. Other keys (the answer's type) change nothing.
    Raises ValueError where gold is empty.
    """
    if not gold:
        raise ValueError("gold is empty: a question needs at least one gold answer to be graded")
    answer = extract_answer(solution)
    if answer is None:
        return None, False
    wishes = json.loads(grading) if isinstance(grading, str) else grading
    try:
        if "choices" in wishes:
            return answer, chosen(answer, wishes["choices"]) in gold
        return answer, _is_right(answer, tuple(gold), wishes.get("unit"), float(wishes.get("tolerance") or 0.0))
    except GaveUp:
        return answer, None


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
    gave_up = None
    for pieces in readings:
        try:
            if match_all(pieces, gold, same):
                return True
        except GaveUp as error:
            gave_up = error
    if gave_up is not None:
        raise gave_up
    return False
