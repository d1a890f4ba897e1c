"""What one trajectory amounts to: steps, tokens, acceptance and outcomes, as one flat row a trajectory.

Every number of the evaluation is a mean of these over questions. They are computed on Arrow's nested columns, step by
step arrays and sums by row, because a study has hundreds of thousands of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from arbitrage.config.pipeline import Generation
from arbitrage.config.policies import THRESHOLD_POLICIES
from arbitrage.evaluation.bootstrap import Floats
from arbitrage.evaluation.ungraded import without_ungraded
from arbitrage.io.tables import TableError, read_arrow

KEYS = ["pair", "benchmark", "policy", "router_seed", "question_id", "threshold_low"]


def trajectory_counts(paths: Sequence[Path]) -> pd.DataFrame:
    """One row a trajectory of the tables at `paths`, sorted by KEYS: what Figs. 3 to 5 count. Columns besides the keys:

    threshold_high, correct (0 or 1), answered (0 or 1), steps, escalations, acceptance (share of steps the draft
    wrote), text_acceptance (the same, where an escalated step whose text is the draft's own counts as accepted),
    ungraded (questions of the pair and benchmark that are left out), chosen_tokens, chosen_draft_tokens,
    better / equal / worse (escalated steps with st >, =, < sd), and what the decoder does at batch 1 for this
    trajectory: draft_tokens, target_tokens, catch_up_tokens (accepted steps the target has to read before it writes),
    judged_tokens (steps a scorer reads), escalations_before_end (those that another step follows); tokens without the
    prompt_tokens. router_seed is -1 without a router.

    Raises TableError where a table is not one of trajectories, where there is no trajectory, where a trajectory has no
    step, and where an escalated step has no target score.
    """
    tables = [read_arrow(path, "trajectories") for path in paths]
    if not tables or not sum(table.num_rows for table in tables):
        raise TableError(f"no trajectories in {[str(path) for path in paths]}; run the stage `trajectories` again")
    table = pa.concat_tables(tables)
    frame = table.drop_columns(["study", "steps", "answer", "correct"]).to_pandas()
    frame["correct"] = table["correct"].cast(pa.float64()).to_numpy()  # NaN where ungraded
    frame["router_seed"] = table["router_seed"].fill_null(-1).to_numpy()
    frame["answered"] = pc.is_valid(table["answer"]).to_numpy().astype(np.float64)
    frame = frame.assign(**_count_steps(table["steps"].combine_chunks(), frame))
    return without_ungraded(frame).sort_values(KEYS, kind="stable", ignore_index=True)


def _count_steps(steps: pa.ListArray, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    lengths = pc.list_value_length(steps).fill_null(0).to_numpy()
    if not lengths.all():
        row = frame.iloc[int(np.argmin(lengths))]
        raise TableError(
            f"question {row.question_id} has a {row.policy} trajectory without steps; every solution has one or more"
        )
    owner = np.repeat(np.arange(len(lengths)), lengths)
    flat = steps.flatten()

    def column(name: str) -> np.ndarray:
        return np.asarray(pc.struct_field(flat, name).to_numpy(zero_copy_only=False))

    def per_row(values: np.ndarray) -> Floats:
        return np.asarray(np.bincount(owner, weights=values, minlength=len(lengths)), dtype=np.float64)

    escalated = np.asarray(column("model") == "target")
    drafted = np.asarray(pc.is_valid(pc.struct_field(flat, "draft_step")))
    words = [pc.utf8_rtrim_whitespace(pc.struct_field(flat, name)) for name in ("text", "draft_step")]
    identical = escalated & np.asarray(pc.fill_null(pc.equal(*words), False).to_numpy(zero_copy_only=False))
    draft_tokens, target_tokens = column("draft_tokens"), column("target_tokens") * escalated
    draft_score, target_score = column("draft_score").astype(np.float64), column("target_score").astype(np.float64)
    by_threshold = frame["policy"].isin(THRESHOLD_POLICIES).to_numpy()[owner]
    unscored = by_threshold & escalated & (np.isnan(draft_score) | np.isnan(target_score))
    if unscored.any():
        row = frame.iloc[int(owner[np.argmax(unscored)])]
        raise TableError(
            f"question {row.question_id}, policy {row.policy}: an escalated step has no draft or target score; "
            f"both are needed to tell wasted deferrals. Run the stage `trajectories` again"
        )
    position = np.arange(len(owner))
    end = np.cumsum(lengths)[owner] - 1  # of the step's own trajectory
    last_escalation = np.full(len(lengths), -1)
    np.maximum.at(last_escalation, owner[escalated], position[escalated])
    compared = escalated & drafted & by_threshold
    return {
        "steps": lengths.astype(np.float64),
        "escalations": per_row(escalated),
        "acceptance": per_row(~escalated) / lengths,
        "text_acceptance": per_row(~escalated | identical) / lengths,
        "chosen_tokens": per_row(np.where(escalated, target_tokens, draft_tokens)),
        "chosen_draft_tokens": per_row(draft_tokens * ~escalated),
        "better": per_row(compared & (target_score > draft_score)),
        "equal": per_row(compared & (target_score == draft_score)),
        "worse": per_row(compared & (target_score < draft_score)),
        "draft_tokens": per_row(draft_tokens),
        "target_tokens": per_row(target_tokens),
        "catch_up_tokens": per_row(draft_tokens * (~escalated & (position < last_escalation[owner]))),
        # Each draft step is read by the scorer; an escalated step only on the way to judging the next one.
        "judged_tokens": per_row(draft_tokens + target_tokens * (position < end)),
        "escalations_before_end": per_row(escalated & (position < end)),
    }


def ending_counts(paths: Sequence[Path], generation: Generation) -> pd.DataFrame:
    """How the solutions of the trajectory tables at `paths` ended; one row a pair, benchmark, policy and ending.

    Columns besides these: solutions (distinct trajectories), unanswered (those of them without an answer). Endings:

    - `eos`: the model ended it;
    - `max_step_tokens`: its last step reached that limit, which ends the whole solution;
    - `max_steps`, `max_tokens`: it reached that limit, or with `max_tokens` the end of a model's context.
    """
    frames = []
    for path in paths:
        table = read_arrow(path, "trajectories")
        frame = table.select(["pair", "benchmark", "policy"]).to_pandas()
        steps = table["steps"].combine_chunks()
        count = pc.list_value_length(steps).to_numpy()
        last = pc.list_flatten(steps).take(pa.array(np.cumsum(count) - 1))
        author, reason = (pc.struct_field(last, name).to_pandas() for name in ("model", "finish_reason"))
        draft, target = (pc.struct_field(last, name).to_numpy() for name in ("draft_tokens", "target_tokens"))
        tokens = np.where(author == "target", target, draft)
        by_step = (reason == "length") & (tokens >= generation.max_step_tokens)
        by_steps = (reason == "separator") & (count >= generation.max_steps)
        endings = {"eos": reason == "eos", "max_step_tokens": by_step, "max_steps": by_steps}
        frame["ending"] = np.select(list(endings.values()), list(endings), default="max_tokens")
        frame["unanswered"] = pc.is_null(table["answer"]).to_numpy().astype(int)
        frames.append(frame)
    grouped = pd.concat(frames).groupby(["pair", "benchmark", "policy", "ending"])["unanswered"]
    return grouped.agg(solutions="size", unanswered="sum").reset_index()
