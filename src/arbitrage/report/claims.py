"""The paper's claims held against a study: what its result tables say to each, pooled over panels, panels listed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from arbitrage.config.router import Variant
from arbitrage.config.study import Study
from arbitrage.evaluation.cost_model import CostModel
from arbitrage.evaluation.estimates import ALL
from arbitrage.evaluation.paper_claims import BETTER_ABOUT, CLOSE, FEWEST, LEAST_COVERED, MARGIN, WASTED_ABOUT
from arbitrage.figures.markdown import with_interval
from arbitrage.report import paper
from arbitrage.report.verdicts import Evidence
from arbitrage.runtime.paths import StudyPaths

IN_FOLDER = StudyPaths(Path())  # the files that the numbers are in, as seen from the study's folder
COMPARISON, SPEEDUP = IN_FOLDER.curves("comparison").as_posix(), IN_FOLDER.curves("speedup").as_posix()
QUALITY = IN_FOLDER.router_quality.as_posix()
LARGEST_ERROR = 0.1  # of the cost model's settings, on average: no verdict on latency beyond it
NAN = float("nan")


def claims(
    study: Study,
    comparison: pd.DataFrame,
    speedup: pd.DataFrame,
    quality: pd.DataFrame,
    models: Sequence[CostModel] = (),
    doubts: Sequence[str] = (),
) -> list[Evidence]:
    """All claims that the study's results speak to; the frames are its CSV files, empty where there is none.

    doubts: why the timing of a pair cannot be trusted, a sentence each.
    """
    evidence = [*_curves(comparison), *_speed(speedup, models, doubts), *_ranking(quality), *_variants(study, quality)]
    return sorted(evidence, key=lambda one: one.text)


def _curves(comparison: pd.DataFrame) -> Iterator[Evidence]:
    near = f"we take: within {100 * CLOSE:g} points of it on average, where the oracle has operating points"
    margin = f"we take: nowhere more than {100 * MARGIN:g} points below, by a band for the whole curve"
    of_points: tuple[tuple[str, str, str | None, str, str], ...] = (
        (
            *("mean_gain", "router", "rsd"),
            "Fig. 4: the router is more accurate than RSD at the same acceptance",
            "{} points of accuracy on average",
        ),
        (
            *("lowest_gain", "router", "rsd"),
            f"Fig. 4: the router is above RSD at nearly all rates ({margin})",
            "{} points where it gains least",
        ),
        (
            *("mean_gain", "oracle", "router"),
            f"Fig. 4: the router is close to the oracle ({near})",
            "oracle minus router: {} points",
        ),
        (
            *("wasted", "rsd", None),
            f"Fig. 3: RSD wastes about 40 % of all steps at 70 % deferral (we take: {_range(WASTED_ABOUT)})",
            "{} % of all steps",
        ),
        (
            *("better", "rsd", None),
            "Fig. A.1: the target is better on about 0.4 of RSD's rejections over most thresholds (we take: the median "
            f"over thresholds 0.1 ... 0.9, {_range(BETTER_ABOUT)})",
            "{} % of rejections",
        ),
    )
    for metric, policy, against, text, words in of_points:
        rows = comparison[(comparison["metric"] == metric) & (comparison["policy"] == policy)]
        rows = rows[rows["against"].isna() if against is None else rows["against"] == against]
        yield from _pooled(rows, text, words, 1, 100, COMPARISON)


def _speed(speedup: pd.DataFrame, models: Sequence[CostModel], doubts: Sequence[str]) -> Iterator[Evidence]:
    """Judged by the average over common accuracies: the largest ratio is picked by its size, so it flatters."""
    if speedup.empty:
        return
    rows = speedup[(speedup["policy"] == "router") & (speedup["against"] == "rsd") & (speedup["metric"] == "typical")]
    text = f"Fig. 5: the router is faster than RSD at matched accuracy (paper: up to {paper.SPEEDUPS})"
    obstacle = "; ".join(doubts)
    for model in models:
        errors = [abs(setting["error"]) for setting in model.setting_errors]
        mean = sum(errors) / len(errors) if errors else NAN
        if not mean <= LARGEST_ERROR:
            size = f"{mean:.0%} on average over settings" if errors else "an unknown amount"
            obstacle = obstacle or f"the cost model of pair {model.pair} is off by {size} on held-out questions"
    yield from _pooled(rows, text, "{}x on average over common accuracies", 2, 1, SPEEDUP, obstacle)


def _pooled(
    rows: pd.DataFrame, text: str, words: str, digits: int, scale: float, data: str, obstacle: str = ""
) -> Iterator[Evidence]:
    """The claim of the row `all`, the other rows as its panels; nothing where there is no such row."""
    panels = [
        (f"{row['pair']}, {row['benchmark']}", _ours(row, words, digits, scale))
        for row in rows[rows["pair"] != ALL].to_dict("records")
    ]
    for row in rows[rows["pair"] == ALL].to_dict("records"):
        yield Evidence(
            text,
            _ours(row, words, digits, scale),
            _number(row["p_inside"]),
            _number(row["p_outside"]),
            _obstacle(row) or obstacle,
            panels,
            data,
        )


def _ours(row: dict[str, Any], words: str, digits: int, scale: float) -> str:
    if row["value"] != row["value"]:
        return f"no value ({_text(row['reason'])})"
    covered = row["covered"]
    note = f"; on {covered:.0%} of the range" if covered == covered and covered < 0.995 else ""
    return words.format(with_interval(row["value"], row["low"], row["high"], digits, scale)) + note


def _obstacle(row: dict[str, Any]) -> str:
    """Why a pooled row allows no verdict, or ""."""
    if row["value"] != row["value"]:
        return _text(row["reason"])
    if row["questions"] < FEWEST:
        return f"{row['questions']:.0f} questions are too few (at least {FEWEST})"
    if row["covered"] < LEAST_COVERED:
        return f"the curves have operating points on {row['covered']:.0%} of their common range only"
    if row["trainings"] == 1:
        return "one training of the router says nothing of another; raise router.seeds"
    if row["low"] != row["low"]:
        return _text(row["reason"]) or "there is no interval"
    return ""


def _ranking(quality: pd.DataFrame) -> Iterator[Evidence]:
    default = quality[quality["ranking"] == "default"].to_dict("records")
    text = f"Tab. 1: the router's scores follow the advantage on held-out steps (paper: rho {paper.RHO})"
    panels = [(str(row["pair"]), _metric(row, "rho")) for row in default if row["pair"] != ALL]
    for row in default:
        if row["pair"] == ALL:
            supports, contradicts = _number(row["rho_p_above"]), _number(row["rho_p_below"])
            obstacle = _too_little(row, "rho")
            yield Evidence(text, _metric(row, "rho"), supports, contradicts, obstacle, panels, QUALITY)


def _variants(study: Study, quality: pd.DataFrame) -> Iterator[Evidence]:
    """Directions of Tables 1 to 3: the default's metric minus the variant's."""
    expected = [
        (Variant(classes=4), "rho", 1, "Tab. 1: 2 classes rank better than 4"),
        (Variant(classes=4, ordinal=True), "rho", 1, "Tab. 1: 2 classes rank better than 4 ordinal ones"),
        (Variant(classes=10), "rho", 1, "Tab. 1: 2 classes rank better than 10"),
        (Variant(annotate=False), "rho", 1, "Tab. 2: annotating who wrote a step ranks better"),
        (Variant(balance=False), "rho", 1, "Tab. 3: balancing ranks better"),
        (Variant(balance=False), "accuracy_1", 1, "Tab. 3: balancing raises the accuracy on label 1"),
        (Variant(balance=False), "accuracy_0", -1, "Tab. 3: balancing lowers the accuracy on label 0"),
    ]
    if study.router.variants["default"] != Variant():
        return  # the paper's comparisons are with its own default
    for row in quality[quality["pair"] == study.ablation_pair].to_dict("records"):
        for variant, metric, sign, text in expected:
            gain = f"{metric}_gain"
            if study.router.variants.get(row["ranking"]) == variant and row.get(gain, NAN) == row.get(gain, NAN):
                ends = ("above", "below") if sign > 0 else ("below", "above")
                supports, contradicts = (_number(row[f"{gain}_p_{end}"]) for end in ends)
                obstacle = _too_little(row, gain)
                yield Evidence(text, _metric(row, gain), supports, contradicts, obstacle, data=QUALITY)


def _metric(row: dict[str, Any], name: str) -> str:
    """A number of quality.csv with its interval, its spread over trainings, and what it rests on."""
    share = not name.startswith("rho")
    scale, digits = (100, 1) if share else (1, 3)
    value = with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"], digits, scale)
    rho = "difference of rho" if name.endswith("_gain") else "rho"
    unit = f"{value} points" if share else f"{rho} {value}"
    spread = row[f"{name}_spread"]
    apart = f"; standard deviation between {row['trainings']:.0f} trainings {scale * spread:.{digits}f}"
    return (
        unit + (apart if spread == spread else "") + f"; {row['steps']:.0f} steps of {row['questions']:.0f} questions"
    )


def _too_little(row: dict[str, Any], name: str) -> str:
    if row["steps"] < FEWEST:
        return f"{row['steps']:.0f} held-out steps are too few (at least {FEWEST})"
    if row["trainings"] < 2:
        return "one training of each router says nothing of another; raise router.seeds"
    return "there is no interval" if row[f"{name}_low"] != row[f"{name}_low"] else ""


def _number(value: Any) -> float:
    return NAN if value is None else float(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _range(ends: tuple[float, float]) -> str:
    return f"{100 * ends[0]:g} to {100 * ends[1]:g} %"
