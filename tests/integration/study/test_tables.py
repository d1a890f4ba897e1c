"""The tables of a finished study agree with themselves and with each other."""

import json
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pytest

from arbitrage.config.load import load_study
from arbitrage.config.pipeline import Sweep
from arbitrage.config.study import Study
from arbitrage.io.csv_tables import read_csv
from arbitrage.io.tables import SCHEMAS, read_arrow
from arbitrage.runtime.outputs import results
from arbitrage.runtime.paths import StudyPaths
from tests.integration.study.conftest import ROOT, SmokeStudy
from tests.support.table_properties import STEP_KEY, assert_same_steps, assert_steps, assert_trajectories

pytestmark = [pytest.mark.study, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study([ROOT / "studies/smoke.yaml"])


def ids(table: pa.Table) -> set[str]:
    return set(table.column("question_id").to_pylist())


def test_every_table_holds_its_study_pair_benchmark_and_variant_alone(smoke: SmokeStudy, study: Study) -> None:
    for result in results(study):
        kind, *names = result.path.removesuffix(".parquet").split("/")
        if result.table is None:
            continue
        expected = {"study": study.study} | ({} if kind == "questions" else {"pair": names[0]})
        expected |= {"benchmark": names[1]} if kind == "trajectories" else {}
        expected |= {"variant": names[1]} if kind == "router" else {}
        table = read_arrow(smoke.folder / result.path, result.table)
        for column, value in expected.items():
            assert table.column(column).unique().to_pylist() == [value], (result.path, column)


def test_questions_are_drawn_once_and_none_for_labelling_is_in_a_benchmark(smoke: SmokeStudy, study: Study) -> None:
    tables = {
        name: read_arrow(smoke.folder / f"questions/{name}.parquet", "questions")
        for name in ("labelling", *study.benchmarks)
    }
    for name, table in tables.items():
        assert len(ids(table)) == len(table)
        assert len(table) == (study.questions.sample if name == "labelling" else study.benchmarks[name].limit)
    for benchmark in study.benchmarks:
        assert not ids(tables["labelling"]) & ids(tables[benchmark])


def test_labelled_steps_follow_from_their_scores_for_every_question(smoke: SmokeStudy, study: Study) -> None:
    asked = ids(read_arrow(smoke.folder / "questions/labelling.parquet", "questions"))
    for pair in study.pairs:
        table = read_arrow(smoke.folder / f"steps/{pair}.parquet", "steps")
        assert ids(table) == asked
        assert_steps(table, study.steps.target_samples)


def test_trajectories_cover_every_threshold_and_were_decided_by_their_scores(smoke: SmokeStudy, study: Study) -> None:
    for pair in study.pairs:
        for benchmark in study.benchmarks:
            table = read_arrow(smoke.folder / f"trajectories/{pair}/{benchmark}.parquet", "trajectories")
            assert ids(table) == ids(read_arrow(smoke.folder / f"questions/{benchmark}.parquet", "questions"))
            assert_trajectories(table, study.sweep)


def test_a_merged_table_is_its_shards_one_slice_of_the_questions_each(smoke: SmokeStudy, study: Study) -> None:
    paths = StudyPaths(smoke.folder)
    merged = [
        (
            "steps",
            paths.labelling_questions,
            paths.steps(pair),
            [paths.label(pair, n) for n in range(study.steps_shards)],
        )
        for pair in study.pairs
    ]
    for pair in study.pairs:
        for name in study.benchmarks:
            shards = [paths.sweep(pair, name, n) for n in range(study.sweep_shards(name))]
            merged.append(("trajectories", paths.questions(name), paths.trajectories(pair, name), shards))
    for kind, questions, path, shards in merged:
        asked = sorted(ids(read_arrow(questions, "questions")))
        parts = [read_arrow(shard, kind) for shard in shards]
        for number, part in enumerate(parts):
            assert ids(part) == set(asked[number :: len(parts)])
        whole = read_arrow(path, kind)
        assert sum(len(part) for part in parts) == len(whole)
        for part in parts:
            mine = whole.filter(pa.compute.is_in(whole.column("question_id"), part.column("question_id").unique()))
            assert mine.combine_chunks().equals(part.combine_chunks())


def test_a_router_is_held_out_from_the_steps_it_did_not_train_on(smoke: SmokeStudy, study: Study) -> None:
    for pair in study.pairs:
        steps = read_arrow(smoke.folder / f"steps/{pair}.parquet", "steps")
        for variant in study.variants_of(pair):
            folder = smoke.folder / "router" / pair / variant
            train, validation = (
                read_arrow(folder / f"dataset/{name}.parquet", "examples") for name in ("train", "validation")
            )
            trainings = read_arrow(folder / "heldout.parquet", "heldout")
            assert not ids(train) & ids(validation)
            assert set(trainings.column("router_seed").to_pylist()) == set(range(study.router.seeds))
            heldout = trainings.filter(pa.compute.equal(trainings.column("router_seed"), 1))
            assert heldout.select(STEP_KEY).equals(validation.select(STEP_KEY))
            assert heldout.column("label").to_pylist() == [a > 0 for a in heldout.column("advantage").to_pylist()]
            for part in (train, validation, heldout):
                assert_same_steps(part, steps)


def test_each_timed_question_is_of_its_benchmark_and_timed_once_a_policy(smoke: SmokeStudy, study: Study) -> None:
    for pair in (name for name in study.pairs if study.pairs[name].latency):
        rows = read_arrow(smoke.folder / f"latency/{pair}.parquet", "latency").to_pandas()
        setting = ["policy", "threshold", "uninterrupted", "speculative_tokens"]
        assert not rows.duplicated(["benchmark", "question_id", *setting]).any()
        assert set(rows["speculative_tokens"]) == {0, *study.latency.speculative_tokens}
        record = json.loads((smoke.folder / f"latency/{pair}.parquet.provenance.json").read_text())
        assert record["speculative_texts_equal"] >= 0.95  # but for tokens as likely as each other, up to rounding
        assert (rows["escalations"] <= rows["steps"]).all()
        assert set(rows["benchmark"]) == set(study.benchmarks)
        for benchmark, timed in rows.groupby("benchmark"):
            asked = ids(read_arrow(smoke.folder / f"questions/{benchmark}.parquet", "questions"))
            assert set(timed["question_id"]) <= asked
            assert timed["question_id"].nunique() == min(study.latency.questions, len(asked))


def test_every_curve_has_every_pair_and_benchmark(smoke: SmokeStudy, study: Study) -> None:
    for result in (each.path for each in results(study) if each.path.startswith("curves/")):
        rows = read_csv(smoke.folder / result)
        timed = result in ("curves/accuracy_latency.csv", "curves/speedup.csv")
        pairs = {name for name, pair in study.pairs.items() if pair.latency or not timed}
        for column, expected in (("pair", pairs), ("benchmark", set(study.benchmarks))):
            assert column not in rows or set(rows[column]) - {"all"} == expected, (result, column)


def rewritten(table: pa.Table, name: str, **columns: Any) -> pa.Table:
    """`table` with the first value of columns replaced."""
    rows = table.to_pandas()
    for column, value in columns.items():
        rows[column] = pd.Series([value, *rows[column][1:]], index=rows.index)
    return pa.Table.from_pandas(rows, schema=SCHEMAS[name], preserve_index=False)


@pytest.mark.parametrize(
    "wrong",
    [{"advantage": 0.9}, {"draft_score": 1.5}, {"step_index": 4}, {"label": 2}],
    ids=lambda each: next(iter(each)),
)
def test_the_properties_of_steps_notice_a_single_wrong_value(
    smoke: SmokeStudy, study: Study, wrong: dict[str, Any]
) -> None:
    table = read_arrow(smoke.folder / "steps/small.parquet", "steps")
    with pytest.raises(AssertionError):
        assert_steps(rewritten(table, "steps", **wrong), study.steps.target_samples)


def test_the_properties_of_trajectories_notice_a_gap_and_a_wrong_author(smoke: SmokeStudy, study: Study) -> None:
    table = read_arrow(smoke.folder / "trajectories/small/lab500.parquet", "trajectories")
    policy = table.column("policy").to_pylist()
    first = policy.index("oracle")
    with pytest.raises(AssertionError):
        assert_trajectories(pa.concat_tables([table[:first], table[first + 1 :]]), study.sweep)
    rows = table.to_pandas()
    first = rows.index[rows["policy"] == "router"][0]
    rows.at[first, "steps"] = [step | {"policy_score": 2.0, "model": "draft"} for step in rows.at[first, "steps"]]
    with pytest.raises(AssertionError, match="router"):
        assert_trajectories(pa.Table.from_pandas(rows, schema=table.schema, preserve_index=False), study.sweep)


def test_listed_thresholds_need_one_trajectory_each(smoke: SmokeStudy, study: Study) -> None:
    table = read_arrow(smoke.folder / "trajectories/small/lab500.parquet", "trajectories")
    rows = table.to_pandas()
    bare = ~rows["policy"].isin(["draft_only", "target_only"])
    met = [(rows["threshold_low"] <= value) & (rows["threshold_high"] > value) for value in (0.25, 0.5)]
    listed = table.filter(pa.array(~bare | met[0] | met[1]))
    assert_trajectories(listed, study.sweep.model_copy(update={"thresholds": [0.25, 0.5]}))
    with pytest.raises(AssertionError):
        assert_trajectories(
            table.filter(pa.array(~bare | met[0])), Sweep(policies=study.sweep.policies, thresholds=[-9.0])
        )
