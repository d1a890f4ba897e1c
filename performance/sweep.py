"""The exact sweep with its step store against the procedure of the paper's release (issue: speed, point 1).

    python -m performance.sweep [--questions 200] [--timed 30] [--runs 5] [--router DIR] [--out FILE.json]

Three ways to evaluate RSD, oracle and router, with the same models, engine, questions and batch limits: the release's
(`performance.release`), one exact sweep, and the 11-point grid; the last two behind a store that starts empty. Tokens
and scorer calls are counted question by question; times are medians of interleaved runs. A simulated pair, whose
scores are uniform and independent, shows at which length of a solution the exact sweep becomes the dearer one.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from performance import pairs, simulated
from performance.conditions import Finding, conditions, report
from performance.pairs import Work
from performance.release import GRID, run_grid

from arbitrage.config.load import load_study
from arbitrage.config.study import Study
from arbitrage.speculation.algorithm1 import Trajectory
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.sweep import sweep
from arbitrage.speculation.tree import Node, Question

POLICIES = ("rsd", "oracle", "router")
WAYS = ("release", "exact", "grid")
LENGTHS = (2, 4, 8, 12, 16, 20, 24, 32, 48)  # steps of the simulated solutions
Ends = dict[tuple[str, float], list[Node]]  # (policy, threshold) -> where each question ended


def evaluate(models: PairModels, way: str, questions: Sequence[Question], seed: int) -> Ends:
    """One of WAYS, as where each question ends at every policy and threshold of the grid."""
    if way == "release":
        return run_grid(models, questions, POLICIES)
    models.forget()
    return ends_of(
        sweep(models, questions, POLICIES, seed, None if way == "exact" else dict.fromkeys(POLICIES, GRID)), questions
    )


def ends_of(trajectories: Sequence[Trajectory], questions: Sequence[Question]) -> Ends:
    """What a sweep found, read at the thresholds of the grid."""
    by_setting: dict[tuple[str, float], dict[str, Node]] = defaultdict(dict)
    for trajectory in trajectories:
        for threshold in GRID:
            if threshold in trajectory.interval:
                by_setting[trajectory.policy.name, threshold][trajectory.node.question.question_id] = trajectory.node
    return {key: [ends[question.question_id] for question in questions] for key, ends in by_setting.items()}


def differing(one: Ends, other: Ends, authors: bool = True) -> list[str]:
    """`policy at threshold: question` of every trajectory that is not the same, step by step.

    authors: whether the steps' authors count too, and not their texts alone.
    """
    return [
        f"{policy} at {threshold}: {mine.question.question_id}"
        for (policy, threshold), nodes in one.items()
        for mine, theirs in zip(nodes, other[policy, threshold], strict=True)
        if (mine != theirs if authors else texts(mine) != texts(theirs))
    ]


def texts(node: Node) -> list[str]:
    """The steps of a solution, whoever wrote them."""
    return [step.text for step in node.steps]


def count(models: PairModels, questions: Sequence[Question], seed: int, folder: Path) -> list[dict[str, Any]]:
    """Work of each way on each question, and the most steps any of its trajectories has.

    `models` remembers everything in a store of its own; the counters stand between it and each way's store, or none.
    Raises AssertionError where two ways disagree on a trajectory.
    """
    evaluate(models, "release", questions, seed)  # in large batches; from here on `models` answers from memory
    rows = []
    for number, question in enumerate(questions):
        work: dict[str, Work] = {}
        ends: dict[str, Ends] = {}
        for way in WAYS:
            counting, work[way] = pairs.counted(models)
            engines = counting if way == "release" else pairs.stored(counting, folder / f"{number}-{way}")
            ends[way] = evaluate(engines, way, [question], seed)
        for way in ("exact", "grid"):
            assert not (wrong := differing(ends["release"], ends[way])), f"{way} differs from the release: {wrong[:5]}"
        assert work["grid"].tokens <= work["exact"].tokens, f"{question.question_id}: the grid costs more than all"
        steps = max(len(node.steps) for nodes in ends["release"].values() for node in nodes)
        rows.append({"question_id": question.question_id, "steps": steps, "work": work})
        models.forget()
    return rows


def clock(models: PairModels, questions: Sequence[Question], seed: int, runs: int, folder: Path) -> dict[str, Any]:
    """Seconds of each way, `runs` times in turn, each from nothing; and the trajectories whose text differs.

    Here each way's models really run, in batches of its own, and the last bit of a score depends on the batch: where
    both models write the same step, the release may name either as its author.
    """
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    ends: dict[str, Ends] = {}
    for run in range(runs):
        for way in WAYS:
            pairs.forget(models)
            engines = models if way == "release" else pairs.stored(models, folder / f"{run}-{way}")
            begin = time.perf_counter()
            ends[way] = evaluate(engines, way, questions, seed)
            seconds[way].append(time.perf_counter() - begin)
    return {
        "seconds": seconds,
        "differing": {way: differing(ends["release"], ends[way], authors=False) for way in WAYS[1:]},
    }


def by_steps(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tokens a question by each way, by number of steps."""
    groups: dict[int, list[dict[str, Work]]] = defaultdict(list)
    for row in rows:
        groups[row["steps"]].append(row["work"])
    return [{"steps": steps, "questions": len(works), **tokens_of(works)} for steps, works in sorted(groups.items())]


