"""What killed attempts at a shard did is noted until one of them ends."""

from pathlib import Path

from arbitrage.stages.attempts import Attempts

WORK = {"draft": {"seconds": 2.0, "calls": 3, "tokens": 40}}


def test_an_attempt_that_follows_killed_ones_finds_what_each_did_last(tmp_path: Path) -> None:
    file = tmp_path / "store" / ".attempts.json"
    first = Attempts(file)
    assert first.earlier == []
    first.note({"draft": {"seconds": 1.0, "calls": 1, "tokens": 9}})
    first.note(WORK)
    second = Attempts(file)
    assert [attempt["work"] for attempt in second.earlier] == [WORK]
    assert second.earlier[0]["seconds"] >= 0 and second.earlier[0]["started"].endswith("+00:00")
    second.note(WORK)
    third = Attempts(file)
    assert [attempt["work"] for attempt in third.earlier] == [WORK, WORK]
    third.close()
    assert Attempts(file).earlier == [] and len(third.earlier) == 2


def test_a_damaged_note_counts_as_none(tmp_path: Path) -> None:
    file = tmp_path / "attempts.json"
    file.write_text('[{"started": ')
    assert Attempts(file).earlier == []
