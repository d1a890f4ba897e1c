"""What a pass takes on a GPU, against the measurements that are cited; and which machines are known."""

from __future__ import annotations

import pytest

from arbitrage.planning.estimates import Cost
from arbitrage.planning.machines import Loaded, Machine, RatesError


def eight(gpu: str) -> Loaded:
    return Loaded(Machine.named(f"1x{gpu}"), 2 * 8_030_261_248, 131_072, 8_030_261_248, "vllm")


@pytest.mark.parametrize(("gpu", "measured_s"), [("H100", 0.00648), ("A100-40GB", 1 / 75)])
def test_a_token_by_itself_takes_what_was_measured(gpu: str, measured_s: float) -> None:
    assert eight(gpu).token_s(1, 512) == pytest.approx(measured_s, rel=0.05)


def test_more_rows_share_the_reading_of_weights_until_computing_takes_longer() -> None:
    model = eight("H100")
    weights_s = 2 * 8_030_261_248 / (3.35e12 * 0.75)
    assert model.token_s(64, 0) == pytest.approx(weights_s / 64)
    assert model.token_s(64, 1000) - model.token_s(64, 0) == pytest.approx(1000 * 131_072 / (3.35e12 * 0.75))
    assert model.token_s(1024, 0) == pytest.approx(2 * 8_030_261_248 / (989.5e12 * 0.4))
    assert Loaded(model.machine, 1e6, 0, 1e6, "transformers").pass_s(1) == 0.02  # a small model: launching kernels


def test_jobs_go_side_by_side_as_far_as_there_are_gpus() -> None:
    machine = Machine.named("4xH100")
    assert machine.wall_s(Cost("a", 5, low_s=50.0, high_s=100.0, gpus=1)) == (20.0, 40.0)
    assert machine.wall_s(Cost("a", 5, low_s=50.0, high_s=100.0, gpus=3)) == (50.0, 100.0)


@pytest.mark.parametrize("words", ["4xB200", "H100", "0xH100", "4 x H100", ""])
def test_a_machine_that_is_not_known_is_answered_by_those_that_are(words: str) -> None:
    with pytest.raises(RatesError, match=r"such as 4xH100; known are H100, H200, A100-80GB, .* RTX-4090"):
        Machine.named(words)
    assert Machine.named("2xrtx-4090").name == "RTX-4090"
