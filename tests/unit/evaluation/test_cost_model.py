"""The cost model: it finds the seconds the simulated clock was made of, and says how wrong it is."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arbitrage.evaluation.cost_model import fit_cost_model, read_cost_model, resampled_model
from arbitrage.evaluation.decoder_work import FEATURES, features, swept_work
from arbitrage.evaluation.trajectory_counts import trajectory_counts
from arbitrage.io.tables import read_frame, write_table
from tests.conftest import World
from tests.support import synthetic


@pytest.fixture(scope="module")
def timed(world: World) -> pd.DataFrame:
    return read_frame(world.tables["latency"][0], "latency")


@pytest.fixture(scope="module")
def counts(world: World) -> pd.DataFrame:
    swept = trajectory_counts(world.tables["trajectories"])
    return swept[(swept["pair"] == "small") & (swept["router_seed"] <= 0)]


def test_without_noise_the_seconds_of_the_clock_are_found(counts: pd.DataFrame) -> None:
    rows = [row for name in synthetic.BENCHMARKS for row in synthetic.latency("small", name, 8, noise=0.0)]
    model = fit_cost_model(pd.DataFrame(rows).astype({"threshold": float}), counts, 0.25, 0)
    assert model.seconds["target_tokens"] == pytest.approx(synthetic.SECONDS["target"], rel=1e-3)
    assert model.seconds["draft_tokens"] == pytest.approx(synthetic.SECONDS["draft"], rel=1e-2)
    assert model.seconds["catch_up_tokens"] == pytest.approx(synthetic.SECONDS["catch_up"], rel=1e-2)
    for policy in ("rsd", "router"):
        assert model.seconds[f"{policy}_score_calls"] == pytest.approx(synthetic.SECONDS[policy], rel=1e-2)
    assert model.seconds["solution"] == pytest.approx(synthetic.SECONDS["fixed"], rel=1e-2)
    assert model.heldout_mean_error < 1e-3


def test_a_target_that_reads_the_drafts_steps_is_charged_one_pass_a_step_and_no_catching_up(tmp_path: Path) -> None:
    policies = ("rsd", "router", "target_likelihood")
    alone = ("draft_only", "target_only")
    timed, swept = [], []
    for name in synthetic.BENCHMARKS:
        timed += synthetic.latency("small", name, 8, 0.0, policies)
        rows = synthetic.trajectories("small", name, 8, (*alone, *policies))
        swept.append(tmp_path / f"{name}.parquet")
        write_table(swept[-1], "trajectories", rows)
    latency, counts = pd.DataFrame(timed).astype({"threshold": float}), trajectory_counts(swept)
    model = fit_cost_model(latency, counts, 0.25, 0)
    assert model.same_solution == 1 and model.heldout_mean_error < 1e-3
    assert model.seconds["target_likelihood_score_calls"] == pytest.approx(0.004, rel=1e-2)
    assert model.seconds["warm_calls"] == pytest.approx(0.0005, rel=1e-2)
    assert model.seconds["catch_up_tokens"] == pytest.approx(synthetic.SECONDS["catch_up"], rel=1e-2)
    both = swept_work(counts).merge(latency[~latency["uninterrupted"]], on=["benchmark", "question_id", "policy"])
    both = both[(both["threshold_low"] <= both["threshold"]) & (both["threshold"] < both["threshold_high"])]
    assert set(both["policy"]) == set(policies)
    for column in ("catch_up_tokens", "score_calls", "score_tokens"):
        assert (both[f"{column}_x"] == both[f"{column}_y"]).all(), column


def test_a_router_that_reads_scalars_costs_a_call_a_step_and_what_its_model_reads() -> None:
    policies = ["rsd", "scalars", "scalars_prm", "scalars_target", "probe", "confidence"]
    counts = pd.DataFrame({"policy": policies}).assign(
        prompt_tokens=10.0,
        escalations=2.0,
        catch_up_tokens=30.0,
        steps=5.0,
        judged_tokens=70.0,
        draft_tokens=50.0,
        escalations_before_end=1.0,
        target_tokens=20.0,
    )
    work = swept_work(counts).set_index("policy")
    assert work["score_calls"].to_dict() == {
        **dict.fromkeys(("rsd", "scalars", "scalars_prm", "scalars_target", "probe"), 5.0),
        "confidence": 0.0,
    }
    assert work["score_tokens"].tolist() == [80.0, 0.0, 80.0, 61.0, 5.0, 0.0]  # a probe: each step's last token
    assert work["catch_up_tokens"].tolist() == [41.0, 41.0, 41.0, 0.0, 41.0, 41.0]
    columns = [FEATURES.index(f"{policy}_score_calls") for policy in ("scalars", "scalars_prm")]
    found = features(work.reset_index())
    assert found[:, columns].tolist() == [[0, 0], [5, 0], [0, 5], [0, 0], [0, 0], [0, 0]]
    draft = found[:, FEATURES.index("draft_tokens")]  # after the 3 accepted steps a probed draft has read that token
    assert draft.tolist() == [50.0, 50.0, 50.0, 50.0, 47.0, 50.0]


def test_the_error_on_held_out_questions_is_that_of_the_noise(world: World) -> None:
    model = read_cost_model(world.cost)
    assert model.fitted_questions == 20
    assert model.heldout_questions == 5
    assert 0.002 < model.heldout_median_error < 0.03
    assert max(abs(setting["error"]) for setting in model.setting_errors) < 0.05
    assert len(model.setting_errors) == 24
    assert model.same_solution == 1


def test_no_part_of_a_solution_takes_negative_time(world: World) -> None:
    seconds = read_cost_model(world.cost).seconds
    assert list(seconds) == FEATURES
    assert min(seconds.values()) >= 0


def test_what_a_swept_trajectory_makes_the_decoder_read_is_what_the_decoder_counted(
    timed: pd.DataFrame, counts: pd.DataFrame
) -> None:
    swept = swept_work(counts)
    for row in timed[~timed["uninterrupted"]].sample(60, random_state=0).itertuples():
        at = 0.0 if np.isnan(row.threshold) else row.threshold
        (found,) = swept[
            (swept["benchmark"] == row.benchmark)
            & (swept["question_id"] == row.question_id)
            & (swept["policy"] == row.policy)
            & (swept["threshold_low"] <= at)
            & (at < swept["threshold_high"])
        ].itertuples()
        for name in ("draft_tokens", "target_tokens", "catch_up_tokens", "score_calls", "score_tokens"):
            assert getattr(found, name) == getattr(row, name), (name, row.policy)


def test_a_solution_that_is_not_the_sweeps_is_counted_as_measured(timed: pd.DataFrame, counts: pd.DataFrame) -> None:
    changed = timed.copy()
    changed.loc[changed["policy"] == "rsd", "target_tokens"] += 1
    model = fit_cost_model(changed, counts, 0.25, 0)
    assert model.same_solution == pytest.approx(1 - (timed["policy"] == "rsd").sum() / (~timed["uninterrupted"]).sum())
    assert model.heldout_median_error < 0.05


def test_the_split_is_by_question_and_by_seed(timed: pd.DataFrame, counts: pd.DataFrame) -> None:
    models = [fit_cost_model(timed, counts, 0.25, seed) for seed in (1, 1, 2)]
    assert models[0].heldout_mean_error == models[1].heldout_mean_error
    assert models[0].heldout_mean_error != models[2].heldout_mean_error
    assert models[0].seconds == models[2].seconds  # what is used is fitted to all


def test_a_single_timed_question_has_a_model_of_unknown_error(timed: pd.DataFrame, counts: pd.DataFrame) -> None:
    one = timed[(timed["question_id"] == timed["question_id"].iloc[0])]
    model = fit_cost_model(one, counts, 0.25, 0)
    assert model.heldout_questions == 0
    assert np.isnan(model.heldout_mean_error)
    resampled = resampled_model(one, counts, 20, 0)
    assert np.isfinite(resampled.seconds[0]).all()
    assert np.isnan(resampled.seconds[1:]).all()


def test_each_benchmark_has_a_factor_for_what_its_counts_do_not_tell(timed: pd.DataFrame, counts: pd.DataFrame) -> None:
    slow = timed.copy()
    there = slow["benchmark"] == "labolympiad"
    slow.loc[there, [name for name in slow if name.endswith("_s")]] *= 1.3
    model = fit_cost_model(slow, counts, 0.25, 0)
    assert model.factors["labolympiad"] / model.factors["lab500"] == pytest.approx(1.3, abs=0.1)
    assert max(abs(setting["error"]) for setting in model.setting_errors) < 0.08


def test_alone_is_one_generation(timed: pd.DataFrame, counts: pd.DataFrame) -> None:
    model = fit_cost_model(timed, counts, 0.25, 0)
    assert set(model.alone) == {f"{b}/{p}" for b in synthetic.BENCHMARKS for p in ("draft_only", "target_only")}
    assert list(model.alone.values()) == pytest.approx([0.9] * 4)


def test_the_models_own_error_is_in_its_resamples(counts: pd.DataFrame) -> None:
    """Known truth: a clock whose questions run at speeds of their own. Over many samples of timed questions,
    predictions scatter as much as the resamples of one sample say; the questions' own resamples know nothing of it."""
    rows = pd.DataFrame(synthetic.latency("small", "lab500", 40, noise=0.0)).astype({"threshold": float})
    generator = np.random.default_rng(1)
    parts = [name for name in rows if name.endswith("_s")]
    work = features(swept_work(counts[(counts["policy"] == "rsd") & (counts["benchmark"] == "lab500")])).mean(axis=0)
    predicted, told = [], []
    for _ in range(60):
        chosen = generator.choice(rows["question_id"].unique(), 10, replace=False)
        sample = rows[rows["question_id"].isin(chosen)].copy()
        speeds = dict(zip(chosen, generator.lognormal(0, 0.25, 10), strict=True))
        sample[parts] = sample[parts].mul(sample["question_id"].map(speeds), axis=0)
        model = resampled_model(sample, counts, 60, 0)
        seconds = model.predict(np.tile(work[None, :, None], (61, 1, 1)), "lab500", "rsd")[:, 0]
        predicted.append(seconds[0])
        told.append(seconds[1:].std())
    assert np.mean(told) == pytest.approx(np.std(predicted), rel=0.35)
