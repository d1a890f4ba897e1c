"""Schemas, row counts and keys across the tables of a study: what no single table shows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from arbitrage.config.study import Study
from arbitrage.io.csv_tables import read_csv
from arbitrage.io.tables import TableError, read_arrow
from arbitrage.publishing.check_steps import step_faults
from arbitrage.publishing.check_trajectories import trajectory_faults
from arbitrage.publishing.mismatches import Finding
from arbitrage.runtime.outputs import Result, shards

EXAMPLES = ("train.parquet", "validation.parquet")
STEP_KEY = ["question_id", "step_index"]
TIMED = ("curves/accuracy_latency.csv", "curves/speedup.csv")


def key_findings(folder: Path, study: Study, found: Sequence[Result]) -> list[Finding]:
    """Findings on the tables among `found`, which are there and as they were made."""
    check = _Check(folder, study, {result.path for result in found})
    findings: list[Finding] = []
    for result in found:
        findings += check.result(result)
    return findings


class _Check:
    def __init__(self, folder: Path, study: Study, sound: Collection[str]) -> None:
        self.folder, self.study, self.sound = folder, study, sound
        self._read = lru_cache(maxsize=2)(read_arrow)  # shard after shard is compared with the same two tables

    def result(self, result: Result) -> Iterator[Finding]:
        if result.table is None:
            faults: Iterable[str] = self._plain(result.path)
        else:
            try:
                table = self._read(self.folder / result.path, result.table)
            except TableError as error:
                yield Finding("broken", result.path, str(error).removeprefix(f"{self.folder / result.path}: "))
                return
            faults = self._table(result, table)
        for said in faults:
            yield Finding("inconsistent", result.path, said)

    def _table(self, result: Result, table: pa.Table) -> Iterator[str]:
        """Faults of a Parquet table, which lies at <kind>/<pair>/... or questions/<name>.parquet."""
        kind, *names = result.path.removesuffix(".parquet").split("/")
        expected = {"study": self.study.study} | ({} if kind == "questions" else {"pair": names[0]})
        expected |= {"benchmark": names[1]} if kind == "trajectories" else {}
        expected |= {"variant": names[1]} if kind == "router" else {}
        for column, value in expected.items():
            others = set(table.column(column).unique().to_pylist()) - {value}
            if others:
                yield f"column {column} holds {sorted(map(str, others))[0]!r}; expected {value!r} alone"
        if names[-1].startswith("shard-"):
            yield from self._shard(kind, f"{kind}/{'/'.join(names[:-1])}.parquet", int(names[-1][6:]), table)
        elif kind == "questions":
            yield from self._questions(names[0], table)
        elif kind == "steps":
            yield from self._same_questions(table, "questions/labelling.parquet")
            yield from step_faults(table, self.study.steps.target_samples)
        elif kind == "trajectories":
            yield from self._same_questions(table, f"questions/{names[1]}.parquet")
            yield from trajectory_faults(table, self.study.sweep)
        elif kind == "latency":
            yield from self._latency(table.to_pandas())
        else:
            yield from self._heldout(names[0], names[1], table)

    def _plain(self, path: str) -> Iterator[str]:
        """Faults of a router's data set and of CSV files; of what is neither, only the hash counts."""
        if path.endswith("/dataset"):
            yield from self._dataset(path)
        elif path.startswith(("curves/", "router/")) and path.endswith(".csv"):
            frame = read_csv(self.folder / path)
            pairs = {name for name, pair in self.study.pairs.items() if pair.latency or path not in TIMED}
            for column, expected in (("pair", pairs), ("benchmark", set(self.study.benchmarks))):
                if column in frame:
                    yield from _differing(set(frame[column]), expected, f"column {column}")

    def _questions(self, name: str, table: pa.Table) -> Iterator[str]:
        ids = table.column("question_id").to_pylist()
        if len(ids) != len(set(ids)):
            yield f"{len(ids) - len(set(ids))} question_ids occur twice"
        most = self.study.questions.sample if name == "labelling" else self.study.benchmarks[name].limit
        if most is not None and len(ids) > most:
            yield f"{len(ids)} rows; the study asks for {most}"
        for benchmark in self.study.benchmarks if name == "labelling" else ():
            both = set(ids) & self._ids(f"questions/{benchmark}.parquet", "questions")
            if both:
                yield f"{len(both)} questions are in the benchmark {benchmark} too, {min(both)} among them"

    def _shard(self, kind: str, merged: str, number: int, table: pa.Table) -> Iterator[str]:
        questions = "labelling" if kind == "steps" else Path(merged).stem
        ids = sorted(self._ids(f"questions/{questions}.parquet", "questions"))
        if ids:
            yield from _differing(
                set(table.column("question_id").to_pylist()),
                set(ids[number :: len(shards(self.study, merged))]),
                "question_id",
            )
        if (whole := self._other(merged, kind)) is not None:
            part = whole.filter(pc.is_in(whole.column("question_id"), table.column("question_id").unique()))
            if not part.combine_chunks().equals(table.combine_chunks()):
                yield f"its {len(table)} rows are not the {len(part)} that {merged} has of these questions"

    def _same_questions(self, table: pa.Table, questions: str) -> Iterator[str]:
        if expected := self._ids(questions, "questions"):
            yield from _differing(set(table.column("question_id").to_pylist()), expected, "question_id")

    def _latency(self, rows: pd.DataFrame) -> Iterator[str]:
        yield from _twice(rows, ["benchmark", "question_id", "policy", "threshold"])
        yield from _differing(set(rows["benchmark"]), set(self.study.benchmarks), "column benchmark")
        for benchmark, timed in rows.groupby("benchmark"):
            expected = self._ids(f"questions/{benchmark}.parquet", "questions")
            if expected and (unknown := set(timed["question_id"]) - expected):
                yield f"{len(unknown)} questions are not in {benchmark}, {min(unknown)} among them"
            count, asked = timed["question_id"].nunique(), self.study.latency.questions
            if expected and count != min(asked, len(expected)):
                yield f"{count} questions of {benchmark}; the study asks for {asked}"
        if (bad := rows["escalations"] > rows["steps"]).any():
            yield f"{bad.sum()} rows with more escalations than steps"

    def _heldout(self, pair: str, variant: str, table: pa.Table) -> Iterator[str]:
        rows = table.to_pandas()
        yield from _twice(rows, STEP_KEY)
        yield from self._as_labelled(pair, rows)
        if (bad := rows["label"] != (rows["advantage"] > 0)).any():
            yield f"{bad.sum()} of {len(rows)} labels disagree with their advantage"
        dataset = f"router/{pair}/{variant}/dataset"
        examples = self._other(dataset, "examples", EXAMPLES[1])
        if examples is not None and not rows[STEP_KEY].equals(examples.select(STEP_KEY).to_pandas()):
            yield f"its {len(rows)} steps are not the {len(examples)} that {dataset} holds out"

    def _dataset(self, path: str) -> Iterator[str]:
        try:
            train, validation = (
                read_arrow(self.folder / path / part, "examples").drop_columns(["input_ids"]).to_pandas()
                for part in EXAMPLES
            )
        except TableError as error:
            yield str(error)
            return
        if both := set(train["question_id"]) & set(validation["question_id"]):
            yield f"{len(both)} questions are trained on and held out, {min(both)} among them"
        for name, rows in zip(EXAMPLES, (train, validation), strict=True):
            for said in (*_twice(rows, STEP_KEY), *self._as_labelled(path.split("/")[1], rows)):
                yield f"{name}: {said}"

    def _as_labelled(self, pair: str, rows: pd.DataFrame) -> Iterator[str]:
        """Steps whose advantage or draft's score is not that of the pair's labelled steps."""
        source = f"steps/{pair}.parquet"
        columns = [*STEP_KEY, "advantage", "draft_score"]
        if (steps := self._other(source, "steps")) is not None:
            known = rows[columns].merge(steps.select(columns).to_pandas(), on=columns)
            if len(known) < len(rows):
                yield f"{len(rows) - len(known)} of {len(rows)} steps are not in {source}, or have other scores there"

    def _ids(self, path: str, table: str) -> set[str]:
        """The question_ids of a table; none where it cannot be relied on."""
        found = self._other(path, table)
        return set() if found is None else set(found.column("question_id").to_pylist())

    def _other(self, result: str, table: str, part: str = "") -> pa.Table | None:
        """The table that another result is, or has as a `part`; None where it cannot be relied on."""
        if result not in self.sound:
            return None
        try:
            return self._read(self.folder / result / part, table)
        except TableError:  # said where that result is looked at
            return None


def _twice(rows: pd.DataFrame, key: list[str]) -> Iterator[str]:
    if (repeated := rows.duplicated(key)).any():
        yield f"{repeated.sum()} rows repeat another's {', '.join(key)}"


def _differing(found: set[str], expected: set[str], what: str) -> Iterator[str]:
    for names, said in ((expected - found, "missing"), (found - expected, "not expected")):
        if names:
            yield f"{what}: {len(names)} of {len(expected)} {said}, {min(names)!r} among them"
