"""Where routers err, with examples for the page: on held-out steps, and on the way through a benchmark's questions.

Held-out steps are those of `mistakes.csv`, where both models' steps are known. On a benchmark a router's own way at
τ = 0.5 counts, and of its decisions those at which both steps are known: where it accepts, some other policy must have
asked the target. These questions are in the explorer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pandas as pd

from arbitrage.config.policies import POLICIES
from arbitrage.config.study import Study
from arbitrage.evaluation.router_mistakes import KINDS
from arbitrage.evaluation.router_quality import ESCALATE_ABOVE, STEP
from arbitrage.io.csv_tables import read_csv
from arbitrage.io.tables import read_batches
from arbitrage.report.page.explorer_data import run_name
from arbitrage.runtime.paths import StudyPaths

EXAMPLES = 3  # of each kind, router and set of questions, each of another question


@dataclass(frozen=True)
class Mistake:
    """One decision. number: of the step, from 1; history: author and text of each step before; link: in the explorer,
    or ""."""

    kind: str
    question_id: str
    number: int
    family: str
    problem: str
    history: list[tuple[str, str]]
    draft: str
    target: str
    draft_score: float
    target_score: float
    router_score: float
    link: str = ""

    @property
    def advantage(self) -> float:
        """What escalating gains."""
        return self.target_score - self.draft_score


@dataclass(frozen=True)
class Errors:
    """Of one router: how often it errs on held-out steps, in words by kind, and examples by set of questions.

    examples: "held-out steps" or a benchmark's name, and the file of the texts, with the mistakes there.
    """

    pair: str
    variant: str
    kind: str
    counts: list[str]
    examples: list[tuple[str, str, list[Mistake]]]


def router_errors(study: Study, panels: Mapping[str, Any]) -> list[Errors]:
    """The errors of every router that decides for a swept policy, and of the variant `default`.

    panels: of the explorer's data. Raises TableError, and FileNotFoundError where `mistakes.csv` is not there.
    """
    paths = StudyPaths.of(study)
    rows = read_csv(paths.router_detail("mistakes"))
    deciding = {study.variant_of(policy): policy for policy in study.sweep.policies if POLICIES[policy].trained}
    found = []
    for pair in study.pairs:
        own = rows[(rows["pair"] == pair) & rows["variant"].isin(["default", *deciding])]
        distinct = own[own["rank"].notna()].drop_duplicates(["variant", "mistake", "question_id"])
        shown = distinct.groupby(["variant", "mistake"], sort=False).head(EXAMPLES)
        texts = _texts(paths.steps(pair), shown)
        for variant, part in own.groupby("variant", sort=False):
            held_out = [_held_out(row, texts) for row in shown[shown["variant"] == variant].to_dict("records")]
            examples = [("held-out steps", f"steps/{pair}.parquet", held_out)]
            for benchmark in study.benchmarks:
                panel, policy = panels.get(f"{pair} {benchmark}"), deciding.get(str(variant))
                if panel and policy and run_name(policy, 0) in panel["runs"]:
                    walked = benchmark_mistakes(panel, f"{pair} {benchmark}", run_name(policy, 0))
                    examples.append((benchmark, f"trajectories/{pair}/{benchmark}.parquet", walked))
            kind = study.router.variants[str(variant)].kind
            found.append(Errors(pair, str(variant), kind, [_counted(part, mistake) for mistake in KINDS], examples))
    return found


def _counted(rows: pd.DataFrame, kind: str) -> str:
    row = rows[rows["mistake"] == kind].iloc[0]
    count, plural = int(row["mistakes"]), "" if row["mistakes"] == 1 else "s"
    vain = f", {int(row['in_vain'])} of them in vain (Δ = 0)" if kind == KINDS[1] else ""
    return f"{count} {kind}{plural}{vain}, |Δ| {row['lost']:.2f} in all"


def _texts(steps: Path, rows: pd.DataFrame) -> dict[tuple[str, int], dict[str, Any]]:
    """What the table `steps` holds of the steps of `rows`."""
    wanted = {(row["question_id"], int(row["step_index"])) for row in rows.to_dict("records")}
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for batch in read_batches(steps, "steps", [*STEP, "problem", "history", "draft_step", "target_steps"]):
        keys = zip(*(batch.column(name).to_pylist() for name in STEP), strict=True)
        found |= {key: batch.slice(at, 1).to_pylist()[0] for at, key in enumerate(keys) if key in wanted}
    return found


def _held_out(row: dict[str, Any], texts: Mapping[tuple[str, int], dict[str, Any]]) -> Mistake:
    step = texts[row["question_id"], int(row["step_index"])]
    return Mistake(
        kind=row["mistake"],
        question_id=row["question_id"],
        number=int(row["step_index"]) + 1,
        family=row["family"],
        problem=step["problem"],
        history=[(each["model"], each["text"]) for each in step["history"]],
        draft=step["draft_step"],
        target=step["target_steps"][0],
        draft_score=row["draft_score"],
        target_score=row["target_score"],
        router_score=row["router_score"],
    )


def benchmark_mistakes(panel: Mapping[str, Any], name: str, run: str) -> list[Mistake]:
    """The EXAMPLES largest of each kind that `run` makes at τ = 0.5, each of another question.

    panel: of the explorer's data, under `name`.
    """
    every = [
        mistake
        for question in panel["questions"]
        for mistake in _along_the_way(question, panel["runs"].index(run), name, run)
    ]
    every.sort(key=lambda each: (-abs(each.advantage), each.question_id, each.number))
    shown: list[Mistake] = []
    for kind in KINDS:
        own = [each for each in every if each.kind == kind]
        first = {each.question_id: each for each in reversed(own)}
        shown += [each for each in own if first[each.question_id] is each][:EXAMPLES]
    return shown


def _holds(low: float | None, high: float | None) -> bool:
    """Whether an interval of thresholds, open where a bound is None, holds τ = 0.5."""
    return (low is None or low <= ESCALATE_ABOVE) and (high is None or high > ESCALATE_ABOVE)


def _along_the_way(question: Mapping[str, Any], run: int, panel: str, name: str) -> Iterator[Mistake]:
    path = next((way[3] for way in question["ways"] if way[0] == run and _holds(way[1], way[2])), "")
    texts, nodes = question["texts"], [question["nodes"][path[:index]] for index in range(len(path))]
    written = [texts[node[0 if author == "d" else 1]] for node, author in zip(nodes, path, strict=True)]
    authors = ["draft" if author == "d" else "target" for author in path]
    state = {"panel": panel, "run": name, "tau": ESCALATE_ABOVE, "question": question["id"]}
    for index, (draft, target, sd, st, scores) in enumerate(nodes):
        if target is None or sd is None or st is None:
            continue  # nobody asked the target here
        if (path[index] == "d") != (st > sd):
            continue
        yield Mistake(
            kind=KINDS[0] if path[index] == "d" else KINDS[1],
            question_id=question["id"],
            number=index + 1,
            family=question["source"],
            problem=question["problem"],
            history=list(zip(authors[:index], written[:index], strict=True)),
            draft=texts[draft],
            target=texts[target],
            draft_score=sd,
            target_score=st,
            router_score=scores[run],
            link="#" + urlencode(state),
        )
