"""What is timed, and in which order: drift of the machine must hit all settings and benchmarks alike."""

from pathlib import Path
from typing import Any

import pytest

from arbitrage.config.study import Study
from arbitrage.stages import latency
from tests.support import synthetic
from tests.support.fakes import fake_decoder

QUESTIONS = 6


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[latency.Run]:
    """The runs of a timing of two benchmarks, in their order, the uncounted ones first."""
    study = Study.model_validate(
        {
            "study": "timing",
            "models": {"d": {"path": "d"}, "t": {"path": "t"}},
            "pairs": {"small": {"draft": "d", "target": "t"}},
            "prm": {"path": "prm"},
            "benchmarks": {name: {"source": name} for name in synthetic.BENCHMARKS},
        }
    )
    done: list[latency.Run] = []
    policies = ("draft_only", "target_only", "rsd", "router")

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

    original = latency.timed

    def timed(decoder: Any, run: latency.Run) -> Any:
        done.append(run)
        return original(decoder, latency.Run(run.benchmark, run.question, latency.Setting("target_only", None)))

    monkeypatch.setattr(latency, "open_decoder", lambda *arguments: Decoder())
    monkeypatch.setattr(latency, "read_table", read)
    monkeypatch.setattr(latency, "timed", timed)
    monkeypatch.setattr(latency, "write_table", lambda *arguments: None)
    latency.measure_latency(study, "small", tmp_path, tmp_path / "latency.parquet")
    return done


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
