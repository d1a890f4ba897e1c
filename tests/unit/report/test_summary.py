"""The summary: its verdicts follow from intervals, and its numbers are those of the result tables."""

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from arbitrage.evaluation.cost_model import read_cost_model
from arbitrage.io.csv_tables import read_csv
from arbitrage.report.claims import claims
from arbitrage.report.latency import busy_lines
from arbitrage.report.summary import write_summary
from arbitrage.report.verdicts import AGREES, DIFFERS, INCONCLUSIVE, Verdict, verdicts
from tests.conftest import World


@pytest.fixture
def frames(world: World) -> dict[str, pd.DataFrame]:
    names = ("comparison", "speedup")
    found = {name: read_csv(world.folder / "curves" / f"{name}.csv") for name in names}
    return found | {"quality": read_csv(world.folder / "router" / "quality.csv")}


def _plenty(frame: pd.DataFrame) -> pd.DataFrame:
    """The table of a study with questions enough for a verdict."""
    return frame.assign(questions=1000)


def _verdicts(world: World, frames: dict[str, pd.DataFrame], beginning: str) -> list[Verdict]:
    found = verdicts(claims(world.study, **frames), 0.95)
    return [one for one in found if one.evidence.text.startswith(beginning)]


def test_turning_a_result_round_turns_its_verdict_round(world: World, frames: dict[str, pd.DataFrame]) -> None:
    for p_values, verdict in (((0.0005, 1.0), AGREES), ((1.0, 0.0005), DIFFERS)):
        comparison = _plenty(frames["comparison"])
        gain = (comparison["metric"] == "mean_gain") & (comparison["pair"] == "all")
        gain &= (comparison["policy"] == "router") & (comparison["against"] == "rsd")
        assert gain.sum() == 1
        comparison.loc[gain, ["p_inside", "p_outside"]] = p_values
        (one,) = _verdicts(world, frames | {"comparison": comparison}, "Fig. 4: the router is more accurate")
        assert one.verdict == verdict
        assert len(one.evidence.panels) == 4


def test_a_claim_about_two_variants_says_that_its_number_is_a_difference(
    world: World, frames: dict[str, pd.DataFrame]
) -> None:
    (follows,) = _verdicts(world, frames, "Tab. 1: the router's scores")
    (finer,) = _verdicts(world, frames, "Tab. 1: 2 classes rank better than 10")
    assert follows.evidence.ours.startswith("rho ") and finer.evidence.ours.startswith("difference of rho ")


def test_the_speed_claim_is_judged_by_the_average_not_by_the_largest(
    world: World, frames: dict[str, pd.DataFrame]
) -> None:
    speedup = _plenty(frames["speedup"])
    versus = (speedup["policy"] == "router") & (speedup["against"] == "rsd")
    speedup.loc[versus & (speedup["metric"] == "typical"), ["value", "p_inside", "p_outside"]] = [0.9, 1.0, 0.0005]
    speedup.loc[versus & (speedup["metric"] == "largest"), ["value", "low", "high"]] = [2.0, 1.9, 2.1]
    (one,) = _verdicts(world, frames | {"speedup": speedup}, "Fig. 5")
    assert one.verdict == DIFFERS
    assert "2.00" not in one.evidence.ours


def test_under_a_hundred_questions_no_verdict_is_given(world: World, frames: dict[str, pd.DataFrame]) -> None:
    for frame in ("comparison", "speedup"):
        frames[frame].loc[:, "p_inside"] = 1e-9
    found = verdicts(claims(world.study, **frames), 0.95)
    curves = [one for one in found if one.evidence.text.startswith("Fig.")]
    assert len(curves) == 6
    assert {one.verdict for one in curves} == {INCONCLUSIVE}
    assert all("80 questions are too few" in one.sentence or "no verdict" in one.sentence.lower() for one in curves)


def test_one_training_gives_no_verdict_on_a_router(world: World, frames: dict[str, pd.DataFrame]) -> None:
    comparison = _plenty(frames["comparison"]).assign(p_inside=1e-9)
    comparison.loc[comparison["trainings"] == 3, "trainings"] = 1
    (one,) = _verdicts(world, frames | {"comparison": comparison}, "Fig. 4: the router is more accurate")
    assert one.verdict == INCONCLUSIVE
    assert "raise router.seeds" in one.sentence
    (rsd,) = _verdicts(world, frames | {"comparison": comparison}, "Fig. 3")
    assert rsd.verdict == AGREES  # RSD is not trained


