"""README.md of a bundle: `datasets` reads from it which tables there are."""

from datasets import get_dataset_config_names, load_dataset
from huggingface_hub import metadata_load

from arbitrage.publishing.dataset_card import dataset_card
from tests.unit.publishing.conftest import MODEL, ROWS, Results, study_with

SUMMARY = {"study_hash": "abc", "code": {"version": "0.1.0"}}


def test_datasets_loads_every_table_by_the_card(results: Results, tmp_path) -> None:
    card = dataset_card(results.study, results.tables, [MODEL], SUMMARY, results.made_by, "10.5281/zenodo.1")
    (results.folder / "README.md").write_text(card, encoding="utf-8")
    folder = str(results.folder)
    assert get_dataset_config_names(folder) == ["steps", "examples", "trajectories"]
    expected = {
        ("steps", "train"): "steps/small.parquet",
        ("examples", "train"): "router/small/default/dataset/train.parquet",
        ("examples", "validation"): "router/small/default/dataset/validation.parquet",
        ("trajectories", "test"): "trajectories/small/lab500.parquet",
    }
    for (name, split), table in expected.items():
        loaded = load_dataset(folder, name, split=split, cache_dir=str(tmp_path / "cache"))
        assert loaded.to_list() == ROWS[table][1], table
    assert load_dataset(folder, split="train", cache_dir=str(tmp_path / "cache")).num_rows == 2  # the steps
    assert "DOI: [10.5281/zenodo.1](https://doi.org/10.5281/zenodo.1)" in card


def test_the_licence_is_ours_where_all_questions_are(results: Results) -> None:
    for study, licence in (
        (results.study, "apache-2.0"),
        (study_with(benchmarks={"math500": {"source": "math500"}}), "other"),
    ):
        card = results.folder / "README.md"
        card.write_text(dataset_card(study, results.tables, [], SUMMARY, results.made_by, None), encoding="utf-8")
        assert metadata_load(card)["license"] == licence
