"""What `arbitrage plan` prints: every stage and the whole, GPU hours apart from core hours, what it rests on."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from arbitrage.cli import app
from arbitrage.config.study import Study
from arbitrage.planning import plan as planning
from arbitrage.planning.costs import Cost
from arbitrage.planning.estimates import Amount

ROOT = Path(__file__).resolve().parents[3]


def test_the_table_tells_stages_totals_and_what_they_rest_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hour = Amount(3600.0, 360.0)
    costs = [
        Cost("steps small", 4, {"draft": Amount(12_300, 2_460), "prm": Amount(900, 90)}, hour.times(8), 2, 1),
        Cost("router data small", 1, {}, hour.times(0.5), 0, 3, disk=Amount(5e6)),
        Cost("router training small", 1, {}, hour.times(0.5), 0, 1, disk=Amount(2e6), scratch=12e6),
    ]

    def planned(study: Study, questions: int, say: object, importing_s: float) -> list[Cost]:
        assert (study.study, questions) == ("lab", 12) and 0 < importing_s < 10_000
        return costs

    monkeypatch.setattr(planning, "plan", planned)
    monkeypatch.chdir(ROOT)
    elsewhere = tmp_path / "study.yaml"
    elsewhere.write_text(f"results: {tmp_path}\n")
    studies = ["--study", "config.yaml", "--study", str(elsewhere)]
    done = CliRunner().invoke(app, ["plan", *studies, "--questions", "12"], catch_exceptions=False)
    assert done.exit_code == 0
    lines = {line.split("  ")[0].strip(): line.split() for line in done.output.splitlines() if line.strip()}
    # jobs, draft tokens, PRM calls, hours a job, GPU hours (8 h on 2), the largest doubt: the draft's tokens
    assert lines["steps small"][2:] == ["4", "12.3k", "900", "2", "16", "20%"]
    assert lines["router data small"][3:] == ["1", "0.5", "1.5", "5", "10%"]  # core hours: 0.5 h on 3 threads; 5 MB
    assert lines["all"][1:] == ["6", "12.3k", "900", "1.5", "2", "16", "7", "20%"]
    told = " ".join(done.output.split())
    assert "From 12 questions" in told and "no trained router yet" in told and "Not counted" in told
    assert "its checkpoints take 12 MB besides" in told