def tokens_of(works: Sequence[dict[str, Work]]) -> dict[str, float]:
    """Mean tokens of each way over questions, and the release's as a multiple of the exact sweep's."""
    tokens = {way: statistics.fmean(work[way].tokens for work in works) for way in WAYS}
    return tokens | {"ratio": tokens["release"] / tokens["exact"]}


def worst_case(seed: int, folder: Path) -> list[dict[str, Any]]:
    """`by_steps` on simulated solutions of each of LENGTHS, eight questions of each."""
    rows = []
    for steps in LENGTHS:
        questions = [Question(str(number), "?" * (number + 1)) for number in range(8)]
        rows += count(simulated.simulated_models(steps), questions, seed, folder / str(steps))
    return by_steps(rows)


def total(rows: Sequence[dict[str, Any]]) -> dict[str, Work]:
    """Work of each way over all questions."""
    return {way: sum((row["work"][way] for row in rows), Work()) for way in WAYS}


def main() -> None:
    """Count, time, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, action="append", help="YAML of the study; config.yaml")
    parser.add_argument("--benchmark", default="lab500", help="Whose questions")
    parser.add_argument("--questions", type=int, default=200, help="How many are counted")
    parser.add_argument("--timed", type=int, default=30, help="How many are timed")
    parser.add_argument("--runs", type=int, default=5, help="How often each way is timed")
    parser.add_argument("--router", type=Path, help="Directory of a trained router; the study's own, if it is there")
    parser.add_argument("--out", type=Path, help="JSON; results/benchmarks/sweep.json")
    options = parser.parse_args()
    study = load_study(options.study or [Path("config.yaml")])
    with tempfile.TemporaryDirectory() as folder:
        run(study, options, Path(folder))


def run(study: Study, options: argparse.Namespace, folder: Path) -> None:
    """The whole benchmark, with `folder` for stores."""
    questions = pairs.lab_questions(study, options.benchmark, options.questions)
    models, names = pairs.first_pair(study, options.router)
    surroundings = conditions(names)

    timed = (
        clock(models, pairs.spread(questions, options.timed), study.seed, options.runs, folder / "clock")
        if options.timed
        else None
    )
    counted = count(pairs.stored(models, folder / "all"), questions, study.seed, folder / "count")
    work, lengths, worst = total(counted), by_steps(counted), worst_case(study.seed, folder / "simulated")

    title = f"{options.benchmark}, {len(counted)} questions"
    findings = [
        Finding.at_least(f"tokens, release / exact sweep ({title})", *ratio(work, "tokens"), 15),
        Finding(f"tokens, release / grid with the store ({title})", *ratio(work, "tokens", "grid")),
        Finding(f"steps generated, release / exact sweep ({title})", *ratio(work, "steps")),
        Finding(f"inputs scored, release / exact sweep ({title})", *ratio(work, "scored")),
        Finding.at_most("tokens, grid with the store / exact sweep", *ratio(work, "tokens", "exact", "grid"), 1),
    ]
    findings += [dearer(lengths, options.benchmark), dearer(worst, "scores uniform and independent")]
    if timed:
        medians = {way: statistics.median(values) for way, values in timed["seconds"].items()}
        findings.append(
            Finding.at_least(
                f"seconds, release / exact sweep ({options.timed} questions, median of {options.runs})",
                medians["release"] / medians["exact"],
                "x",
                8,
            )
        )
        findings.append(
            Finding.at_most(
                "timed trajectories whose text differs", sum(map(len, timed["differing"].values())), "trajectories", 0
            )
        )
    detail = {"work": {way: vars(each) for way, each in work.items()}, "by_steps": lengths, "simulated": worst}
    report("sweep", surroundings, findings, detail | {"timed": timed}, options.out)
    for name, table in ((options.benchmark, lengths), ("scores uniform and independent", worst)):
        print(f"\ntokens a question by steps ({name})\n steps questions   release     exact      grid  release/exact")
        for row in table:
            print(
                f"{row['steps']:6} {row['questions']:9} {row['release']:9.0f} {row['exact']:9.0f} {row['grid']:9.0f} "
                f"{row['ratio']:12.1f}x"
            )


def dearer(table: Sequence[dict[str, Any]], title: str) -> Finding:
    """The number of steps from which on the exact sweep costs more than the release, or that it never does."""
    cheaper = [row["steps"] for row in table if row["ratio"] >= 1]
    above = [row["steps"] for row in table if row["steps"] > max(cheaper, default=0)]
    if above:
        return Finding(f"the exact sweep is dearer than the release from ({title})", above[0], "steps on")
    return Finding(f"the exact sweep is never dearer than the release ({title}), up to", table[-1]["steps"], "steps")


def ratio(work: dict[str, Work], field: str, under: str = "exact", over: str = "release") -> tuple[float, str]:
    """`field` of `over` as a multiple of `under`'s, and the unit."""
    return getattr(work[over], field) / getattr(work[under], field), "x"


if __name__ == "__main__":
    main()
