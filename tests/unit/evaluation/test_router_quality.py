"""The router's quality on held-out steps, held against scipy's own Spearman."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu, spearmanr

from arbitrage.evaluation.router_quality import quality
from arbitrage.io.csv_tables import read_csv
from arbitrage.io.tables import TableError
from tests.conftest import World
from tests.support import synthetic


@pytest.fixture(scope="module")
def heldout() -> pd.DataFrame:
    return pd.DataFrame(synthetic.heldout({"default": 3.0, "blind": 0.0}, 60))


@pytest.fixture(scope="module")
def table(heldout: pd.DataFrame) -> pd.DataFrame:
    rows = quality(heldout, 200, 0.95, 1)
    return rows[rows["pair"] != "all"].set_index("ranking")


def test_rho_is_scipys_with_ties_at_their_mean_rank(heldout: pd.DataFrame, table: pd.DataFrame) -> None:
    assert heldout["advantage"].duplicated().any()
    for variant in ("default", "blind"):
        own = heldout[heldout["variant"] == variant]
        assert table.loc[variant, "rho"] == pytest.approx(spearmanr(own["router_score"], own["advantage"]).statistic)
    own = heldout[heldout["variant"] == "default"]
    assert table.loc["rsd (-sd)", "rho"] == pytest.approx(spearmanr(-own["draft_score"], own["advantage"]).statistic)


def test_a_resample_is_scipys_rho_of_the_repeated_steps() -> None:
    steps = pd.DataFrame(synthetic.heldout({"default": 2.0}, 2)).assign(question_id=["a", "b"] * 4)
    low, high = quality(steps, 400, 0.999, 0).loc[0, ["rho_low", "rho_high"]]
    single = [
        spearmanr(own["router_score"], own["advantage"]).statistic for _, own in steps.groupby("question_id")
    ]  # of two questions, a resample holds one alone, or both
    whole = spearmanr(steps["router_score"], steps["advantage"]).statistic
    assert low == pytest.approx(min([*single, whole]), abs=1e-9)
    assert high == pytest.approx(max([*single, whole]), abs=1e-9)


def test_auroc_is_the_share_of_pairs_of_steps_that_the_score_tells_apart(
    heldout: pd.DataFrame, table: pd.DataFrame
) -> None:
    own = heldout[heldout["variant"] == "default"]
    scores = {"default": own["router_score"], "rsd (-sd)": -own["draft_score"].round(1)}
    tied = quality(own.assign(draft_score=own["draft_score"].round(1)), 50, 0.95, 1).set_index("ranking")
    for ranking, found in (("default", table), ("rsd (-sd)", tied)):
        parts = [scores[ranking][own["label"] == label] for label in (1, 0)]
        pairs = len(parts[0]) * len(parts[1])
        assert found.loc[ranking, "auroc"] == pytest.approx(mannwhitneyu(*parts).statistic / pairs)
        assert found.loc[ranking, "auroc_low"] < found.loc[ranking, "auroc"] < found.loc[ranking, "auroc_high"]


def test_accuracies_are_by_label_at_one_half(heldout: pd.DataFrame, table: pd.DataFrame) -> None:
    own = heldout[heldout["variant"] == "default"]
    for label in (0, 1):
        steps = own[own["label"] == label]
        assert table.loc["default", f"accuracy_{label}"] == pytest.approx(
            ((steps["router_score"] > 0.5) == label).mean()
        )


def test_a_router_that_sees_has_rho_above_0_and_a_blind_one_has_not(table: pd.DataFrame) -> None:
    assert table.loc["default", "rho_low"] > 0
    assert table.loc["blind", "rho_low"] < 0.1
    assert table.loc["blind", "rho_gain_low"] > 0


def test_rankings_that_are_no_probabilities_have_no_accuracies(table: pd.DataFrame) -> None:
    untrained = table.loc[["rsd (-sd)", "draft confidence"]]
    assert untrained[["accuracy_0", "accuracy_1"]].isna().all().all()
    assert untrained["rho"].notna().all()
    assert not untrained["trained"].any()


def test_a_gain_is_the_difference_of_the_two_rhos(table: pd.DataFrame) -> None:
    assert table.loc["blind", "rho_gain"] == pytest.approx(table.loc["default", "rho"] - table.loc["blind", "rho"])
    assert np.isnan(table.loc["default", "rho_gain"])


def test_a_constant_score_has_no_rho(heldout: pd.DataFrame) -> None:
    flat = quality(heldout[heldout["variant"] == "default"].assign(router_score=0.4), 20, 0.95, 0)
    assert np.isnan(flat.loc[0, "rho"])
    assert flat.loc[0, "accuracy_0"] == 1


def test_no_held_out_step_is_refused(heldout: pd.DataFrame) -> None:
    with pytest.raises(TableError, match="no held-out step"):
        quality(heldout.iloc[:0], 10, 0.95, 0)


def test_the_written_table_has_every_variant(world: World) -> None:
    written = read_csv(world.folder / "router" / "quality.csv")
    assert set(world.study.router.variants) <= set(written["ranking"])
