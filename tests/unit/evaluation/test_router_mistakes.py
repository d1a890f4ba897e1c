"""Where a router errs: counted, and the dearest first."""

import numpy as np
import pandas as pd
import pytest

from arbitrage.evaluation.router_mistakes import KINDS, SHOWN, mistakes

#          score, advantage
DECISIONS = [(0.9, 0.5), (0.1, 0.2), (0.5, 0.7), (0.4, -0.1), (0.6, -0.3), (0.8, 0.0), (0.7, 0.0), (0.2, 0.2)]


def heldout(decisions: list[tuple[float, float]], variant: str = "default") -> pd.DataFrame:
    scores, advantages = zip(*decisions, strict=True)
    rows = {"pair": "p", "variant": variant, "router_score": scores, "advantage": advantages, "draft_score": 0.4}
    return pd.DataFrame(rows | {"question_id": [f"q{n}" for n in range(len(scores))], "step_index": 3})


def test_the_dearest_come_first_and_ties_in_the_order_of_questions() -> None:
    table = mistakes(heldout(DECISIONS), {f"q{number}": "sum" for number in range(8)})
    accepts, escalations = (table[table["mistake"] == kind] for kind in KINDS)
    assert accepts["question_id"].to_list() == ["q2", "q1", "q7"]  # at 0.5 itself a step is accepted
    assert escalations["question_id"].to_list() == ["q4", "q5", "q6"]
    assert accepts["rank"].to_list() == [1, 2, 3] and set(table["family"]) == {"sum"}
    assert accepts["target_score"].to_list() == pytest.approx([1.1, 0.6, 0.6])


def test_all_are_counted_though_few_are_shown() -> None:
    table = mistakes(heldout([(0.1, 0.1)] * 25 + [(0.9, 0.0)] * 2 + [(0.9, -0.5)]), {})
    accepts, escalations = (table[table["mistake"] == kind] for kind in KINDS)
    assert len(accepts) == SHOWN and set(accepts["mistakes"]) == {25} and set(table["steps"]) == {28}
    assert accepts["lost"].iloc[0] == pytest.approx(2.5)
    assert escalations[["mistakes", "in_vain"]].iloc[0].to_list() == [3, 2]
    assert escalations["lost"].iloc[0] == pytest.approx(0.5)


def test_a_router_without_mistakes_has_a_row_that_says_so() -> None:
    table = mistakes(pd.concat([heldout([(0.9, 0.1), (0.1, 0.0)]), heldout(DECISIONS, "other")]), {"q0": "sum"})
    own = table[table["variant"] == "default"]
    assert own["mistake"].to_list() == list(KINDS) and set(own["mistakes"]) == {0}
    assert own[["rank", "question_id", "advantage"]].isna().all(axis=None)
    assert np.isfinite(table.loc[table["variant"] == "other", "advantage"]).all()
