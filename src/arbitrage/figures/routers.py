"""Policies side by side, beyond the paper: what each is worth, and what it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arbitrage.config.policies import POLICIES
from arbitrage.config.study import Study
from arbitrage.evaluation.comparison import MEAN_OVER, MEAN_VERSUS
from arbitrage.evaluation.decision_flops import Deciding, decision_flops
from arbitrage.evaluation.decoder_work import timed_by_step
from arbitrage.evaluation.router_quality import UNTRAINED
from arbitrage.figures import fig5, markdown, style
from arbitrage.io.atomic import write_text
from arbitrage.io.csv_tables import read_csv, write_csv
from arbitrage.io.tables import read_frame
from arbitrage.runtime.gpu_memory import local_shapes
from arbitrage.runtime.memory import Shape
from arbitrage.runtime.paths import StudyPaths

RANKED = ("rho", "auroc")
ENDS = ("", "_low", "_high")
COLUMNS = [
    *("pair", "benchmark", "policy", "variant", "trainings", "questions"),
    *(f"{metric}{end}" for metric in ("accuracy", *(f"gain_{name}" for name in MEAN_VERSUS), *RANKED) for end in ENDS),
    *("decision_us", "decision_flops", "reason"),
]
OVER = f"{100 * MEAN_OVER[0]:g} to {100 * MEAN_OVER[-1]:g} %"


def routers_table(
    study: Study, compared: pd.DataFrame, quality: pd.DataFrame, seconds: pd.Series, flops: pd.Series
) -> pd.DataFrame:
    """A row for each pair, benchmark and swept policy with a threshold (COLUMNS).

    compared: `comparison.csv`; quality: `quality.csv`; seconds, flops: of a decision, by pair and policy. `accuracy` is
    the mean over acceptance, `gain_<policy>` its paired difference to that policy's; `rho` and `auroc` are of held-out
    steps, of policies whose score these have. Without a value where a policy has no operating points, was not timed, or
    is on no labelled step.
    """
    own = compared[compared["metric"].isin(("mean_accuracy", "mean_accuracy_gain")) & (compared["pair"] != "all")]
    ranked = quality.set_index(["pair", "ranking"])
    rows = []
    for (pair, benchmark, policy), group in own.groupby(["pair", "benchmark", "policy"], sort=False):
        row = {"pair": pair, "benchmark": benchmark, "policy": policy, "variant": study.variant_of(policy)}
        for found in group.itertuples():
            metric = "accuracy" if found.metric == "mean_accuracy" else f"gain_{found.against}"
            row |= {f"{metric}{end}": getattr(found, end.removeprefix("_") or "value") for end in ENDS}
            if metric == "accuracy":
                row |= {name: getattr(found, name) for name in ("trainings", "questions", "reason")}
        if (key := (pair, _ranking(study, policy))) in ranked.index:
            row |= {f"{metric}{end}": ranked.loc[key, f"{metric}{end}"] for metric in RANKED for end in ENDS}
        row["decision_us"] = 1e6 * seconds.get((pair, policy), np.nan)
        row["decision_flops"] = flops.get((pair, policy), np.nan)
        rows.append(row)
    order = {policy: rank for rank, policy in enumerate(POLICIES)}
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    table = table.sort_values("policy", key=lambda column: column.map(order), kind="stable")
    return style.in_study_order(table, study)


def _ranking(study: Study, policy: str) -> str | None:
    """What the table of rankings calls the policy's score; None where it does not have it."""
    columns: Mapping[str | None, str] = {column: name for name, column in UNTRAINED.items()}
    return study.variant_of(policy) or columns.get(POLICIES[policy].column)


def decision_seconds(latency: pd.DataFrame) -> pd.Series:
    """Mean seconds that scoring a step took, by pair and policy; latency: rows of that table."""
    stepped = timed_by_step(latency)
    totals = stepped.groupby(["pair", "policy"])[["score_s", "steps"]].sum()
    return totals["score_s"] / totals["steps"]


def of_study(study: Study) -> pd.DataFrame:
    """`routers_table` of a finished study."""
    paths = StudyPaths.of(study)
    timed = [read_frame(paths.latency(pair), "latency") for pair in study.timed_pairs]
    seconds = flops = pd.Series(dtype=float)
    if timed:
        rows = pd.concat(timed)
        seconds, flops = decision_seconds(rows), decision_flops(rows, deciding(study))
    return routers_table(study, read_csv(paths.curves("comparison")), read_csv(paths.router_quality), seconds, flops)


def deciding(study: Study) -> dict[tuple[str, str], Deciding]:
    """What decides for each swept policy of a timed pair for which anything is asked, by pair and policy.

    A trained router is as large as its training says, another model as its files are (`runtime.memory.shape`), less
    than 1 % too large for their headers in the lab; NaN where they are not here, or hold weights in few bits.
    """
    found = {}
    for pair in study.timed_pairs:
        draft, target = study.pairs[pair].draft, study.pairs[pair].target
        weights = {name: _weights(each) for name, each in local_shapes(study, pair).items()}
        for policy in study.sweep.policies:
            entry, variant = POLICIES[policy], study.variant_of(policy)
            trained = 0.0
            if variant is not None:
                report = StudyPaths.of(study).router(pair, variant) / "training.json"
                trained = float(json.loads(report.read_text(encoding="utf-8"))["parameters"])
            reads = {
                "prm": "prm" in entry.needs,
                f"models.{target}": entry.target_reads,
                f"models.{draft}": "states" in entry.reports,
            }
            read = sum(weights[name] for name, asked in reads.items() if asked)
            if entry.router == "classifier":
                found[pair, policy] = Deciding(read=trained)
            elif read or trained:
                found[pair, policy] = Deciding(read, trained)
    return found


