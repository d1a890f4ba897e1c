"""Does a `steps` table agree with itself: scores, advantages, labels, and one row a step from the first on?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TOLERANCE = 1e-9


def step_faults(table: pa.Table, samples: int) -> Iterator[str]:
    """Faults of a pair's `steps`, one a kind; samples: target steps a context."""
    counts = {name: pc.list_value_length(table.column(name)).to_numpy() for name in ("target_steps", "target_scores")}
    if any((count != samples).any() for count in counts.values()):
        yield f"target_steps or target_scores have not {samples} entries in each row; the study's steps.target_samples"
        return
    targets = pc.list_flatten(table.column("target_scores")).to_numpy().reshape(len(table), samples)
    draft, advantage = (table.column(name).to_numpy() for name in ("draft_score", "advantage"))
    for name, scores in (("draft_score", draft), ("target_scores", targets)):
        if outside := int((~((scores >= 0) & (scores <= 1))).sum()):
            yield f"{outside} of {scores.size} {name} are not between 0 and 1"
    if wrong := int((~(np.abs(targets.mean(axis=1) - draft - advantage) <= TOLERANCE)).sum()):
        yield f"{wrong} of {len(table)} advantages are not mean(target_scores) - draft_score"
    if wrong := int((table.column("label").to_numpy() != (advantage > 0)).sum()):
        yield f"{wrong} of {len(table)} labels disagree with their advantage"
    index = table.column("step_index").to_numpy()
    if wrong := int((pc.list_value_length(table.column("history")).to_numpy() != index).sum()):
        yield f"{wrong} of {len(table)} histories have not as many steps as step_index says"
    questions = table.column("question_id").to_pandas().to_numpy()
    first = np.append(True, questions[1:] != questions[:-1])
    if wrong := int((index != np.where(first, 0, np.append(0, index[:-1] + 1))).sum()):
        yield f"{wrong} of {len(table)} rows do not follow the step before them (step_index 0, 1, 2 ...)"
