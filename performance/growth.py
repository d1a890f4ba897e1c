"""What the store, the merging of shards and the router's data set cost as the steps grow (issue: speed, point 4).

    python -m performance.growth [--sizes 1000 10000 100000 1000000] [--out FILE]

Synthetic records, no models; the lab's tokenizer encodes the steps. Each measurement runs in a process of its own,
whose peak memory is told with its seconds; the libraries it imports are part of that. Each is run once. How time grows
is told in seconds of the processor, which a busy machine hardly changes; what all of it takes, in seconds of the clock.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from performance.conditions import Finding, conditions, report

from arbitrage.engines.store.step_store import StepStore, step_key
from arbitrage.io.merge import merge_tables
from arbitrage.io.tables import SCHEMAS, table_writer
from arbitrage.speculation.protocols import GREEDY, GeneratedStep

SIZES = (1_000, 10_000, 100_000, 1_000_000)
STEPS = 8  # of a question
SHARDS = 4
CHUNK = 5_000  # records a commit
LOOKUPS = 200_000
TOKENIZER = Path("src/arbitrage/lab/zoo/prm")
Measured = dict[str, dict[str, float]]  # what was timed -> `seconds` of the clock, `cpu` of the processor


@contextmanager
def clock(found: Measured, what: str) -> Iterator[None]:
    """Time the block as `what`."""
    seconds, cpu = time.perf_counter(), time.process_time()
    yield
    found[what] = {"seconds": time.perf_counter() - seconds, "cpu": time.process_time() - cpu}


def insert(folder: Path, size: int) -> Measured:
    """Half steps, half scores, committed chunk by chunk."""
    found: Measured = {}
    store = StepStore(folder, "store")
    with clock(found, "insert"):
        for first in range(0, size, CHUNK):
            for number in range(first, min(first + CHUNK, size), 2):
                text = f"So {number} + 4 = {number + 4}.\n\n"
                store.add_step(_key(number), GeneratedStep(text, 12, "separator", -0.1))
                store.add_score(_key(number + 1), 0.5)
            store.commit(f"{first:08}")
    return found


def look_up(folder: Path, size: int) -> Measured:
    """Open what `insert` wrote, and find records in no order, with their keys made beforehand."""
    keys = [_key(int(number)) for number in np.random.default_rng(0).integers(0, size // 2, LOOKUPS) * 2]
    found: Measured = {}
    with clock(found, "open"):
        store = StepStore(folder, "store")
    with clock(found, "look-ups"):
        for key in keys:
            store.step(key)
    return found


def merge(folder: Path, size: int) -> Measured:
    """Join the shards of the table `steps`."""
    shards = [folder / f"shard-{shard}.parquet" for shard in range(SHARDS)]
    found: Measured = {}
    with clock(found, "merge"):
        merge_tables(shards, "steps", folder / "steps.parquet")
    return found


def dataset(folder: Path, size: int) -> Measured:
    """Build the balanced data set of the default variant from what `merge` wrote."""
    from arbitrage.config.router import Dataset, Variant
    from arbitrage.engines.checkpoints import load_tokenizer
    from arbitrage.routing.dataset import build_dataset

    tokenizer = load_tokenizer(TOKENIZER)
    found: Measured = {}
    with clock(found, "data set"):
        build_dataset(folder / "steps.parquet", Variant(), Dataset(), tokenizer, "\n\n", 42, folder / "dataset")
    return found


def write_shards(folder: Path, size: int) -> None:
    """The table `steps` of `size` steps, cut by question as the stage cuts it."""
    questions = max(size // STEPS, SHARDS)
    for shard in range(SHARDS):
        with table_writer(folder / f"shard-{shard}.parquet", "steps") as write:
            for numbers in _pieces(range(shard, questions, SHARDS), 1_000):
                write(pa.Table.from_pylist([row for number in numbers for row in _rows(number)], SCHEMAS["steps"]))


def _rows(question: int) -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(question)
    written: list[dict[str, str]] = []
    for index in range(STEPS):
        a, b = (int(number) for number in random.integers(2, 99, 2))
        texts = [f"{index}. We take {a} and add {b + question}: {a + b + question}.\n\n", f"{a} + {b} = {a + b}.\n\n"]
        draft_score, target_score = (float(score) for score in random.uniform(0.01, 0.99, 2))
        yield {
            "study": "growth",
            "pair": "synthetic",
            "question_id": f"q{question:08}",
            "problem": f"Start with {question}. Add 7. Multiply by 9. What is the result after {STEPS} more steps?",
            "step_index": index,
            "history": list(written),
            "draft_step": texts[0],
            "target_steps": texts[1:],
            "draft_score": draft_score,
            "target_scores": [target_score],
            "advantage": target_score - draft_score,
            "label": int(target_score > draft_score),
            "draft_confidence": 0.25,
        }
        written.append({"model": "draft", "text": texts[0]})


def _pieces(numbers: range, size: int) -> Iterator[range]:
    for first in range(0, len(numbers), size):
        yield numbers[first : first + size]


def _key(number: int) -> bytes:
    return step_key("model", (number,), 64, GREEDY)


def measured(task: Callable[[Path, int], Measured], folder: Path, size: int) -> list[dict[str, Any]]:
    """What `task` timed, row by row, with its process' peak memory in GB."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(task, folder, size, send))
    process.start()
    send.close()
    try:
        found, peak = receive.recv()
    except EOFError:
        sys.exit(f"{task.__name__} of {size:,} ended without a result; see above")
    process.join()
    return [{"steps": size, "what": what, **times, "peak_gb": peak} for what, times in found.items()]


