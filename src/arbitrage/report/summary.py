"""`summary.md`: a study's headline numbers beside the paper's, and what they do and do not show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from arbitrage.config.study import Study
from arbitrage.evaluation.bootstrap import MOST_MISSING
from arbitrage.evaluation.cost_model import CostModel, read_cost_model
from arbitrage.evaluation.curve_matching import GAP
from arbitrage.figures.markdown import number, table, with_interval
from arbitrage.figures.style import LABELS, in_study_order
from arbitrage.io.atomic import write_text
from arbitrage.io.csv_tables import read_csv
from arbitrage.report import paper
from arbitrage.report.accuracy import accuracy_table, level_cells, sizes
from arbitrage.report.claims import claims
from arbitrage.report.latency import busy_lines, eager_lines, latency_section
from arbitrage.report.verdicts import AGREES, DIFFERS, INCONCLUSIVE, Verdict, verdicts
from arbitrage.runtime.paths import StudyPaths
from arbitrage.runtime.provenance import record_of


def write_summary(study: Study, out: Path) -> None:
    """Write the summary of a finished study from the files in its folder; FileNotFoundError where one is missing."""
    paths = StudyPaths.of(study)
    speedup, models, doubts = _timing(study, paths)
    comparison, accuracy = _curves(study, paths, "comparison"), _curves(study, paths, "accuracy_acceptance")
    parts = [
        _head(study, accuracy),
        _verdicts(study, verdicts_of(study, paths)),
        _accuracy(accuracy, comparison),
        _gains(comparison),
        _kept(comparison),
        _wasted(comparison),
        latency_section(study, speedup, models, doubts),
        _router(read_csv(paths.router_quality)),
        _provenance(paths),
    ]
    write_text(out, "\n".join(parts))


def verdicts_of(study: Study, paths: StudyPaths) -> list[Verdict]:
    """The verdicts on the paper's claims that the summary in `paths` gives, in its order.

    Raises FileNotFoundError where a file of the results is missing.
    """
    speedup, models, doubts = _timing(study, paths)
    comparison, quality = _curves(study, paths, "comparison"), read_csv(paths.router_quality)
    return verdicts(claims(study, comparison, speedup, quality, models, doubts), study.curves.confidence)


def _timing(study: Study, paths: StudyPaths) -> tuple[pd.DataFrame, list[CostModel], list[str]]:
    """Speed-ups and cost models of the timed pairs, and what speaks against trusting them, a sentence each."""
    timed = study.timed_pairs
    speedup = _curves(study, paths, "speedup") if timed else pd.DataFrame()
    models = [read_cost_model(paths.cost_model(pair)) for pair in timed]
    doubts = [
        line for pair in timed for line in (*eager_lines(study, pair), *busy_lines(pair, _conditions(paths, pair)))
    ]
    return speedup, models, doubts


def _curves(study: Study, paths: StudyPaths, name: str) -> pd.DataFrame:
    return in_study_order(read_csv(paths.curves(name)), study)


def _head(study: Study, accuracy: pd.DataFrame) -> str:
    seeds = study.router.seeds
    return (
        f"# Summary of study {study.study}\n\n"
        'Set beside "Arbitrage: Efficient Reasoning via Advantage-Aware '
        f'Speculation", {paper.SOURCE}. In brackets: {100 * study.curves.confidence:g} % intervals by bootstrap over '
        f"questions ({sizes(accuracy)}; {study.curves.resamples} resamples, seed {study.seed}) and, where a router "
        f"takes part, over its {seeds} training{'s' if seeds > 1 else ' (which says nothing of another one)'}; gains "
        f"are paired. How: docs/statistics.md. The study's models and questions are its own, not the paper's: "
        "directions can be compared, sizes only with care. The points of the paper's figures are not published, so "
        "none are shown.\n"
    )


def _verdicts(study: Study, results: Sequence[Verdict]) -> str:
    counts = {name: sum(each.verdict == name for each in results) for name in (AGREES, DIFFERS, INCONCLUSIVE)}
    tested = sum(each.evidence.testable for each in results)
    text = "## What agrees with the paper, what differs, what is inconclusive\n\n"
    text += f"Of {len(results)} claims, {counts[AGREES]} agree, {counts[DIFFERS]} differ, {counts[INCONCLUSIVE]} are "
    text += "inconclusive. A claim has one verdict, from its number over all pairs and benchmarks (each panel counts "
    text += f"alike), by Holm's procedure over the {tested} whose data allow one: none is given where too few "
    text += "questions, a single training, holes in a curve or the timing could have decided it. What a single panel "
    text += "shows stands below.\n\n"
    smallest = 1 / (1 + study.curves.resamples)
    if tested and smallest > (1 - study.curves.confidence) / 2 / tested:
        text += f"With {study.curves.resamples} resamples no p value can be small enough for {tested} claims; raise "
        text += "curves.resamples.\n\n"
    rows = [[one.evidence.ours, one.evidence.text, f"**{one.verdict}**", one.sentence] for one in results]
    text += table(["here", "the paper", "verdict", "what that means"], rows)
    panels = [[one.evidence.text.split(" (")[0], *panel] for one in results for panel in one.evidence.panels]
    return f"{text}\n{table(['the paper', 'pair, benchmark', 'here'], panels)}"


def _accuracy(points: pd.DataFrame, comparison: pd.DataFrame) -> str:
    curves = points[points["answered"].notna()]
    lost = 1 - curves.groupby(["pair", "benchmark"], sort=False)["answered"].mean()
    failures = "; ".join(f"{pair}, {benchmark}: {share:.1%}" for (pair, benchmark), share in lost.items())
    return (
        "## Accuracy at the same acceptance (%)\n\n"
        f"{table(*accuracy_table(points, comparison))}\n"
        f"No value where a policy has no operating point: between neighbouring ones more than {100 * GAP:g} points of "
        "acceptance apart, and for the oracle below threshold 0. No brackets, here and below: all resamples are the "
        f"same number, or more than {MOST_MISSING:.0%} of them have none. Draft and target alone have one accuracy. "
        "Steps are those of all solutions, a policy's at its median threshold. Solutions without an answer "
        f"count as wrong (mean over policies and thresholds: {failures}).\n"
    )


def _gains(comparison: pd.DataFrame) -> str:
    rows = []
    lowest = comparison[comparison["metric"] == "lowest_gain"].set_index(["pair", "benchmark", "policy", "against"])
    for row in comparison[comparison["metric"] == "mean_gain"].itertuples():
        key = (row.pair, row.benchmark, row.policy, row.against)
        least = lowest.loc[key] if key in lowest.index else None
        rows.append(
            [
                row.pair,
                row.benchmark,
                f"{LABELS[row.policy]} over {LABELS[row.against]}",
                with_interval(row.value, row.low, row.high, 1, 100),
                "" if least is None else with_interval(least["value"], least["low"], least["high"], 1, 100),
                f"{row.covered:.0%}",
                f"{row.questions:.0f}",
            ]
        )
    head = ["pair", "benchmark", "policies", "mean gain", "smallest gain", "covered", "questions"]
    return (
        "## Gains in accuracy at the same acceptance (points)\n\n"
        "Mean over all rates at which both have operating points (`covered`: of the range both span), and the smallest "
        "gain at any rate where it varies between resamples (not where both accept every step), with the lowest ends "
        "of a band that holds the whole curve; without them where that band is wider than any gain could be, for want "
        "of questions or trainings.\n\n" + table(head, rows)
    )


def _kept(comparison: pd.DataFrame) -> str:
    own = comparison[comparison["metric"] == "acceptance"]
    levels = sorted(own["level"].unique())
    head = [
        "pair",
        "benchmark",
        "policy",
        *(f"{level:.0%} of the gap" for level in levels),
        "unreached (%)",
        "questions",
    ]
    rows = [
        [
            *map(str, key[:2]),
            LABELS[str(key[2])],
            *level_cells(cells, levels),
            " / ".join(number(share, 0, 100) for share in cells.sort_values("level")["unreached"]),
            f"{cells['questions'].iloc[0]:.0f}",
        ]
        for key, cells in own.groupby(["pair", "benchmark", "policy"], sort=False)
    ]
    return (
        "## Highest acceptance (%) that keeps an accuracy\n\n"
        "The accuracy is the draft's plus a share of the gap between draft and target, in each resample its own. "
        "Resamples that never reach it (`unreached`, level by level) count as accepting nothing. No value "
        "where the target is no more accurate than the draft.\n\n" + table(head, rows)
    )


def _wasted(comparison: pd.DataFrame) -> str:
    rows = [
        [
            row.pair,
            row.benchmark,
            LABELS[row.policy],
            f"{row.level:.0%}",
            with_interval(row.value, row.low, row.high, 1, 100),
            f"{row.questions:.0f}",
        ]
        for row in comparison[comparison["metric"] == "wasted"].itertuples()
    ]
    head = ["pair", "benchmark", "policy", "deferral rate", "wasted deferrals (% of all steps)", "questions"]
    return f"## Wasted deferrals\n\nThe paper: about 40 % at 70 % deferral, for RSD.\n\n{table(head, rows)}"


def _router(quality: pd.DataFrame) -> str:
    rows = []
    for row in quality.to_dict("records"):
        cells = [str(row["pair"]), str(row["ranking"])]
        for name, digits, scale in (("rho", 3, 1), ("accuracy_0", 1, 100), ("accuracy_1", 1, 100)):
            spread = row[f"{name}_spread"]
            apart = f" ± {scale * spread:.{digits}f}" if spread == spread else ""
            cells.append(with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"], digits, scale) + apart)
        rows.append([*cells, f"{row['trainings']:.0f}", f"{row['steps']:.0f}, {row['questions']:.0f}"])
    head = ["pair", "ranking", "rho with the advantage", "accuracy on label 0 (%)", "accuracy on label 1 (%)"]
    return (
        "## Router\n\nOn held-out questions: mean over trainings, interval over trainings and questions, ± the "
        "standard deviation between trainings. The paper's figures are in Tables 1 to 3.\n\n"
        + table([*head, "trainings", "steps, questions"], rows)
    )


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


def _conditions(paths: StudyPaths, pair: str) -> dict[str, Any]:
    """Conditions of the timing of a pair, from its provenance record; empty where there is none."""
    return dict(_json(record_of(paths.latency(pair))).get("conditions", {}))


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