def _weights(found: Shape) -> float:
    return float("nan") if found.packed or not found.parameters else float(found.parameters)


def write(study: Study, csv: Path, md: Path) -> None:
    """Write the table of a finished study as CSV and as Markdown."""
    table = of_study(study)
    write_csv(csv, table)
    head = ["pair", "benchmark", "policy", "variant", "accuracy (%)"]
    head += [*(f"over {style.LABELS[name]} (points)" for name in MEAN_VERSUS), "rho", "AUROC"]
    head += ["µs a decision", "MFLOPs a decision"]
    lines = []
    for _, row in table.iterrows():
        variant = row["variant"] if isinstance(row["variant"], str) else markdown.NOTHING
        cells = [row["pair"], row["benchmark"], style.LABELS[row["policy"]], variant]
        shares = ("accuracy", *(f"gain_{name}" for name in MEAN_VERSUS))
        for metric, digits, scale in [*((each, 1, 100) for each in shares), *((each, 3, 1) for each in RANKED)]:
            value, low, high = (row[f"{metric}{end}"] for end in ENDS)
            cells.append(markdown.with_interval(value, low, high, digits, scale))
        flops = row["decision_flops"]
        mega = markdown.NOTHING if np.isnan(flops) else f"{flops / 1e6:.3g}"
        lines.append([*cells, markdown.number(row["decision_us"], 0), mega])
    note = (
        f"Accuracy: mean over acceptance rates of {OVER}. In brackets: {style.percent(study.curves.confidence)} "
        "intervals over questions and trainings, of differences paired by question. rho, AUROC: Spearman's with the "
        "advantage, and for label 1, on held-out labelled steps. µs: scoring a step in live decoding, models included; "
        "FLOPs: twice the weights, for each token that is read for it, attention over earlier ones not counted. "
        f"{markdown.NOTHING}: no operating points, not timed, or a score that no labelled step has."
    )
    write_text(md, f"# Routers beyond the paper\n\n{note}\n\n{markdown.table(head, lines)}")


@style.styled
def draw(table: pd.DataFrame, points: pd.DataFrame, confidence: float, listed: bool = False) -> Figure:
    """Beside each panel's mean accuracies, accuracy against latency.

    table: of `routers_table`; points: `accuracy_latency.csv`.
    """
    panels = style.panels_of(table)
    figure, axes = style.panel_grid(len(panels), 2, panel=(3.9, 2.4), extra=1.3)
    for panel, (worth, timed) in zip(panels, axes, strict=True):
        rows = style.of_panel(table, *panel)
        _dots(worth, rows[rows["accuracy"].notna()].sort_values("accuracy", kind="stable"))
        style.title(worth, *panel)
        own = style.of_panel(points, *panel)
        if len(own):
            fig5.draw_panel(timed, own, fig5.TIMED, listed)
        else:
            timed.set_visible(False)
    caption = (
        f"Left: accuracy, mean over acceptance rates of {OVER}, with {style.percent(confidence)} intervals over "
        "questions and trainings; policies without operating points at all of these are left out. Right: accuracy "
        "against mean latency of a solution, as in Fig. 5, where the pair was timed. Crosses: the target's tokens, "
        "proposed by the draft and checked in one pass, for the target alone and for escalated steps."
    )
    style.legend_and_caption(figure, fig5.handles(points, fig5.TIMED), caption)
    return figure


def _dots(ax: Axes, rows: pd.DataFrame) -> None:
    places = range(len(rows))
    values = (100 * rows[f"accuracy{end}"] for end in ENDS)
    for place, policy, value, low, high in zip(places, rows["policy"], *values, strict=True):
        lengths = None if np.isnan(low) else [[max(value - low, 0)], [max(high - value, 0)]]
        ax.errorbar(
            [value], [place], xerr=lengths, fmt=style.MARKERS[policy], color=style.COLOURS[policy], markersize=4
        )
    ax.set_xlabel("mean accuracy (%)")
    ax.set_yticks(list(places), [style.LABELS[policy] for policy in rows["policy"]])
    ax.set_ylim(-0.5, max(len(rows), 1) - 0.5)


def from_study(study: Study) -> Figure:
    """The figure of a finished study."""
    table = of_study(study)
    if table["accuracy"].isna().all():
        return style.notice(f"No policy has operating points at all acceptance rates of {OVER}.")
    points = style.in_study_order(read_csv(StudyPaths.of(study).curves("accuracy_latency")), study)
    return draw(table, points, study.curves.confidence, style.is_listed(study))
