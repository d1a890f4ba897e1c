"""CLAIMS.md: verdicts as the summary has them, times as the records have them."""

from arbitrage.publishing.claims_card import claims_card
from arbitrage.report.verdicts import AGREES, INCONCLUSIVE, Evidence, Verdict
from tests.unit.publishing.conftest import Results

HARDWARE = {"cores": 2, "cpu": "a processor", "gpus": ["a card"]}


def test_a_claim_has_its_value_command_files_and_time(results: Results) -> None:
    claim = Evidence("Fig. A.1: the target is better", "41 %", 0.001, 0.999, data="curves/comparison.csv")
    other = Evidence("Tab. 3: balancing ranks better", "rho 0.1", 0.4, 0.6, data="router/quality.csv")
    verdicts = [Verdict(claim, AGREES, "It does."), Verdict(other, INCONCLUSIVE, "Who knows.")]
    lines = claims_card(results.study, verdicts, results.jobs, HARDWARE).splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith(("| Fig.", "| Tab."))]
    command = "`snakemake --cores all results/s/{} --configfile study.json`"
    assert rows[0] == [
        *("Fig. A.1: the target is better", "41 %", "agrees", command.format("curves/comparison.csv")),
        "`curves/comparison.csv`, `figures/figA1.pdf`",
        "2 min 48 s in 7 jobs",  # 2 + 40 + 1 + 1.5 + 100 + 20 + 3 s, and not the 9 s of a figure
    ]
    assert rows[1][3:5] == [command.format("router/quality.csv"), "`router/quality.csv`, `tables/table3.md`"]
    assert any("measured on 2 cores of a processor, a card;" in line for line in lines)
