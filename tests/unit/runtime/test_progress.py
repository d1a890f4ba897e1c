"""Progress lines: how often, and what they tell."""

from __future__ import annotations

import pytest

from arbitrage.runtime.progress import Progress


class Clock:
    """`time.monotonic`, set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("arbitrage.runtime.progress.time.monotonic", clock)
    return clock


def test_progress_is_plain_lines_now_and_then_and_always_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(1200, "questions", "steps", every=3600)
    for _ in range(12):
        progress.advance(100)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("steps: 1,200/1,200 questions (100%), ")
    assert lines[0].endswith(", took 0 s")


def test_progress_tells_rate_and_time_left(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    progress = Progress(100, "steps")
    clock.now = 10.0
    progress.advance(1)
    clock.now = 11.0
    progress.note("too soon after the last line")
    clock.now = 20.0
    progress.note("heard")
    assert capsys.readouterr().err.splitlines() == ["1/100 steps (1%), 0.1 a second, about 16 min 30 s left", "heard"]


def test_other_things_are_counted_beside_and_what_is_partly_done_tells_the_time_left(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    progress = Progress(10, "questions", "label")
    clock.now = 20.0
    assert progress.left() == "" and progress.left(partly=2.5) == "about 1 min 0 s left"
    assert progress.rates(steps=40, tokens=1200) == "40 steps (2 a second), 1,200 tokens (60 a second)"
    progress.advance(5, tokens=2000)
    line = "label: 5/10 questions (50%), 0.25 a second, 2,000 tokens (100 a second), about 20 s left"
    assert capsys.readouterr().err.splitlines() == [line]


@pytest.mark.parametrize(("seconds", "lines"), [(4.0, 0), (60.0, 2)])
def test_quiet_progress_says_nothing_of_what_is_over_at_once(
    capsys: pytest.CaptureFixture[str], clock: Clock, seconds: float, lines: int
) -> None:
    progress = Progress(2, "steps", quiet=True)
    clock.now = seconds / 2
    progress.advance()
    clock.now = seconds
    progress.advance()
    assert len(capsys.readouterr().err.splitlines()) == lines