def _measure(task: Callable[[Path, int], Measured], folder: Path, size: int, send: Any) -> None:
    found = task(folder, size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB on Linux
    send.send((found, peak * 1024 / 1e9))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="Numbers of steps, ascending")
    parser.add_argument("--out", type=Path, help="JSON; results/benchmarks/growth.json")
    asked = parser.parse_args()
    surroundings = conditions()
    detail: list[dict[str, Any]] = []
    for size in asked.sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_shards(folder, size)
            for task in (insert, look_up, merge, dataset):
                for row in measured(task, folder, size):
                    print("{steps:>9,} {what:8} {seconds:8.3f} s, {cpu:8.3f} s cpu, {peak_gb:.2f} GB".format(**row))
                    detail.append(row)
    report("growth", surroundings, findings(detail, asked.sizes), detail, asked.out)


def findings(detail: list[dict[str, Any]], sizes: list[int]) -> list[Finding]:
    """How time grows from a tenth of the steps to all of them, and what all of them take."""
    most, tenth = sizes[-1], sizes[-2] if len(sizes) > 1 else sizes[-1]
    of = {(row["what"], row["steps"]): row for row in detail}
    found = []
    for what in ("insert", "open", "merge", "data set"):
        growth = of[what, most]["cpu"] / of[what, tenth]["cpu"] / (most / tenth)
        found.append(
            Finding.at_most(f"{what}: seconds a step at {most:,} / at {tenth:,}", growth, "x (1 is linear)", 1.25)
        )
    slower = of["look-ups", most]["cpu"] / of["look-ups", sizes[0]]["cpu"]
    found += [
        Finding.at_most(f"look-up at {most:,} / at {sizes[0]:,} records", slower, "x", 2),
        Finding(f"look-up at {most:,}", of["look-ups", most]["cpu"] / LOOKUPS * 1e6, "µs"),
    ]
    for what in ("insert", "open", "merge", "data set"):
        row = of[what, most]
        found.append(Finding.at_most(f"{what}: peak memory at {most:,}", row["peak_gb"], "GB", 2))
        if what == "data set":
            found.append(Finding.at_most(f"data set of {most:,} steps", row["seconds"], "s", 60))
        else:
            found.append(Finding(f"{what} of {most:,}", row["seconds"], "s"))
    return found


if __name__ == "__main__":
    main()
