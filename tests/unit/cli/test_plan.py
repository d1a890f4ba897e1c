"""What `arbitrage plan` prints: every stage and the whole, GPU hours apart from core hours, and what it rests on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.generate import with_estimates
from typer.testing import CliRunner

from arbitrage.cli import app
from arbitrage.config.load import load_study
from arbitrage.config.study import Study
from arbitrage.planning import plan as planning
from arbitrage.planning.estimates import Cost

ROOT = Path(__file__).resolve().parents[3]
BOUND = [Cost("label small", 4, {"draft": 12_300.0, "prm": 900.0}, 4 * 3600.0, 8 * 3600.0, gpus=2)]
PILOT = [
    Cost("label small", 4, {"draft": 10_000.0, "prm": 800.0}, 7200.0, 7200.0, gpus=2, error=0.2, questions=12),
    Cost("dataset small", 1, {}, 1800.0, 1800.0, cores=3, disk=5e6, error=0.1, questions=12, memory=9_500_000_000),
]


def labelling(study: Study) -> Cost:
    """120 s of starting a job, and 9,000 s for all questions."""
    jobs = study.steps_shards
    return Cost("label small", jobs, low_s=jobs * 120.0 + 6000, high_s=jobs * 120.0 + 9000, start_s=120.0)


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

    def costs(self, study: Study | None = None) -> list[Cost]:
        return self.known if study is None else [labelling(study)]


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


def test_how_to_cut_it_is_said_in_lines_to_paste(study: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["plan", *study, "--hours-per-job", "1"], catch_exceptions=False)
    table, _, rest = done.output.partition("cut into jobs of at most about 1 hours")[2].partition("Write into")
    # three jobs of 120 s and a third of 9,000 s; the sweep has no estimate
    assert lines(table)["label small"][2:] == ["2", "3", "0.59-0.87", "0.033", "1.8-2.6"]
    sample = load_study([Path("config.yaml")], {}).questions.sample
    assert f"\nsteps: {{questions_per_job: {-(-sample // 3)}}}\n" in rest and "\nsweep: {" not in rest
    assert "sweep: nothing is known of its jobs yet; give the pilot time, or more --questions" in rest
    whole = CliRunner().invoke(app, ["plan", *study, "--hours-per-job", "5"], catch_exceptions=False).output
    assert lines(whole.split("cut into")[1])["label small"][3] == "1" and "one job is enough" in whole


def test_jobs_shorter_than_their_start_are_answered_by_the_length_to_ask_for(study: list[str]) -> None:
    done = CliRunner().invoke(app, ["plan", *study, "--hours-per-job", "0.03"], catch_exceptions=False)
    said = " ".join(done.output.split())
    assert "steps: no job of label small takes 0.03 hours or less: starting alone takes 0.033; ask for longer" in said
    assert "--hours-per-job 0.33" in said and "Write into" not in said
    stopped = " ".join(CliRunner().invoke(app, ["plan", *study, "--hours-per-job", "0.034"]).output.split())
    assert "no job of label small takes 0.034 hours or less: with a single question it takes" in stopped
    refused = CliRunner().invoke(app, ["plan", *study, "--hours-per-job", "0"])
    assert refused.exit_code == 2 and "greater than or equal" in refused.output


def test_stopped_it_says_how_to_cut_what_is_known_by_then(study: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakePlan, "stop", True)
    done = CliRunner().invoke(app, ["plan", *study, "--hours-per-job", "1"])
    assert done.exit_code == 130 and "steps: {questions_per_job:" in done.output.split("stopped early")[1]


def test_a_study_cut_as_it_is_told_has_the_jobs_it_was_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    words = ["plan", "--study", "studies/llama3-1b-8b.yaml", "--on", "4xH100"]
    said = CliRunner().invoke(app, [*words, "--hours-per-job", "0.8"], catch_exceptions=False).output
    table, _, rest = said.partition("cut into jobs")[2].partition("Write into")
    jobs = tmp_path / "jobs.yaml"
    jobs.write_text("\n".join(line for line in rest.splitlines() if line.startswith(("steps: ", "sweep: "))))
    again = lines(CliRunner().invoke(app, [*words, "--study", str(jobs)], catch_exceptions=False).output)
    told = {stage: cells for stage, cells in lines(table).items() if stage.endswith(" 1b-8b")}
    assert len(told) == 3
    for stage, cells in told.items():
        at = len(stage.split())
        assert cells[at + 1] == again[stage][at] and cells[at + 2] in again[stage]  # jobs, and hours of one


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
