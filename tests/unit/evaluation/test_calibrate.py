"""A threshold for what a user wants, and what it reaches on questions that did not choose it."""

import json
from pathlib import Path

import pytest

from arbitrage.config.pipeline import Curves
from arbitrage.evaluation.calibrate import CalibrationError, Target, calibrate
from arbitrage.io.tables import TableError
from tests.conftest import World

SETTINGS = Curves(resamples=200, points=200)


def _tables(world: World) -> tuple[Path, Path]:
    return world.tables["trajectories"][0], world.tables["latency"][0]  # small, lab500


def test_an_acceptance_is_met_nearly_on_other_questions(world: World) -> None:
    swept, timed = _tables(world)
    result = calibrate(swept, timed, "router", Target("acceptance", 0.8), SETTINGS, 0)
    assert (result.chosen_on, result.measured_on) == (20, 20)
    value, low, high = result.reached["acceptance"]
    assert low < 0.8 < high
    assert abs(value - 0.8) < 0.15
    tokens = result.reached["target_tokens"]
    assert 0 < tokens[1] < tokens[0] < tokens[2] < 0.5
    assert result.reached["speedup"][0] > 1
    text = json.dumps(result.as_json())
    assert json.loads(text)["reached"]["acceptance"]["low"] == pytest.approx(low, abs=1e-6)


def test_an_accuracy_is_kept_at_the_highest_acceptance_that_does(world: World) -> None:
    swept, timed = _tables(world)
    easy, hard = (
        calibrate(swept, timed, "oracle", Target("accuracy", share, relative=True), SETTINGS, 0) for share in (0.5, 0.9)
    )
    assert easy.reached["acceptance"][0] > hard.reached["acceptance"][0]
    assert easy.reached["accuracy"][0] <= hard.reached["accuracy"][0]


def test_a_speed_is_reached_at_the_best_accuracy_that_is_as_fast(world: World) -> None:
    swept, timed = _tables(world)
    result = calibrate(swept, timed, "router", Target("latency", 1.5, relative=True), SETTINGS, 0)
    assert result.reached["speedup"][0] == pytest.approx(1.5, rel=0.35)


@pytest.mark.parametrize(
    ("policy", "target", "said"),
    [
        (
            "oracle",
            Target("acceptance", 0.3),
            r"no threshold of oracle reaches acceptance 0.3 .*: no operating point within 5 points of acceptance; they "
            r"span 0\.7\d to 1\.00, the nearest accepts 0\.7\d: ask for one of these",
        ),
        ("router", Target("accuracy", 1.0), r"no threshold of router reaches accuracy 1 .*: the most accurate has \d"),
        (
            "router",
            Target("latency", 50.0, relative=True),
            r"no threshold of router reaches latency 50x .*: the fastest is \d",
        ),
    ],
)
def test_what_cannot_be_reached_is_refused_with_what_can(world: World, policy: str, target: Target, said: str) -> None:
    with pytest.raises(CalibrationError, match=said):
        calibrate(*_tables(world), policy, target, SETTINGS, 0)


def test_a_pair_that_is_not_timed_has_no_speed_to_choose_by(world: World, tmp_path: Path) -> None:
    target = Target("latency", 1.5, relative=True)
    with pytest.raises(CalibrationError, match="is not timed"):
        calibrate(_tables(world)[0], tmp_path / "none.parquet", "router", target, SETTINGS, 0)


def test_a_policy_that_was_not_swept_is_refused(world: World) -> None:
    with pytest.raises(TableError, match="has no nobody, only"):
        calibrate(*_tables(world), "nobody", Target("acceptance", 0.5), SETTINGS, 0)