def test_a_busy_machine_and_a_wrong_cost_model_give_no_verdict_on_speed(
    world: World, frames: dict[str, pd.DataFrame]
) -> None:
    speedup = _plenty(frames["speedup"]).assign(p_inside=1e-9)
    model = read_cost_model(world.cost)
    off = replace(model, setting_errors=[{"error": 0.3}, {"error": -0.1}])
    for models, busy, said in (((model,), ["it was busy"], "it was busy"), ((off,), [], "off by 20%")):
        found = claims(world.study, **(frames | {"speedup": speedup}), models=models, doubts=busy)
        (one,) = [one for one in verdicts(found, 0.95) if one.evidence.text.startswith("Fig. 5")]
        assert one.verdict == INCONCLUSIVE
        assert said in one.sentence


def test_conditions_say_where_the_machine_was_busy() -> None:
    assert busy_lines("small", {}) == []
    assert busy_lines("small", {"other_cpu_share": 0.1, "gpus": [{"other_processes": 0}]}) == []
    assert "90%" in busy_lines("small", {"other_cpu_share": 0.9, "gpus": []})[0]
    assert "2 other processes" in busy_lines("small", {"other_cpu_share": 0.0, "gpus": [{"other_processes": 2}]})[0]


def test_times_of_eager_models_on_a_gpu_are_called_so(world: World, tmp_path: Path) -> None:
    on_gpu = {name: model.model_copy(update={"device": "cuda"}) for name, model in world.study.models.items()}
    for models, times in ((world.study.models, 0), (on_gpu, 1)):
        write_summary(world.study.model_copy(update={"models": models}), tmp_path / "summary.md")
        text = (tmp_path / "summary.md").read_text()
        assert text.count("of pair small on a GPU, where a token's time is mostly starting kernels") == times


def test_an_empty_value_has_no_interval_and_says_why(
    world: World, frames: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    write_summary(world.study, tmp_path / "summary.md")
    text = (tmp_path / "summary.md").read_text()
    empty = frames["comparison"][frames["comparison"]["value"].isna()]
    assert len(empty)
    assert empty[["low", "high"]].isna().all().all()
    assert empty["reason"].str.contains("no operating point").any()
    assert "– [" not in text
    assert not re.search(r"\bnan\b", text)


def test_the_summary_holds_the_numbers_of_the_tables(
    world: World, frames: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    write_summary(world.study, tmp_path / "summary.md")
    text = (tmp_path / "summary.md").read_text()
    comparison = frames["comparison"][frames["comparison"]["low"].notna()]
    for row in comparison[comparison["metric"].isin(["accuracy", "mean_gain", "wasted"])].itertuples():
        assert f"{100 * row.value:z.1f} [{100 * row.low:z.1f}, {100 * row.high:z.1f}]" in text
    for section in ("What agrees", "same acceptance", "Gains in accuracy", "Wasted", "Latency", "Router", "Provenance"):
        assert section in text
    assert "Not timed: lowbit" in text
    assert "too few for conclusions" in text
    assert "questions, steps" in text
    assert not re.search(r"\bnan\b", text)


def test_a_study_without_latency_says_so(world: World, tmp_path: Path) -> None:
    pairs = {name: pair.model_copy(update={"latency": False}) for name, pair in world.study.pairs.items()}
    write_summary(world.study.model_copy(update={"pairs": pairs}), tmp_path / "summary.md")
    text = (tmp_path / "summary.md").read_text()
    assert "No pair of this study is timed." in text
    assert "Fig. 5" not in text


def test_counts_of_verdicts_are_those_of_the_list(
    world: World, frames: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    write_summary(world.study, tmp_path / "summary.md")
    text = (tmp_path / "summary.md").read_text()
    found = verdicts(claims(world.study, **frames, models=[read_cost_model(world.cost)]), 0.95)
    assert f"Of {len(found)} claims, {sum(one.verdict == AGREES for one in found)} agree" in text
    assert text.count(f"**{INCONCLUSIVE}**") == sum(one.verdict == INCONCLUSIVE for one in found)
