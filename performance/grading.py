"""How often grading is right, and how fast: gold answers of MATH-500 and OlympiadBench, rewritten and spoilt.

    python -m performance.grading DATA [OUT.json] [--math-verify]

DATA holds math500.jsonl and olympiadbench.jsonl (the columns of the public data sets). Prints the rates of every kind
and every case that went wrong, and writes both as JSON. With --math-verify every fiftieth of these answers goes through
math-verify alone instead, and the cases where the two part are counted and shown.
"""

import json
import os
import platform
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from performance.kinds import RIGHT, WRONG
from performance.rewritings import equivalents, wrongs

from arbitrage.config.questions import Benchmark
from arbitrage.grading.grade import grade
from arbitrage.grading.symbolic import SYMBOLIC
from arbitrage.io.atomic import write_text
from arbitrage.questions.sources import load

BENCHMARKS = ("math500", "olympiadbench")
STEP_ALONE = 50  # math-verify alone grades every so many cases
Row = dict[str, Any]
KINDS: dict[str, bool] = {  # kind -> whether its answers are right
    "self": True,
    "equivalent": True,
    "wrong": False,
    **{f"right: {kind}": True for kind in RIGHT},
    **{f"wrong: {kind}": False for kind in WRONG},
}


def cases(rows: list[Row], kind: str) -> Iterator[tuple[list[str], str, str]]:
    """(gold answers, answer, what the benchmark wishes) of every case of a kind."""
    if kind in ("self", "equivalent", "wrong"):
        make = {"self": lambda answers: [", ".join(answers)], "equivalent": equivalents, "wrong": wrongs}[kind]
        yield from ((row["answers"], text, row["grading"]) for row in rows for text in make(row["answers"]))
        return
    of_kind = (RIGHT if KINDS[kind] else WRONG)[kind.split(": ")[1]]
    for row in rows:
        for gold, text in of_kind(row["answers"]):
            yield gold, text, row["grading"] if gold == row["answers"] else "{}"


def measure(folder: Path, benchmark: str, kind: str, step: int = 1) -> Row:
    """Counts and failures of every `step`-th case of a kind; `failures` and `ungraded` hold (gold answers, answer)."""
    settings = Benchmark(source=benchmark, path=str(folder / f"{benchmark}.jsonl"))
    rows = load("benchmark", settings, seed=0)
    every = list(cases(rows, kind))[::step]
    verdicts = [grade(f"\\boxed{{{text}}}", gold, wishes)[1] for gold, text, wishes in every]
    return {
        "benchmark": benchmark,
        "kind": kind,
        "questions": len(rows),
        "cases": len(every),
        "accepted": sum(verdict is True for verdict in verdicts),
        "ungraded": [case[:2] for case, verdict in zip(every, verdicts, strict=True) if verdict is None],
        "failures": [case[:2] for case, verdict in zip(every, verdicts, strict=True) if verdict is (not KINDS[kind])],
    }


def parted(folder: Path, benchmark: str, kind: str) -> Row:
    """How math-verify alone grades the same cases; `parted` holds those on which it and `grade` differ."""
    import math_verify  # only this comparison needs it

    rows = load("benchmark", Benchmark(source=benchmark, path=str(folder / f"{benchmark}.jsonl")), seed=0)
    accepted, apart, count = 0, [], 0
    for gold, text, wishes in list(cases(rows, kind))[::STEP_ALONE]:
        count += 1
        parsed = math_verify.parse("$" + ", ".join(answer.strip().strip("$") for answer in gold) + "$")
        theirs = bool(math_verify.verify(parsed, math_verify.parse(f"$\\boxed{{{text}}}$")))
        accepted += theirs
        if theirs is not grade(f"\\boxed{{{text}}}", gold, wishes)[1]:
            apart.append((gold, text, theirs))
    return {"benchmark": benchmark, "kind": kind, "cases": count, "accepted": accepted, "parted": apart}


def processor_seconds() -> float:
    """Of this process and of the comparing process, which this ends."""
    SYMBOLIC.close()
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main(arguments: list[str]) -> None:
    """Measure, print and, where a second argument is given, write."""
    alone = "--math-verify" in arguments
    folder, *out = [Path(argument) for argument in arguments if argument != "--math-verify"]
    if missing := [name for name in BENCHMARKS if not (folder / f"{name}.jsonl").is_file()]:
        print(f"skipped: {folder} lacks {', '.join(missing)} as .jsonl; download the data sets and name their folder")
        return
    written: dict[str, Any] = {"machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.python_version()}"}
    if alone:
        written["math_verify"] = [parted(folder, benchmark, kind) for benchmark in BENCHMARKS for kind in KINDS]
        _print_parted(written["math_verify"])
    else:
        begin = processor_seconds()
        results = [measure(folder, benchmark, kind) for benchmark in BENCHMARKS for kind in KINDS]
        written |= {"seconds": processor_seconds() - begin, "results": results}
        _print_measured(results)
        seconds = 10_000 * written["seconds"] / sum(result["cases"] for result in results)
        print(f"10,000 gradings take {seconds:.1f} s of processor time ({written['machine']})")
    if out:
        write_text(out[0], json.dumps(written, indent=1) + "\n")


def _print_measured(results: list[Row]) -> None:
    for result in results:
        counts = "{benchmark:14} {kind:28} {accepted:6} of {cases:6} accepted".format(**result)
        print(f"{counts}, {len(result['ungraded'])} ungraded")
        for gold, text in result["failures"]:
            print(f"    {'refused' if KINDS[result['kind']] else 'accepted'}: {text}   gold: {gold}")


def _print_parted(results: list[Row]) -> None:
    for result in results:
        print("math-verify alone: {benchmark:14} {kind:28} {accepted:6} of {cases:6} accepted".format(**result))
        for gold, text, theirs in result["parted"][:5]:
            print(f"    it {'accepts' if theirs else 'refuses'}: {text}   gold: {gold}")


if __name__ == "__main__":
    main(sys.argv[1:])
