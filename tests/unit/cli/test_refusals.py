"""What is mistyped or missing in a command given by hand: one message that says what is expected, nothing touched."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from arbitrage import cli
from arbitrage.config.load import write_resolved
from arbitrage.config.study import Study
from arbitrage.io.tables import write_table
from arbitrage.runtime.paths import StudyPaths
from tests.support import synthetic

PLACE = ["--pair", "small", "--benchmark", "lab500"]
QUESTIONS = ["--questions", "q.parquet"]
OUT = ["--out", "out.parquet"]
REFUSED = {
    "unknown-pair": (
        ["calibrate", "--pair", "smal", *PLACE[2:], "--acceptance", "0.8"],
        "no pair 'smal'; it has small",
    ),
    "unknown-benchmark": (
        ["calibrate", *PLACE[:2], "--benchmark", "lab50", "--acceptance", "0.8"],
        "no benchmark 'lab50'; it has lab500",
    ),
    "per-cent": (["calibrate", *PLACE, "--acceptance", "80"], "80: expected a share, 0 to 1, such as 0.8"),
    "no-share": (["calibrate", *PLACE, "--acceptance", "nan"], "nan: expected a share, 0 to 1, such as 0.8"),
    "no-number": (["calibrate", *PLACE, "--accuracy", "high"], "'high' is no number"),
    "no-multiple": (["calibrate", *PLACE, "--latency", "1.5"], "1.5: expected a multiple of the target's speed: 1.5x"),
    "no-aim": (["calibrate", *PLACE], "got 0 aims; give one of --acceptance, --accuracy and --latency"),
    "two-aims": (
        ["calibrate", *PLACE, "--acceptance", "0.8", "--accuracy", "0.5"],
        "got 2 aims; give one of --acceptance, --accuracy and --latency",
    ),
    "no-threshold-file": (
        ["solve", "--question", "1 + 1?", "--threshold", "no.json"],
        "'no.json' is neither a number nor a file of `arbitrage calibrate`",
    ),
    "no-threshold": (
        ["calibrate", *PLACE, "--acceptance", "0.8", "--policy", "draft_only"],
        "'draft_only' is not one of 'rsd', 'oracle', 'router'",
    ),
    "not-swept": (
        ["calibrate", *PLACE, "--acceptance", "0.8"],
        "has no router, only draft_only, rsd; add router to sweep.policies",
    ),
    "serve-open": (["serve", "--host", "0.0.0.0"], "others can reach it; set ARBITRAGE_API_KEY"),
    "serve-router": (
        ["serve", "--port", "0"],
        "router.json: missing; expected a directory that the router stage wrote",
    ),
    "serve-two": (
        ["serve", "--threshold", "0.3", "--acceptance", "0.8"],
        "given beside --threshold; give one",
    ),
    "serve-not-swept": (["serve", "--acceptance", "0.8"], "has no router, only draft_only, rsd"),
    "serve-no-benchmark": (["serve", "--acceptance", "0.8", "--benchmark", "x"], "no benchmark 'x'; it has lab500"),
    "serve-no-threshold": (["serve", "--policy", "draft_only", "--acceptance", "0.8"], "draft_only has no threshold"),
    "serve-policy": (
        ["serve", "--policy", "rsd", "--policy", "routr"],
        "'routr' is not one of draft_only, target_only",
    ),
    "serve-nan": (["serve", "--threshold", "nan"], "nan: expected a finite number, such as 0.5"),
    "solve-pair": (["solve", "--question", "1 + 1?", "--pair", "smal"], "no pair 'smal'; it has small"),
    "solve-policy": (
        ["solve", "--question", "1 + 1?", "--policy", "routr"],
        "'routr' is not one of 'draft_only', 'target_only', 'rsd'",
    ),
    "solve-router": (
        ["solve", "--question", "1 + 1?"],
        "router.json: missing; expected a directory that the router stage wrote. Run the study, which trains one (the "
        "lab: make reproduce), or name another directory (--router)",
    ),
    "label-shard": (
        ["label", *PLACE[:2], "--shard", "2", *QUESTIONS, *OUT],
        "there is no shard 2; the study makes 2: give one of 0 to 1",
    ),
    "sweep-shard": (
        ["sweep", *PLACE, "--shard", "3", *QUESTIONS, *OUT, "--router", "r"],
        "there is no shard 3; the study makes 3: give one of 0 to 2",
    ),
    "sweep-benchmark": (
        ["sweep", *PLACE[:2], "--benchmark", "lab50", "--shard", "0", *QUESTIONS, *OUT, "--router", "r"],
        "no benchmark 'lab50'; it has lab500",
    ),
    "sweep-router": (
        ["sweep", *PLACE, "--shard", "0", *QUESTIONS, *OUT],
        "--router: missing, but sweep.policies has router; give the directory of a trained one",
    ),
    "variant": (
        ["heldout", "--variant", "defalt", "--router", "r", "--dataset", "d", *OUT],
        "no variant 'defalt'; it has default",
    ),
    "figure": (["figure", "fig2", "--pdf", "f.pdf", "--png", "f.png"], "'fig2' is not one of 'fig3', 'fig4', 'fig5'"),
    "table": (["table", "tabel1", "--csv", "t.csv", "--md", "t.md"], "'tabel1' is not one of 'table1', 'table2'"),
    "curves": (["curves", "t.parquet", "--kind", "speedup", *OUT], "'speedup' is not one of 'accuracy_acceptance'"),
    "revision": (["convert-prm", "--revision", "f00", *OUT], "f00 needs --path, its repository"),
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A resolved study whose sweep has left the router out, and which has no router."""
    study = Study.model_validate(
        {
            "study": "lab",
            "results": str(tmp_path_factory.mktemp("results")),
            "models": {"d": {"path": "d"}, "t": {"path": "t"}},
            "pairs": {"small": {"draft": "d", "target": "t"}},
            "prm": {"path": "prm"},
            "benchmarks": {"lab500": {"source": "lab500"}},
            "sweep": {"shards": 3},
        }
    )
    rows = synthetic.trajectories("small", "lab500", 2, ("draft_only", "rsd"))
    write_table(StudyPaths.of(study).trajectories("small", "lab500"), "trajectories", rows)
    return write_resolved(study)


@pytest.mark.parametrize(("words", "message"), REFUSED.values(), ids=REFUSED)
def test_one_message_says_what_is_expected_and_nothing_is_touched(
    words: list[str],
    message: str,
    study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    record = tmp_path / "out.parquet.provenance.json"
    record.write_text("of a former result\n")
    monkeypatch.setattr(sys, "argv", ["arbitrage", words[0], "--study", str(study), *words[1:]])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = " ".join(re.sub("[╭╮╰╯│─]", " ", capsys.readouterr().err).split())
    assert ended.value.code in (1, 2)
    assert message in said
    assert list(tmp_path.iterdir()) == [record]
