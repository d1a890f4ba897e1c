"""What is timed, and in which order: drift of the machine must hit all settings and benchmarks alike."""

from pathlib import Path
from typing import Any

import pytest

from arbitrage.config.pipeline import Latency
from arbitrage.config.study import Study
from arbitrage.speculation.protocols import ContextMemoryError
from arbitrage.speculation.tree import Question
from arbitrage.stages import latency
from tests.support import synthetic
from tests.support.fakes import fake_decoder

QUESTIONS = 6


class Timing:
    """A timing of two benchmarks by a decoder of fakes: its `runs` in order, warm-up first, its `rows` and `report`.

    too_large: ids of questions that the device has too little memory for.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, too_large: frozenset[str] = frozenset()) -> None:
        study = Study.model_validate(
            {
                "study": "timing",
                "models": {"d": {"path": "d"}, "t": {"path": "t"}},
                "pairs": {"small": {"draft": "d", "target": "t"}},
                "prm": {"path": "prm"},
                "benchmarks": {name: {"source": name} for name in synthetic.BENCHMARKS},
            }
        )
        self.runs: list[latency.Run] = []
        self.rows: list[dict[str, Any]] = []
        policies = ("draft_only", "target_only", "rsd", "router")
        original = latency.timed

        class Decoder:
            def __enter__(self) -> object:
                return fake_decoder(0)

            def __exit__(self, *error: object) -> None:
                pass

        def read(path: Path, table: str) -> list[dict[str, Any]]:
            benchmark = next(name for name in synthetic.BENCHMARKS if name in str(path))
            if table == "trajectories":
                return synthetic.trajectories("small", benchmark, QUESTIONS, policies)
            return [{"question_id": name, "problem": name} for name in synthetic.questions_of(benchmark, QUESTIONS)]

        def timed(decoder: Any, run: latency.Run) -> Any:
            self.runs.append(run)
            if run.question.question_id in too_large and run.setting.policy == "rsd":
                raise ContextMemoryError("out of memory on cuda with one context of 9000 tokens")
            return original(decoder, latency.Run(run.benchmark, run.question, latency.Setting("target_only", None)))

        monkeypatch.setattr(latency, "open_decoder", lambda *arguments: Decoder())
        monkeypatch.setattr(latency, "read_table", read)
        monkeypatch.setattr(latency, "timed", timed)
        monkeypatch.setattr(latency, "write_table", lambda out, table, rows: self.rows.extend(rows))
        _, self.report = latency.measure_latency(study, "small", [folder], folder / "latency.parquet")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[latency.Run]:
    return Timing(tmp_path, monkeypatch).runs


def test_every_policy_is_warmed_up_before_the_clock_counts(runs: list[latency.Run]) -> None:
    kinds = [(run.setting.policy, run.setting.uninterrupted) for run in runs[:6]]
    alone = [(policy, whole) for policy in ("draft_only", "target_only") for whole in (True, False)]
    assert sorted(kinds) == sorted([*alone, ("rsd", False), ("router", False)])


def test_benchmarks_and_settings_take_turns(runs: list[latency.Run]) -> None:
    timed = runs[6:]
    settings = len(timed) // (len(synthetic.BENCHMARKS) * QUESTIONS)
    groups = [timed[start : start + settings] for start in range(0, len(timed), settings)]
    assert all(len({run.question for run in group}) == 1 for group in groups)
    assert [group[0].benchmark for group in groups] == [*synthetic.BENCHMARKS] * QUESTIONS
    of_one = [group for group in groups if group[0].benchmark == groups[0][0].benchmark]
    assert len({group[0].setting for group in of_one}) == QUESTIONS  # each begins with another setting
    assert len({frozenset(run.setting for run in group) for group in of_one}) == 1


def test_draft_and_target_alone_are_timed_in_one_generation_and_step_by_step(runs: list[latency.Run]) -> None:
    for policy in ("draft_only", "target_only"):
        assert {run.setting.uninterrupted for run in runs[6:] if run.setting.policy == policy} == {True, False}
    assert not any(run.setting.uninterrupted for run in runs if run.setting.policy in ("rsd", "router"))


def test_chosen_policies_are_timed_again_with_their_escalated_steps_speculated() -> None:
    swept = synthetic.trajectories(
        "small", next(iter(synthetic.BENCHMARKS)), QUESTIONS, ("rsd", "router", "target_only")
    )
    plain = latency.settings_of(swept, [0.3, 0.7])
    asked = Latency.model_validate({"speculative_tokens": [8, 2], "speculative_policies": ["rsd"]})
    added = latency.with_speculation(plain, asked)[len(plain) :]
    alone = [latency.Setting("target_only", None, True, tokens) for tokens in (8, 2)]
    rsd = [setting for setting in plain if setting.policy == "rsd"]
    assert added == [*alone, *(latency.Setting("rsd", setting.threshold, False, 8) for setting in rsd)]
    assert len(rsd) == 2
    nothing = Latency.model_validate({"speculative_tokens": []})
    assert latency.with_speculation(plain, nothing) == plain


def test_a_question_too_large_for_the_memory_is_left_out_under_every_setting_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Timing(tmp_path, monkeypatch)
    monkeypatch.undo()
    lost = whole.rows[0]["question_id"]
    rest = Timing(tmp_path, monkeypatch, frozenset({lost}))
    assert rest.report["left_out"] == [lost]
    assert [row["question_id"] for row in rest.rows] == [
        row["question_id"] for row in whole.rows if row["question_id"] != lost
    ]
    assert capsys.readouterr().err.count(f"{lost} is left out of the timing: out of memory") == 1


def test_where_no_question_fits_into_the_memory_the_stage_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = {name for benchmark in synthetic.BENCHMARKS for name in synthetic.questions_of(benchmark, QUESTIONS)}
    with pytest.raises(ContextMemoryError, match="9000 tokens"):
        Timing(tmp_path, monkeypatch, frozenset(every))


def test_a_lost_question_loses_none_of_the_same_id_in_another_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are unique in a benchmark only."""
    question = Question("1", "What is 3 + 4?")
    setting = latency.Setting("target_only", None)
    runs = [latency.Run(benchmark, question, setting) for benchmark in ("one", "one", "other")]
    lost: latency.Lost = {}

    def timed(decoder: Any, run: latency.Run) -> str:
        if run.benchmark == "one":
            raise ContextMemoryError("out of memory")
        return "a solution"

    monkeypatch.setattr(latency, "timed", timed)
    decoder = fake_decoder(0)
    assert [latency._timed_unless_lost(decoder, run, lost) for run in runs] == [None, None, "a solution"]
    assert list(lost) == [("one", question)]
