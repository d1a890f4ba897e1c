"""Class shares and lengths of the routers' data."""

from pathlib import Path

import pandas as pd
import pytest

from arbitrage.evaluation.label_shares import label_shares, write_label_shares
from arbitrage.evaluation.step_lengths import SOLUTION_STEPS, STEP_TOKENS, lengths
from arbitrage.io.tables import TableError
from tests.conftest import World
from tests.support import synthetic


def test_what_balance_takes_away_is_counted_by_label_however_fine_the_classes() -> None:
    reports = {("p", f"{count}"): synthetic.dataset_report(classes=count) for count in (2, 4, 10)}
    table = label_shares(reports)
    training = table[table["part"] == "training"]
    assert training[["label_1", "label_0", "dropped_1", "dropped_0"]].to_numpy().tolist() == [[200, 200, 0, 600]] * 3
    held_out = table[table["part"] == "held out"]
    assert held_out[["label_1", "label_0", "dropped_1", "dropped_0"]].to_numpy().tolist() == [[50, 200, 0, 0]] * 3
    assert set(training["too_long"]) == {30} and set(held_out["too_long"]) == {5}


def test_routers_that_read_scalars_have_no_lengths_of_inputs() -> None:
    table = label_shares({("p", "s"): synthetic.dataset_report("scalars", "weighted")})
    assert table[["tokens_p50", "tokens_max"]].isna().all(axis=None)
    assert table.loc[0, ["label_1", "label_0", "dropped_0"]].to_list() == [200, 800, 0]


def test_a_report_that_cannot_be_read_is_named_with_the_remedy(world: World, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"default/dataset/report.json: cannot be read .* run the study again"):
        write_label_shares(world.study.model_copy(update={"results": str(tmp_path)}), tmp_path / "shares.csv")


def test_lengths_are_counted_exactly() -> None:
    steps = pd.DataFrame({"question_id": ["a", "a", "b"], "label": [1, 0, 0], "tokens": [7, 5, 5]})
    table = lengths(steps)
    own = table[table["of"] == STEP_TOKENS]
    assert own[["label", "value", "count"]].to_numpy().tolist() == [[0, 5, 2], [1, 7, 1]]
    solutions = table[table["of"] == SOLUTION_STEPS]
    assert solutions[["value", "count"]].to_numpy().tolist() == [[1, 1], [2, 1]] and solutions["label"].isna().all()
