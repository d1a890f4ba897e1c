"""The other end of `algebra`: reads [answer, gold, tolerance] lines, writes true or false."""

import json
import logging
import resource
import sys
from typing import Any

from math_verify import parse, verify

MEMORY = 4 * 2**30  # bytes of address space; a power tower is given up and not swapped

logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it warns whenever its own time limit is off


def same(answer: str, gold: str, tolerance: float) -> bool:
    """Whether math-verify holds the two equal (gold comes first: it is not symmetric), or they are that near."""
    parsed_gold, parsed = _parse(gold), _parse(answer)
    if verify(parsed_gold, parsed, timeout_seconds=None):
        return True
    return tolerance > 0 and _is_near(parsed_gold, parsed, tolerance)


def _parse(text: str) -> list[Any]:
    return list(parse(f"\\boxed{{{text}}}", parsing_timeout=None))


def _is_near(gold: list[Any], answer: list[Any], tolerance: float) -> bool:
    try:
        return abs(float(gold[0]) - float(answer[0])) <= tolerance
    except (TypeError, ValueError, IndexError, OverflowError):
        return False  # not two numbers


def main() -> None:
    """Answer until the input ends, which it does when the process that asks is gone."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    print('"ready"', flush=True)
    for line in sys.stdin:
        try:
            reply = same(*json.loads(line))
        except (Exception, RecursionError, MemoryError):  # sympy raises anything on a text that is no mathematics
            reply = False
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
