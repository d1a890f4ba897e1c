"""What `arbitrage plan` prints: every stage and the whole, GPU hours apart from core hours, and what it rests on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.generate import with_estimates
from typer.testing import CliRunner

from arbitrage.cli import app
from arbitrage.config.study import Study
from arbitrage.planning import plan as planning
from arbitrage.planning.estimates import Cost

ROOT = Path(__file__).resolve().parents[3]
BOUND = [Cost("label small", 4, {"draft": 12_300.0, "prm": 900.0}, 4 * 3600.0, 8 * 3600.0, gpus=2)]
PILOT = [
    Cost("label small", 4, {"draft": 10_000.0, "prm": 800.0}, 7200.0, 7200.0, gpus=2, error=0.2, questions=12),
    Cost("dataset small", 1, {}, 1800.0, 1800.0, cores=3, disk=5e6, error=0.1, questions=12, memory=9_500_000_000),
]


class FakePlan:
    """A plan of two rounds; the second is interrupted where `stop` is set."""

    stop = False

    def __init__(self, study: Study, questions: int, folder: Path, say: object) -> None:
        assert (study.study, questions) == ("lab", 12) and folder.is_dir()
        self.known = BOUND

    def rounds(self) -> Iterator[str]:
        yield "bound"
        self.known = PILOT
        if self.stop:
            raise KeyboardInterrupt
        yield "estimate from 12 questions of each set"

    def costs(self) -> list[Cost]:
        return self.known


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    monkeypatch.setattr(planning, "Plan", FakePlan)
    monkeypatch.setattr("arbitrage.runtime.locks.guard_study", lambda folder: None)
    monkeypatch.chdir(ROOT)
    elsewhere = tmp_path / "study.yaml"
    elsewhere.write_text(f"results: {tmp_path}\n")
    return ["--study", "config.yaml", "--study", str(elsewhere), "--questions", "12"]


def lines(output: str) -> dict[str, list[str]]:
    """The last table's rows by their first cell."""
    return {line.split("  ")[0].strip(): line.split() for line in output.splitlines() if line.strip()}


def test_a_bound_comes_first_and_the_last_table_has_stages_totals_and_what_they_rest_on(study: list[str]) -> None:
    done = CliRunner().invoke(app, ["plan", *study], catch_exceptions=False)
    assert done.exit_code == 0
    first, last = done.output.split("estimate from")
    # jobs, draft tokens, PRM calls, hours a job, GPU hours (4 to 8 h on 2), where from
    assert lines(first)["label small"][2:] == ["4", "12.3k", "900", "1-2", "8-16", "GPU", "bound"]
    rows = lines(last)
    assert rows["label small"][2:] == ["4", "10k", "800", "0.5", "4", "GPU", "20%", "12"]
    assert rows["dataset small"][2:] == ["1", "0.5", "1.5", "core", "5", "10%", "12"]  # 0.5 h on 3 threads; 5 MB
    assert rows["all"] == ["all", "5", "10k", "800", "0.5", "4", "GPU", "5", "18%", "12"]
    text = " ".join(last.split())
    assert "Not counted: questions" in text
    assert "A job of the pilot held 9.5 GB; the study asks for 8 GB on a cluster: set resources.dataset.mem_gb" in text


def test_stopped_it_shows_what_is_known_by_then(study: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakePlan, "stop", True)
    done = CliRunner().invoke(app, ["plan", *study])
    assert done.exit_code == 130
    assert lines(done.output.split("stopped early")[1])["label small"][3] == "10k"


def test_an_estimate_by_rates_says_where_each_number_is_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, ["plan", "--study", "studies/llama3-8b-70b.yaml", "--on", "8xh100"])
    assert done.exit_code == 0
    rows, text = lines(done.output), " ".join(done.output.split())
    assert rows["label 8b-70b"][2] == "12" and rows["label 8b-70b"][-4] == "4"  # jobs; GPUs of one
    low, high = ([float(value) for value in cell.split("-")] for cell in rows["label 8b-70b"][-2:])
    assert low == pytest.approx(
        [8 * hours for hours in high], rel=0.06
    )  # GPU hours, and hours on all eight; printed in two digits
    for word in ("Cited: ", "nvidia.com/en-us/data-center/h100/", "Assumed: ", "Of the study: ", "Not counted: "):
        assert word in text
    refused = CliRunner().invoke(app, ["plan", "--study", "studies/llama3-8b-70b.yaml", "--on", "8xfast"])
    assert refused.exit_code and "known are H100, H200" in str(refused.exception)


def test_the_estimates_in_the_page_are_those_that_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    assert page.count("--on") > 5
    assert with_estimates(page) == page, "run `make docs`"
