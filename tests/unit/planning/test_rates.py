"""Estimates by published rates, by hand for the paper's sizes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arbitrage.config.load import read_study
from arbitrage.config.study import Study
from arbitrage.planning.estimates import Cost
from arbitrage.planning.machines import Loaded, Machine, RatesError, rates
from arbitrage.planning.rates import Estimate, known_shapes
from arbitrage.runtime.memory import shape_in
from tests.support.paper_shapes import write

ROOT = Path(__file__).resolve().parents[3]
EIGHT = "meta-llama/Llama-3.1-8B-Instruct"


def study(name: str = "llama3-1b-8b", **changes: Any) -> Study:
    return read_study([ROOT / f"studies/{name}.yaml"], changes)


def costs(on: str, name: str = "llama3-1b-8b", **changes: Any) -> dict[str, Cost]:
    """By stage."""
    one = study(name, **changes)
    (pair,) = one.pairs
    return {cost.stage.removesuffix(f" {pair}"): cost for cost in Estimate(one, pair, Machine.named(on)).costs()}


@pytest.mark.parametrize("name", rates()["models"])
def test_shapes_are_those_of_the_checkpoints_configuration(name: str, tmp_path: Path) -> None:
    one = study(models={"target": {"path": name}})
    directory = write(tmp_path, name)
    weights = (directory / "model.safetensors").stat().st_size
    assert known_shapes(one, "1b-8b")["models.target"] == shape_in(directory, weights)


def test_a_policys_paths_part_once_at_every_depth_where_scores_are_spread_evenly() -> None:
    estimate = Estimate(study(), "1b-8b", Machine.named("4xH100"))
    estimate.lengths = ((11, 1.0),)
    random = np.random.default_rng(0)

    def visited(low: float, high: float, depth: int) -> int:
        score = random.random()
        parts = [(low, min(score, high)), (max(score, low), high)]
        return 1 + (sum(visited(*part, depth - 1) for part in parts if part[0] < part[1]) if depth > 1 else 0)

    simulated = np.mean([visited(0.0, 1.0, 11) for _ in range(2000)])
    assert estimate.nodes(1, math.inf) == 66 == pytest.approx(simulated, rel=0.03)
    assert estimate.nodes(1, 2) == 1 + 2 * 10
    assert estimate.nodes(3, math.inf) == 1 + 2 + 4 + 8 + 3 * sum(range(5, 12))


def test_labelling_writes_every_step_twice_and_starts_with_every_job() -> None:
    sixty = costs("4xH100", steps={"questions_per_job": 500})["label"]
    estimate = Estimate(study(), "1b-8b", Machine.named("4xH100"))
    assert (sixty.jobs, sixty.gpus) == (60, 1)
    assert sixty.units["draft"] == sixty.units["target"] == pytest.approx(30_000 * estimate.steps * estimate.step)
    assert sixty.units["prm"] == pytest.approx(30_000 * 2 * estimate.steps) and "router" not in sixty.units
    fifteen = costs("4xH100", steps={"questions_per_job": 2000})["label"]
    start_s = 30 + 2 * 60 + 2 * (1_235_814_400 + 8_030_261_248 + 1_543_714_304) / 2e9
    assert sixty.low_s - fifteen.low_s == pytest.approx(45 * start_s)
    eight = Loaded(estimate.machine, 2 * 8_030_261_248, 131_072, 8_030_261_248, "vllm")
    assert sixty.high_s > sixty.low_s + 60 * 4096 * eight.token_s(1, 0)  # a last question, and contexts anew


def test_looking_ahead_the_target_goes_on_from_every_step_and_all_models_are_started() -> None:
    ahead = {"variants": {"ahead": {"kind": "scalars", "labels": "lookahead"}}}
    found, estimate = costs("4xH100", router=ahead), Estimate(study(), "1b-8b", Machine.named("4xH100"))
    cost = found["lookahead"]
    assert list(found)[:3] == ["label", "lookahead", "router"] and "lookahead" not in costs("4xH100")
    # of 11 steps, and of the few as long as the study allows: sums of all that can follow
    longest = math.ceil(4096 / estimate.step)
    steps = 0.985 * 11 * 10 / 2 + 0.015 * longest * (longest - 1) / 2
    assert cost.units == {"target": pytest.approx(30_000 * steps * estimate.step)}
    assert (cost.jobs, cost.gpus) == (12, 1)
    start_s = 30 + 2 * 60 + 2 * (1_235_814_400 + 8_030_261_248 + 1_543_714_304) / 2e9
    assert cost.start_s == found["label"].start_s == pytest.approx(start_s)
    target = Loaded(estimate.machine, 2 * 8_030_261_248, 131_072, 8_030_261_248, "vllm")
    read = 30_000 * (150 + 2 * estimate.steps * estimate.step) * target.pass_s(2048) / 2048
    written = cost.units["target"] * target.token_s(64, estimate.context)
    assert cost.low_s == pytest.approx(12 * start_s + written + read)
    assert cost.high_s == pytest.approx(cost.low_s + 12 * 4096 * target.token_s(1, 2048))


def test_for_its_states_the_draft_alone_reads_every_labelled_step() -> None:
    probe = {"router": {"variants": {"probe": {"kind": "probe"}}}, "models": {"draft": {"engine": "transformers"}}}
    found, estimate = costs("4xH100", **probe), Estimate(study(), "1b-8b", Machine.named("4xH100"))
    cost = found["states"]
    assert list(found)[:3] == ["label", "states", "router"] and "states" not in costs("4xH100")
    assert (cost.jobs, cost.gpus, cost.units) == (12, 1, {})
    assert cost.start_s == pytest.approx(30 + 2 * 1_235_814_400 / 2e9)
    draft = Loaded(estimate.machine, 2 * 1_235_814_400, 0, 1_235_814_400, "transformers")
    low_s, high_s = (
        30_000 * estimate.steps * draft.pass_s(64 * tokens) / 64 for tokens in (estimate.step, estimate.context)
    )
    assert cost.low_s == pytest.approx(12 * cost.start_s + low_s) and low_s < high_s
    assert cost.high_s == pytest.approx(12 * cost.start_s + high_s)


def test_every_engine_of_vllm_is_started_those_too_that_check_tokens() -> None:
    eight_four = costs("4xH100", latency={"speculative_tokens": [8, 4]})["latency"].start_s
    eight = costs("4xH100", latency={"speculative_tokens": [8]})["latency"].start_s
    assert eight_four - eight == pytest.approx(60 + 2 * (1_235_814_400 + 8_030_261_248) / 2e9)


def test_faster_gpus_and_larger_batches_are_sooner_done_and_more_trainings_later() -> None:
    base, swift = costs("4xH100"), costs("4xH200")
    assert all(swift[stage].low_s <= base[stage].low_s for stage in base)
    larger = {"batch_size": 256}
    assert costs("4xH100", models={"target": larger, "draft": larger})["label"].low_s < base["label"].low_s
    one = costs("4xH100", router={"seeds": 1})
    assert (base["router"].jobs, one["router"].jobs) == (18, 6)
    assert one["sweep math500"].units["router"] == pytest.approx(base["sweep math500"].units["router"] / 3)
    assert one["latency"].low_s == one["latency"].high_s == base["latency"].low_s


def test_a_training_is_two_operations_forward_four_back_and_two_to_recompute() -> None:
    estimate = Estimate(study(), "1b-8b", Machine.named("4xH100"))
    tokens = 18 * 30_000 * 0.8 * estimate.tokens
    operations = tokens * 1_543_714_304 * (3 * 8 + 2)  # three epochs; the head first
    assert costs("4xH100")["router"].low_s == pytest.approx(operations / (989.5e12 * 0.2) + 18 * 30)


def test_a_router_that_reads_numbers_takes_the_time_of_its_jobs_to_start() -> None:
    numbers = costs("4xH100", router={"variants": {"default": {"kind": "scalars"}}})
    for stage in ("router", "heldout"):
        assert numbers[stage].high_s == numbers[stage].jobs * rates()["assumed"]["job_start_s"]


def test_a_router_too_large_for_one_gpu_is_trained_on_several() -> None:
    seven = {"router": {"init": "Qwen/Qwen2.5-Math-7B-Instruct"}}
    assert costs("4xH100", resources={"router": {"gpus": 4}}, **seven)["router"].gpus == 4
    with pytest.raises(RatesError, match=r"router 1b-8b on H100: .*raise resources\.router\.gpus"):
        costs("4xH100", **seven)


def test_a_target_that_is_cut_over_four_reads_a_quarter_of_its_weights() -> None:
    label = costs("4xH100", "llama3-8b-70b", steps={"questions_per_job": 250})["label"]
    assert (label.gpus, label.jobs) == (4, 120)
    start_s = 30 + 2 * 60 + 2 * (8_030_261_248 + 70_553_706_496 + 1_543_714_304) / 2e9
    quarter_s = label.units["target"] * 2 * 70_553_706_496 / 4 / (3.35e12 * 0.75) / 64
    assert 0.3 < quarter_s / (label.low_s - 120 * start_s) < 0.6  # the draft, the PRM, and keys and values besides


def test_what_does_not_fit_or_is_not_known_is_refused_with_the_remedy() -> None:
    with pytest.raises(RatesError, match=r"label 8b-70b on A100-40GB: GPU 0 has 37\.3 GiB"):
        costs("4xA100-40GB", "llama3-8b-70b")
    with pytest.raises(RatesError, match=r"latency 1b-8b: a job takes 4 GPUs, .* expected 1 to 2"):
        costs("2xH100")
    with pytest.raises(RatesError, match="router 1b-8b on RTX-4090: GPU 0"):
        costs("4xRTX-4090", placement={"label": "apart"})
    with pytest.raises(RatesError, match=r"models.draft: how large some/other is cannot be told; fetch it"):
        costs("4xH100", models={"draft": {"path": "some/other"}})
    with pytest.raises(RatesError, match="prm is on no GPU of the job"):
        costs("4xH100", prm={"device": "cpu"})
