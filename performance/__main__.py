"""All benchmarks one after the other, then one table of what they measured beside what was asked for.

    python -m performance [NAME ...]

Each is a module with a `main` that ends in `conditions.report`; it runs in a process of its own, so that none finds
another's memory or caches. A benchmark that fails is told, and the others go on; the exit code is then 1. A goal that
is missed is a finding, not a failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from performance.conditions import FOLDER

NAMES = ("sweep", "engine", "live", "schedule", "serving", "training", "router")


def run(name: str, folder: Path = FOLDER) -> dict[str, Any] | None:
    """What benchmark `name` wrote to `folder`; None where it failed."""
    out = folder / f"{name}.json"
    out.unlink(missing_ok=True)
    print(f"\n== {name}", flush=True)
    start = time.monotonic()
    command = [sys.executable, "-m", f"performance.{name}", "--out", str(out)]
    code = subprocess.run(command, check=False).returncode  # noqa: S603 - our own modules
    print(f"== {name}: {time.monotonic() - start:.0f} s", flush=True)
    return json.loads(out.read_text()) if code == 0 and out.is_file() else None


def table(results: Iterable[dict[str, Any]]) -> str:
    """One line a finding: benchmark, measure, value, goal, reached or not."""
    rows = [("benchmark", "measure", "value", "goal", "")]
    for result in results:
        for each in result["findings"]:
            verdict = "" if each["met"] is None else "reached" if each["met"] else "MISSED"
            value = f"{each['value']:.4g} {each['unit']}"
            rows.append((result["benchmark"], each["measure"], value, each["goal"] or "", verdict))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def main(arguments: Sequence[str]) -> int:
    """Run the benchmarks named, or all; return the exit code."""
    if unknown := set(arguments) - set(NAMES):
        print(f"unknown: {', '.join(sorted(unknown))}; expected some of {', '.join(NAMES)}", file=sys.stderr)
        return 2
    results = {name: run(name) for name in arguments or NAMES}
    done = [result for result in results.values() if result is not None]
    print(f"\n{table(done)}\n\nJSON with conditions and details: {FOLDER}/")
    failed = [name for name, result in results.items() if result is None]
    if failed:
        print(f"failed, see above: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
