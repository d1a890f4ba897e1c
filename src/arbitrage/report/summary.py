"""`summary.md`: a study's headline numbers beside the paper's, and what they do and do not show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from arbitrage.config.study import Study
from arbitrage.evaluation.cost_model import CostModel, read_cost_model
from arbitrage.figures.markdown import table, with_interval
from arbitrage.figures.style import LABELS, in_study_order
from arbitrage.io.atomic import write_text
from arbitrage.io.csv_tables import read_csv
from arbitrage.report import paper
from arbitrage.report.claims import AGREES, DIFFERS, UNTOLD, claims
from arbitrage.runtime.paths import StudyPaths
from arbitrage.runtime.provenance import record_of

FEW = 100  # questions of a benchmark, below which the summary says that they are few


def write_summary(study: Study, out: Path) -> None:
    """Write the summary of a finished study from the files in its folder; FileNotFoundError where one is missing."""
    paths = StudyPaths.of(study)
    timed = [pair for pair, settings in study.pairs.items() if settings.latency]
    speedup = _curves(study, "speedup") if timed else pd.DataFrame()
    comparison, outcomes = _curves(study, "comparison"), _curves(study, "outcomes")
    accuracy = _curves(study, "accuracy_acceptance")
    quality = read_csv(paths.router_quality)
    models = [read_cost_model(paths.cost_model(pair)) for pair in timed]
    parts = [
        _head(study, accuracy),
        _verdicts(study, comparison, outcomes, speedup, quality),
        _accuracy(accuracy, comparison),
        _gains(comparison),
        _kept(comparison),
        _wasted(comparison),
        _latency(study, speedup, models),
        _router(quality),
        _provenance(paths),
    ]
    write_text(out, "\n".join(parts))


def _curves(study: Study, name: str) -> pd.DataFrame:
    return in_study_order(read_csv(StudyPaths.of(study).curves(name)), study)


def _head(study: Study, accuracy: pd.DataFrame) -> str:
    return (
        f"# Summary of study {study.study}\n\n"
        'Set beside "Arbitrage: Efficient Reasoning via Advantage-Aware '
        f'Speculation", {paper.SOURCE}. In brackets: {100 * study.curves.confidence:g} % intervals by bootstrap over '
        f"questions ({_sizes(accuracy)}; {study.curves.resamples} resamples, seed {study.seed}); gains are paired. The "
        "study's models and questions are its own, not the paper's: directions can be compared, sizes only with care. "
        "The points of the paper's figures are not published, so none are shown.\n"
    )


def _sizes(accuracy: pd.DataFrame) -> str:
    """How many questions the benchmarks have, how many nobody could grade, and that few of them tell little."""
    counts = accuracy.groupby("benchmark", sort=False)[["questions", "ungraded"]].max()
    few = "; **too few for conclusions**" if counts["questions"].min() < FEW else ""
    sizes = [
        f"{row.questions} of {row.Index}"
        + (f" ({row.ungraded} more are ungraded and left out)" if row.ungraded else "")
        for row in counts.itertuples()
    ]
    return ", ".join(sizes) + few


def _verdicts(
    study: Study, comparison: pd.DataFrame, outcomes: pd.DataFrame, speedup: pd.DataFrame, quality: pd.DataFrame
) -> str:
    found = claims(study, comparison, outcomes, speedup, quality)
    counts = {verdict: sum(claim.verdict == verdict for claim in found) for verdict in (AGREES, DIFFERS, UNTOLD)}
    text = "## What agrees with the paper, what does not, what cannot be told\n\n"
    text += f"Of {len(found)} comparisons, {counts[AGREES]} agree, {counts[DIFFERS]} differ, "
    text += f"{counts[UNTOLD]} cannot be told. A comparison agrees where the whole interval is on the paper's side, "
    text += "and differs where none of it is.\n\n"
    rows = [[claim.text, claim.where, claim.ours, f"**{claim.verdict}**"] for claim in found]
    return text + table(["the paper", "pair, benchmark", "here", "verdict"], rows)


def _accuracy(points: pd.DataFrame, comparison: pd.DataFrame) -> str:
    at = comparison[comparison["metric"] == "accuracy"]
    levels = sorted(at["level"].unique())
    rows = []
    for (pair, benchmark), own in points.groupby(["pair", "benchmark"], sort=False):
        for alone in own[own["policy"].isin(["draft_only", "target_only"])].itertuples():
            both = with_interval(alone.accuracy, alone.accuracy_low, alone.accuracy_high, 1, 100)
            rows.append([pair, benchmark, LABELS[alone.policy], *[both] * len(levels)])
        here = at[(at["pair"] == pair) & (at["benchmark"] == benchmark)]
        for policy, cells in here.groupby("policy", sort=False):
            rows.append([pair, benchmark, LABELS[str(policy)], *_cells(cells, levels)])
    lost = 1 - points.groupby(["pair", "benchmark"], sort=False)["answered"].mean()
    failures = "; ".join(f"{pair}, {benchmark}: {share:.1%}" for (pair, benchmark), share in lost.items())
    return (
        "## Accuracy at the same acceptance (%)\n\n"
        f"{table(['pair', 'benchmark', 'policy', *(f'{level:.0%} accepted' for level in levels)], rows)}\n"
        f"Solutions without an answer count as wrong (mean over policies and thresholds: {failures}).\n"
    )


def _gains(comparison: pd.DataFrame) -> str:
    rows = []
    share = comparison[comparison["metric"] == "share_not_below"].set_index(["pair", "benchmark", "policy", "against"])
    for row in comparison[comparison["metric"] == "mean_gain"].itertuples():
        where = share.loc[(row.pair, row.benchmark, row.policy, row.against)]
        rows.append(
            [
                row.pair,
                row.benchmark,
                f"{LABELS[row.policy]} over {LABELS[row.against]}",
                with_interval(row.value, row.low, row.high, 1, 100),
                with_interval(where["value"], where["low"], where["high"], 0, 100),
            ]
        )
    head = [
        "pair",
        "benchmark",
        "policies",
        "mean gain (points of accuracy)",
        "share of acceptance rates not below (%)",
    ]
    return f"## Area between the curves, over all acceptance rates\n\n{table(head, rows)}"


def _kept(comparison: pd.DataFrame) -> str:
    own = comparison[comparison["metric"] == "acceptance"]
    levels = sorted(own["level"].unique())
    head = ["pair", "benchmark", "policy", *(f"{level:.0%} of the gap" for level in levels)]
    rows = [
        [*map(str, key[:2]), LABELS[str(key[2])], *_cells(cells, levels)]
        for key, cells in own.groupby(["pair", "benchmark", "policy"], sort=False)
    ]
    return (
        "## Highest acceptance (%) that keeps an accuracy\n\n"
        "The accuracy is the draft's plus a share of the gap between draft and target.\n\n" + table(head, rows)
    )


def _wasted(comparison: pd.DataFrame) -> str:
    rows = [
        [
            row.pair,
            row.benchmark,
            LABELS[row.policy],
            f"{row.level:.0%}",
            with_interval(row.value, row.low, row.high, 1, 100),
        ]
        for row in comparison[comparison["metric"] == "wasted"].itertuples()
    ]
    head = ["pair", "benchmark", "policy", "deferral rate", "wasted deferrals (% of all steps)"]
    return f"## Wasted deferrals\n\nThe paper: about 40 % at 70 % deferral, for RSD.\n\n{table(head, rows)}"


def _latency(study: Study, speedup: pd.DataFrame, models: list[CostModel]) -> str:
    text = "## Latency\n\n"
    if not models:
        return text + "No pair of this study is timed.\n"
    for model in models:
        worst = max((abs(setting["error"]) for setting in model.setting_errors), default=float("nan"))
        text += (
            f"Cost model of pair {model.pair}, fitted on {model.fitted_questions} timed questions, tested on "
            f"{model.heldout_questions} others: median error {model.heldout_median_error:.1%} a solution, "
            f"mean {model.heldout_mean_error:.1%}; the mean latency of a setting is off by {worst:.1%} at most. "
            f"{model.same_solution:.0%} of the timed solutions are the sweep's own.\n\n"
        )
    untimed = [name for name, pair in study.pairs.items() if not pair.latency]
    if untimed:
        text += f"Not timed: {', '.join(untimed)} (weights rounded in place run at the speed of full precision).\n\n"
    text += (
        f"Speed-up at matched accuracy, by the cost model (the paper: up to {paper.SPEEDUPS}). Accuracies are the "
        "draft's plus a share of the gap between draft and target; the last two columns run over the accuracies that "
        "both curves cover, and the largest ratio, picked by its size, flatters.\n\n"
    )
    return text + _speedups(speedup)


def _speedups(speedup: pd.DataFrame) -> str:
    at = speedup[speedup["kind"] == "at_accuracy"]
    levels = sorted(at["recovered"].unique())
    head = [
        "pair",
        "benchmark",
        "policy",
        "over",
        *(f"{level:.0%} of the gap" for level in levels),
        "average",
        "largest",
    ]
    rows, notes = [], []
    for key, own in speedup.groupby(["pair", "benchmark", "policy", "baseline"], sort=False):
        pair, benchmark, policy, baseline = map(str, key)
        found = [own[own["recovered"] == level] for level in levels]
        found += [own[own["kind"] == kind] for kind in ("typical", "maximal")]
        cells = [with_interval(one["speedup"].iloc[0], one["low"].iloc[0], one["high"].iloc[0], 2) for one in found]
        rows.append([pair, benchmark, LABELS[policy], LABELS[baseline], *cells])
        notes += [f"- {pair}, {benchmark}: {text}\n" for text in own[own["speedup"].isna()]["statement"].unique()]
    return table(head, rows) + ("\n" + "".join(notes) if notes else "")


def _router(quality: pd.DataFrame) -> str:
    rows = [
        [
            str(row["pair"]),
            str(row["ranking"]),
            *(
                with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"], digits, scale)
                for name, digits, scale in (("rho", 3, 1), ("accuracy_0", 1, 100), ("accuracy_1", 1, 100))
            ),
        ]
        for row in quality.to_dict("records")
    ]
    head = ["pair", "ranking", "rho with the advantage", "accuracy on label 0 (%)", "accuracy on label 1 (%)"]
    return f"## Router\n\nOn held-out questions; the paper's figures are in Tables 1 to 3.\n\n{table(head, rows)}"


def _provenance(paths: StudyPaths) -> str:
    record = _json(record_of(paths.curves("accuracy_acceptance")))
    sampling = _json(paths.sampling_report)
    text = "## Provenance\n\n"
    for name in ("study_hash", "code", "seed", "hardware", "packages"):
        if name in record:
            text += f"- {name.replace('_', ' ')}: `{json.dumps(record[name], sort_keys=True)}`\n"
    if sampling:
        text += f"- labelling questions: `{json.dumps(sampling, sort_keys=True)}`\n"
    return text + "- every result has its own record beside it, `<file>.provenance.json`\n"


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _cells(rows: pd.DataFrame, levels: list[float]) -> list[str]:
    """One cell a level: value and interval in per cent."""
    by_level = rows.set_index("level")
    found = [by_level.loc[level] for level in levels]
    return [with_interval(row["value"], row["low"], row["high"], 1, 100) for row in found]
