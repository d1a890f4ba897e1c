"""The summary's section on latency: conditions of the timing, the cost model's error, speed-ups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from arbitrage.config.study import Study
from arbitrage.evaluation.cost_model import CostModel
from arbitrage.evaluation.estimates import ALL
from arbitrage.evaluation.speedup import BOTTOM, TOP
from arbitrage.figures.markdown import number, table, with_interval
from arbitrage.figures.style import LABELS
from arbitrage.report import paper

BUSY_LOAD = 0.25  # other processes' share of the cores, on average, beyond which a machine was not quiet


def busy_lines(pair: str, conditions: Mapping[str, Any]) -> list[str]:
    """Why the timing of a pair cannot be trusted, from the conditions in its provenance record; none where it can."""
    lines = []
    share = conditions.get("other_cpu_share")
    if share is not None and share > BUSY_LOAD:
        lines.append(f"other processes took {share:.0%} of the machine's cores while pair {pair} was timed")
    others = max((gpu.get("other_processes", 0) for gpu in conditions.get("gpus", [])), default=0)
    if others:
        lines.append(f"{others} other processes were on the GPU while pair {pair} was timed")
    return lines


def eager_lines(study: Study, pair: str) -> list[str]:
    """Why the timing of a pair says little of its models' sizes, where transformers ran them on a GPU."""
    names = study.eager_on_gpu(pair)
    if not names:
        return []
    return [
        f"transformers ran {' and '.join(names)} of pair {pair} on a GPU, where a token's time is mostly starting "
        "kernels and follows the number of layers, not the size of the model"
    ]


def latency_section(study: Study, speedup: pd.DataFrame, models: Sequence[CostModel], doubts: Sequence[str]) -> str:
    """Markdown; speedup: `speedup.csv`, empty where no pair is timed; doubts: why times cannot be trusted."""
    text = "## Latency\n\n"
    if not models:
        return text + "No pair of this study is timed.\n"
    for line in doubts:
        text += f"**Nothing is concluded from these times:** {line}.\n\n"
    for model in models:
        text += _model(model)
    untimed = [name for name, pair in study.pairs.items() if not pair.latency]
    if untimed:
        text += f"Not timed: {', '.join(untimed)} (weights rounded in place run at the speed of full precision).\n\n"
    text += (
        f"Speed-up at matched accuracy, by the cost model (the paper: up to {paper.SPEEDUPS}), its own error in every "
        "interval. `average` runs over the accuracies that both curves cover, but for the lowest "
        f"{BOTTOM:.0%} and the highest {1 - TOP:.0%} of that range; the others are the draft's accuracy plus a share "
        "of the gap to the target's. An interval that ends at 0 or at infinity (inf): in so many resamples the policy, "
        "or what it is compared with, never gets there. `largest` comes last and is no headline: the largest of many "
        "noisy ratios is above 1 for two equal policies; it has been corrected for that, and has no interval, since "
        "none would hold what it promises.\n\n"
    )
    return text + _speedups(speedup[speedup["metric"] != "token_level"]) + _token_level(speedup)


def _model(model: CostModel) -> str:
    text = f"Cost model of pair {model.pair}, fitted to {model.fitted_questions} timed questions. "
    if model.setting_errors:
        errors = [abs(setting["error"]) for setting in model.setting_errors]
        text += (
            f"Fitted without {model.heldout_questions} of them and tested on these: median error "
            f"{model.heldout_median_error:.1%} a solution, mean {model.heldout_mean_error:.1%}; the mean latency of a "
            f"setting is off by {sum(errors) / len(errors):.1%} on average, {max(errors):.1%} at most. "
        )
    text += f"{model.same_solution:.0%} of the timed solutions are the sweep's own. "
    for name, ratio in model.alone.items():
        benchmark, policy = name.rsplit("/", 1)
        text += f"On {benchmark} {LABELS[policy]} takes {ratio:.2f} of its stepped time in one generation. "
    return text.rstrip() + "\n\n"


def _token_level(speedup: pd.DataFrame) -> str:
    """The target alone with the draft's tokens checked: what a policy has to beat where no accuracy may be lost."""
    rows = speedup[speedup["metric"] == "token_level"]
    if rows.empty:
        return ""
    text = (
        "\nToken-level speculative decoding of the same pair (the draft proposes tokens, one pass of the target checks "
        "them: the target's own text, so nothing is lost), measured on the timed questions, beside the target alone in "
        "one generation:\n\n"
    )
    cells = [
        [row["pair"], row["benchmark"], f"{row['level']:.0f}", _cell(rows.loc[[index]]), f"{row['questions']:.0f}"]
        for index, row in rows.iterrows()
    ]
    return text + table(["pair", "benchmark", "draft tokens a round", "times as fast", "timed questions"], cells)


def _speedups(speedup: pd.DataFrame) -> str:
    levels = sorted(speedup[speedup["metric"] == "at_accuracy"]["level"].unique())
    head = ["pair", "benchmark", "policy", "over", "average", *(f"{level:.0%} of the gap" for level in levels)]
    rows: list[list[str]] = []
    notes: list[str] = []
    for key, own in speedup.groupby(["pair", "benchmark", "policy", "against"], sort=False):
        pair, benchmark, policy, against = map(str, key)
        parts = [own[own["metric"] == "typical"]]
        parts += [own[(own["metric"] == "at_accuracy") & (own["level"] == level)] for level in levels]
        largest = own[own["metric"] == "largest"]["value"]
        cells = [*map(_cell, parts), number(largest.iloc[0], 2) if len(largest) else ""]
        rows.append([pair, benchmark, LABELS[policy], LABELS[against], *cells, f"{own['questions'].iloc[0]:.0f}"])
        if pair != ALL:
            empty = own[own["value"].isna()]
            for reason, lacking in empty.groupby("reason", sort=False):
                columns = {"typical": "average", "largest": "largest"}
                names = ", ".join(
                    columns.get(row.metric, f"{row.level:.0%} of the gap") for row in lacking.itertuples()
                )
                notes.append(f"- {pair}, {benchmark}, {LABELS[policy]} over {LABELS[against]}, {names}: {reason}\n")
    text = table([*head, "largest", "questions"], rows)
    return text + ("\nWithout a value:\n\n" + "".join(notes) if notes else "")


def _cell(part: pd.DataFrame) -> str:
    if part.empty:
        return ""
    row = part.iloc[0]
    return with_interval(row["value"], row["low"], row["high"], 2)
