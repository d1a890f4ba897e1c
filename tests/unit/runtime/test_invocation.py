"""The command line of Snakemake tells what it was asked for before the workflow does."""

import pytest

from arbitrage.runtime.invocation import only


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--cores all zoo", True),
        ("-n zoo --config study=mine", True),
        ("--cores 2 -- zoo_prm", True),
        ("--cores 2 --target-jobs zoo_model:role=draft --allowed-rules zoo_model", True),
        ("--cores all", False),
        ("--lint", False),
        ("--cores all zoo figures", False),
        ("--cores all --config study=zoo", False),
        ("--cores 2 --target-jobs steps_shard:pair=small,shard=0", False),
    ],
)
def test_the_zoo_is_known_to_be_all_that_is_asked_for(
    words: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["snakemake", *words.split()])
    assert only("zoo") is expected
