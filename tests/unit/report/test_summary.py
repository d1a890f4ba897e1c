"""The summary: its verdicts follow from intervals, and its numbers are those of the result tables."""

import re
from math import inf, nan
from pathlib import Path

import pandas as pd
import pytest

from arbitrage.io.csv_tables import read_csv
from arbitrage.report.claims import AGREES, DIFFERS, UNTOLD, claims, judge
from arbitrage.report.summary import write_summary
from tests.conftest import World


@pytest.mark.parametrize(
    ("low", "high", "region", "verdict"),
    [
        (0.1, 0.2, (0, inf), AGREES),
        (-0.1, 0.2, (0, inf), UNTOLD),
        (-0.2, -0.1, (0, inf), DIFFERS),
        (0.0, 0.0, (0, inf), DIFFERS),
        (0.36, 0.44, (0.35, 0.45), AGREES),
        (0.30, 0.50, (0.35, 0.45), UNTOLD),
        (0.46, 0.50, (0.35, 0.45), DIFFERS),
        (nan, nan, (0, inf), UNTOLD),
    ],
)
def test_a_verdict_follows_from_where_the_interval_lies(
    low: float, high: float, region: tuple[float, float], verdict: str
) -> None:
    assert judge(low, high, region) == verdict


@pytest.fixture
def frames(world: World) -> dict[str, pd.DataFrame]:
    names = ("comparison", "outcomes", "speedup")
    found = {name: read_csv(world.folder / "curves" / f"{name}.csv") for name in names}
    return found | {"quality": read_csv(world.folder / "router" / "quality.csv")}


def test_turning_a_result_round_turns_its_verdict_round(world: World, frames: dict[str, pd.DataFrame]) -> None:
    for sign, verdict in ((1, AGREES), (-1, DIFFERS)):
        comparison = frames["comparison"].copy()
        gain = (
            (comparison["metric"] == "mean_gain")
            & (comparison["policy"] == "router")
            & (comparison["against"] == "rsd")
        )
        comparison.loc[gain, ["value", "low", "high"]] = [
            sign * 0.05,
            min(sign * 0.04, sign * 0.06),
            max(sign * 0.04, sign * 0.06),
        ]
        found = claims(world.study, **(frames | {"comparison": comparison}))
        verdicts = {claim.verdict for claim in found if "more accurate than RSD" in claim.text}
        assert verdicts == {verdict}


def test_the_speed_claim_is_judged_by_the_average_not_by_the_largest(
    world: World, frames: dict[str, pd.DataFrame]
) -> None:
    speedup = frames["speedup"].copy()
    versus = (speedup["policy"] == "router") & (speedup["baseline"] == "rsd")
    speedup.loc[versus & (speedup["kind"] == "typical"), ["speedup", "low", "high"]] = [0.9, 0.85, 0.95]
    speedup.loc[versus & (speedup["kind"] == "maximal"), ["speedup", "low", "high"]] = [2.0, 1.9, 2.1]
    found = claims(world.study, **(frames | {"speedup": speedup}))
    assert {claim.verdict for claim in found if claim.text.startswith("Fig. 5")} == {DIFFERS}


@pytest.mark.parametrize(("thresholds", "verdict"), [(tuple(range(1, 10)), DIFFERS), ((2, 5), UNTOLD)])
def test_what_holds_at_most_thresholds_is_not_told_from_a_few(
    thresholds: tuple[int, ...], verdict: str, world: World, frames: dict[str, pd.DataFrame]
) -> None:
    outcomes = frames["outcomes"].copy()
    outcomes[["better", "better_low", "better_high"]] = [0.9, 0.8, 1.0]
    kept = (10 * outcomes["threshold"]).round(8).isin(thresholds)
    found = claims(world.study, **(frames | {"outcomes": outcomes[kept]}))
    assert {claim.verdict for claim in found if claim.text.startswith("Fig. A.1")} == {verdict}


def test_the_summary_holds_the_numbers_of_the_tables(
    world: World, frames: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    write_summary(world.study, tmp_path / "summary.md")
    text = (tmp_path / "summary.md").read_text()
    comparison = frames["comparison"]
    for row in comparison[comparison["metric"].isin(["accuracy", "mean_gain", "wasted"])].itertuples():
        assert f"{100 * row.value:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]" in text
    for section in ("What agrees", "same acceptance", "Area between", "Wasted", "Latency", "Router", "Provenance"):
        assert section in text
    assert "Not timed: lowbit" in text
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
    found = claims(world.study, **frames)
    assert f"Of {len(found)} comparisons, {sum(claim.verdict == AGREES for claim in found)} agree" in text
    assert text.count(f"**{DIFFERS}**") == sum(claim.verdict == DIFFERS for claim in found)
