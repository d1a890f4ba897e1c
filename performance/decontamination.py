"""How many respelt copies of benchmark questions are recalls, and how many other questions are lost with them.

    python -m performance.decontamination DATA [OUT.json]

DATA holds math500.jsonl, olympiadbench.jsonl and numina_like.jsonl (a sample of NuminaMath-CoT's shape, whose sources
`leak_...` are planted copies). Prints a row for each spelling: how many benchmark questions it changes, and what share
of these decontamination removes and de-duplication merges; then what both do to questions that are no copies.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from performance.respellings import RESPELLINGS, near_copies

from arbitrage.config.questions import Benchmark, Questions
from arbitrage.io.atomic import write_text
from arbitrage.questions.overlap import find_overlaps
from arbitrage.questions.sources import load
from arbitrage.questions.spelling import copy_key

BENCHMARKS = ("math500", "olympiadbench")
FILES = (*(f"{name}.jsonl" for name in BENCHMARKS), "numina_like.jsonl")
NGRAM = Questions.model_fields["overlap_ngram"].default


def benchmark_problems(folder: Path) -> list[str]:
    """The problems of both benchmarks."""
    return [
        str(row["problem"])
        for name in BENCHMARKS
        for row in load("benchmark", Benchmark(source=name, path=str(folder / f"{name}.jsonl")), seed=0)
    ]


def recall(problems: list[str], kind: str) -> dict[str, Any]:
    """How many of the problems that a spelling changes are still known for copies; `missed` holds the others."""
    pairs = [(text, RESPELLINGS[kind](text)) for text in problems]
    pairs = [(text, other) for text, other in pairs if other != text]
    others = list(dict.fromkeys(other for _, other in pairs))
    rules = dict(zip(others, find_overlaps(others, problems, NGRAM), strict=True))
    missed = [other for _, other in pairs if rules[other] is None]
    apart = [other for text, other in pairs if copy_key(text) != copy_key(other)]
    return {"kind": kind, "changed": len(pairs), "missed": missed, "apart": apart}


def losses(folder: Path, problems: list[str]) -> dict[str, Any]:
    """What happens to the sample: rows, planted ones removed, others removed, and copies by text and by spelling."""
    lines = (folder / "numina_like.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    exact: dict[str, dict[str, Any]] = {}
    for row in rows:
        exact.setdefault(" ".join(row["problem"].lower().split()), row)
    kept: dict[str, dict[str, Any]] = {}
    merged: list[tuple[str, str]] = []
    for row in exact.values():
        first = kept.setdefault(copy_key(row["problem"]), row)
        if first is not row:
            merged.append((first["problem"], row["problem"]))
    unique = list(kept.values())
    begin = time.process_time()
    rules = find_overlaps([row["problem"] for row in unique], problems, NGRAM)
    seconds = time.process_time() - begin
    planted = [rule is not None for row, rule in zip(unique, rules, strict=True) if row["source"].startswith("leak_")]
    others = [(row["problem"], rule) for row, rule in zip(unique, rules, strict=True) if row["source"][:5] != "leak_"]
    near = [(text, other) for text in problems for other in near_copies(text)]
    return {
        "rows": len(rows),
        "distinct_texts": len(exact),
        "merged_by_spelling": merged,
        "planted": len(planted),
        "planted_removed": sum(planted),
        "others": len(others),
        "others_removed": [text for text, rule in others if rule is not None],
        "near_copies": len(near),
        "near_copies_merged": [other for text, other in near if copy_key(text) == copy_key(other)],
        "seconds": seconds,
    }


def main(arguments: list[str]) -> None:
    """Measure, print and, where a second argument is given, write."""
    folder = Path(arguments[0])
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        print(f"skipped: {folder} lacks {', '.join(missing)}; download the data sets as JSONL and name their folder")
        return
    problems = benchmark_problems(folder)
    recalls = [recall(problems, kind) for kind in RESPELLINGS]
    print(f"{'spelling':28} {'changed':>8} {'removed':>9} {'merged':>9}")
    for result in recalls:
        changed = max(result["changed"], 1)
        shares = [1 - len(result[name]) / changed for name in ("missed", "apart")]
        print(f"{result['kind']:28} {result['changed']:8} {shares[0]:9.2%} {shares[1]:9.2%}")
    changed = sum(result["changed"] for result in recalls)
    totals = {name: 1 - sum(len(result[name]) for result in recalls) / changed for name in ("missed", "apart")}
    print(f"{'all':28} {changed:8} {totals['missed']:9.2%} {totals['apart']:9.2%}")
    lost = losses(folder, problems)
    print(
        "{rows} rows, {distinct_texts} distinct texts; of {planted} planted copies {planted_removed} removed;".format(
            **lost
        )
    )
    print(
        f"of {lost['others']} others {len(lost['others_removed'])} removed "
        f"({len(lost['others_removed']) / lost['others']:.3%}), {len(lost['merged_by_spelling'])} merged with one "
        f"spelt otherwise; of {lost['near_copies']} near copies {len(lost['near_copies_merged'])} merged; "
        f"{lost['seconds']:.1f} s of CPU for {lost['others'] + lost['planted']} questions"
    )
    for name in ("others_removed", "merged_by_spelling", "near_copies_merged"):
        for text in lost[name][:20]:
            print(f"    {name}: {text}")
    if len(arguments) > 1:
        write_text(Path(arguments[1]), json.dumps({"recall": recalls, "losses": lost}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
