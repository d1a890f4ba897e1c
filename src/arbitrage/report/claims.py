"""The paper's claims held against a study: each verdict is computed from an interval, never asserted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

import pandas as pd

from arbitrage.config.router import Variant
from arbitrage.config.study import Study
from arbitrage.evaluation.curves import PAPER_GRID
from arbitrage.figures.markdown import with_interval
from arbitrage.report import paper

AGREES, DIFFERS, UNTOLD = "agrees", "differs", "cannot be told"


@dataclass(frozen=True)
class Claim:
    """text: what the paper says; where: pair, benchmark; ours: our number; verdict: AGREES, DIFFERS or UNTOLD."""

    text: str
    where: str
    ours: str
    verdict: str


def judge(low: float, high: float, region: tuple[float, float]) -> str:
    """Whether an interval lies inside the open region a claim allows, outside it, or neither (NaN: UNTOLD)."""
    if region[0] < low and high < region[1]:
        return AGREES
    if high <= region[0] or low >= region[1]:
        return DIFFERS
    return UNTOLD


def claims(
    study: Study,
    comparison: pd.DataFrame,
    outcomes: pd.DataFrame,
    speedup: pd.DataFrame,
    quality: pd.DataFrame,
) -> list[Claim]:
    """All claims that the study's results speak to; the frames are its CSV files, empty where there is none."""
    found = [*_curves(comparison), *_better(outcomes), *_speed(speedup), *_ranking(quality), *_variants(study, quality)]
    return sorted(found, key=lambda claim: claim.text)


def _curves(comparison: pd.DataFrame) -> Iterator[Claim]:
    for row in comparison.itertuples():
        where = f"{row.pair}, {row.benchmark}"
        points = with_interval(row.value, row.low, row.high, 1, 100)
        versus = (row.metric, row.policy, row.against)
        if versus == ("mean_gain", "router", "rsd"):
            text = "Fig. 4: the router is more accurate than RSD at the same acceptance"
            yield Claim(text, where, f"{points} points on average", judge(row.low, row.high, (0, inf)))
        if versus == ("share_not_below", "router", "rsd"):
            text = f"Fig. 4: the router is above RSD at nearly all rates (we take: not below at {paper.NEARLY_ALL:.0%})"
            yield Claim(
                text,
                where,
                f"not below at {points} % of rates",
                judge(row.low, row.high, (paper.NEARLY_ALL - 1e-9, inf)),
            )
        if versus == ("mean_gain", "oracle", "router"):
            near = f"we take: within {100 * paper.CLOSE:g} points of it on average"
            text = f"Fig. 4: the router is close to the oracle ({near})"
            verdict = judge(row.low, row.high, (-paper.CLOSE, paper.CLOSE))
            yield Claim(text, where, f"oracle minus router: {points} points", verdict)
        if (row.metric, row.policy, row.level) == ("wasted", "rsd", paper.DEFERRAL):
            text = (
                f"Fig. 3: RSD wastes about 40 % of all steps at 70 % deferral (we take: {_range(paper.WASTED_ABOUT)})"
            )
            yield Claim(text, where, f"{points} %", judge(row.low, row.high, paper.WASTED_ABOUT))


def _better(outcomes: pd.DataFrame) -> Iterator[Claim]:
    text = (
        "Fig. A.1: the target is better on about 0.4 of RSD's rejections over most thresholds "
        f"(we take: {_range(paper.BETTER_ABOUT)}, at more than half of 0.1 ... 0.9)"
    )
    if outcomes.empty:
        return
    thresholds = PAPER_GRID[1:-1]
    inner = outcomes[(outcomes["policy"] == "rsd") & outcomes["threshold"].round(9).isin(thresholds)]
    for (pair, benchmark), rows in inner.groupby(["pair", "benchmark"], sort=False):
        verdicts = [judge(row.better_low, row.better_high, paper.BETTER_ABOUT) for row in rows.itertuples()]
        counts = {verdict: verdicts.count(verdict) for verdict in (AGREES, DIFFERS)}
        verdict = next((name for name, count in counts.items() if 2 * count > len(thresholds)), UNTOLD)
        ours = f"{rows['better'].min():.2f} to {rows['better'].max():.2f}, median {rows['better'].median():.2f}"
        if len(rows) < len(thresholds):
            ours += f", at {len(rows)} of {len(thresholds)} thresholds"
        yield Claim(text, f"{pair}, {benchmark}", ours, verdict)


def _speed(speedup: pd.DataFrame) -> Iterator[Claim]:
    """Judged by the average over common accuracies: the largest ratio is picked by its size, so it flatters."""
    text = f"Fig. 5: the router is faster than RSD at matched accuracy (paper: up to {paper.SPEEDUPS})"
    if speedup.empty:
        return
    rows = speedup[(speedup["policy"] == "router") & (speedup["baseline"] == "rsd")]
    largest = rows[rows["kind"] == "maximal"].set_index(["pair", "benchmark"])
    for row in rows[rows["kind"] == "typical"].itertuples():
        ours = row.statement
        if row.speedup == row.speedup:
            best = largest.loc[(row.pair, row.benchmark)]
            ours = f"{with_interval(row.speedup, row.low, row.high, 2)}x on average over common accuracies; largest "
            ours += f"{with_interval(best.speedup, best.low, best.high, 2)}x, at accuracy {best.accuracy:.0%}"
        yield Claim(text, f"{row.pair}, {row.benchmark}", ours, judge(row.low, row.high, (1, inf)))


def _ranking(quality: pd.DataFrame) -> Iterator[Claim]:
    for row in quality.itertuples():
        if row.ranking == "default":
            text = f"Tab. 1: the router's scores follow the advantage on held-out steps (paper: rho {paper.RHO})"
            ours = f"rho {with_interval(row.rho, row.rho_low, row.rho_high, 3)}"
            yield Claim(text, row.pair, ours, judge(row.rho_low, row.rho_high, (0, inf)))


def _variants(study: Study, quality: pd.DataFrame) -> Iterator[Claim]:
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
            gain, low, high = (row.get(f"{metric}_gain{end}", float("nan")) for end in ("", "_low", "_high"))
            if study.router.variants.get(row["ranking"]) == variant and gain == gain:
                scale, digits, unit = (1, 3, "rho") if metric == "rho" else (100, 1, "points")
                ours = f"{with_interval(gain, low, high, digits, scale)} {unit}"
                verdict = judge(low, high, (0, inf) if sign > 0 else (-inf, 0))
                yield Claim(text, study.ablation_pair, ours, verdict)


def _range(ends: tuple[float, float]) -> str:
    return f"{100 * ends[0]:g} to {100 * ends[1]:g} %"
