"""Tables 1 to 3 and C.1: ours beside the paper's."""

from pathlib import Path
from types import ModuleType

import pytest

from arbitrage.figures import table1, table2, table3, tableC1
from arbitrage.io.csv_tables import read_csv
from tests.conftest import World


@pytest.mark.parametrize(
    ("table", "variants", "paper_rho"),
    [
        (table1, ["default", "four-class", "four-class-ordinal", "ten-class"], [0.1508, 0.1417, 0.1355, 0.1337]),
        (table2, ["default", "no-annotation"], [0.1508, 0.1305]),
        (table3, ["default", "no-balance"], [0.1673, 0.1587]),
    ],
)
def test_a_table_has_the_papers_rows_with_our_variants(
    world: World, tmp_path: Path, table: ModuleType, variants: list[str], paper_rho: list[float]
) -> None:
    table.write(world.study, tmp_path / "t.csv", tmp_path / "t.md")
    found = read_csv(tmp_path / "t.csv")
    assert found["variant"].dropna().tolist() == variants
    assert found["paper_rho"].dropna().tolist() == paper_rho
    assert found["row"].tolist()[-2:] == ["rsd (-sd)", "draft confidence"]
    assert found["rho"].notna().all()
    quality = read_csv(world.folder / "router" / "quality.csv")
    quality = quality[quality["pair"] != "all"].set_index("ranking")
    for row in found.dropna(subset="variant").itertuples():
        assert row.rho == quality.loc[row.variant, "rho"]
        assert row.accuracy_1_low == quality.loc[row.variant, "accuracy_1_low"]
    text = (tmp_path / "t.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(found)
    assert f"{paper_rho[0]:.4f}" in lines[2]


def test_a_variant_that_was_not_trained_leaves_our_cells_empty(world: World, tmp_path: Path) -> None:
    router = world.study.router.model_copy(update={"variants": {"default": world.study.router.variants["default"]}})
    table1.write(world.study.model_copy(update={"router": router}), tmp_path / "t.csv", tmp_path / "t.md")
    found = read_csv(tmp_path / "t.csv").set_index("row")
    assert found["rho"].notna()["2 classes"]
    assert found["rho"].isna()["10 classes"]
    assert found.loc["10 classes", "paper_rho"] == 0.1337
    assert "| 10 classes | – | 0.1337 | – | 71.29 | – | 71.77 |" in (tmp_path / "t.md").read_text()


def test_the_hyper_parameters_are_the_studys(world: World, tmp_path: Path) -> None:
    tableC1.write(world.study, tmp_path / "t.csv", tmp_path / "t.md")
    table = read_csv(tmp_path / "t.csv").set_index("parameter")
    assert table.loc["batch size (sequences)"].tolist() == [str(world.study.router.training.batch_size), "1024"]
    assert table.loc["seed", "ours"] == "7"
    assert "| learning rate |" in (tmp_path / "t.md").read_text()
