"""How often grading is right, and how fast: gold answers of MATH-500 and OlympiadBench, rewritten and spoilt.

    python -m performance.grading DATA [OUT.json]

DATA holds math500.jsonl and olympiadbench.jsonl (the columns of the public data sets). Prints the rates and every
case that went wrong, and writes both as JSON.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from performance.rewritings import equivalents, wrongs

from arbitrage.config.questions import Benchmark
from arbitrage.grading.grade import grade
from arbitrage.io.atomic import write_text
from arbitrage.questions.sources import load

BENCHMARKS = ("math500", "olympiadbench")
Cases = Callable[[list[str]], list[str]]
KINDS: dict[str, tuple[Cases, bool]] = {
    "self": (lambda answers: [", ".join(answers)], True),
    "equivalent": (equivalents, True),
    "wrong": (wrongs, False),
}


def measure(folder: Path, benchmark: str, kind: str) -> dict[str, Any]:
    """Counts, seconds and failures of one kind of case; `failures` holds (gold answers, answer)."""
    settings = Benchmark(source=benchmark, path=str(folder / f"{benchmark}.jsonl"))
    rows = load("benchmark", settings, seed=0)
    make, right = KINDS[kind]
    cases = [(row, text) for row in rows for text in make(row["answers"])]
    begin = time.perf_counter()
    failures = [
        (row["answers"], text)
        for row, text in cases
        if grade(f"\\boxed{{{text}}}", row["answers"], row["grading"])[1] is not right
    ]
    seconds = time.perf_counter() - begin
    accepted = len(cases) - len(failures) if right else len(failures)
    return {
        "benchmark": benchmark,
        "kind": kind,
        "questions": len(rows),
        "cases": len(cases),
        "accepted": accepted,
        "rate": accepted / len(cases),
        "seconds": seconds,
        "failures": failures,
    }


def main(arguments: list[str]) -> None:
    """Measure, print and, where a second argument is given, write."""
    results = [measure(Path(arguments[0]), benchmark, kind) for benchmark in BENCHMARKS for kind in KINDS]
    for result in results:
        print(
            "{benchmark:14} {kind:11} {accepted:6} of {cases:6} accepted ({rate:.2%}) in {seconds:.1f} s".format(
                **result
            )
        )
        for gold, text in result["failures"]:
            print(f"    {'accepted' if result['kind'] == 'wrong' else 'refused'}: {text}   gold: {gold}")
    cases, seconds = sum(result["cases"] for result in results), sum(result["seconds"] for result in results)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(
        f"10,000 gradings take {10_000 * seconds / cases:.1f} s ({machine}; one process that grades, one that compares)"
    )
    if len(arguments) > 1:
        write_text(Path(arguments[1]), json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
