"""The comparing process: its limit counts processor time, and what was given up is neither wrong nor kept."""

import os
import signal
import time

import pytest

from arbitrage.grading import singles
from arbitrage.grading.grade import grade
from arbitrage.grading.symbolic import GaveUp, Symbolic

SLOW = r"\prod_{k=1}^{3000}\sum_{j=1}^{k}\frac{1}{j^{k}+\sqrt{j}}"  # takes minutes


def test_a_comparison_past_its_limit_is_given_up_and_the_next_one_works() -> None:
    symbolic = Symbolic(seconds=1.0)
    assert symbolic.same("x+1", "1+x")
    with pytest.raises(GaveUp):
        symbolic.same(SLOW, "1")
    assert symbolic.same("x+1", "1+x")
    symbolic.close()


def test_an_answer_that_was_given_up_is_ungraded_and_compared_again_when_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Moody:
        given_up = 0

        def same(self, answer: str, gold: str, tolerance: float = 0.0) -> bool:
            if "4444" in answer and "5555" in gold:
                raise GaveUp(answer)
            if "1234" in answer:
                self.given_up += 1
                if self.given_up == 1:
                    raise GaveUp(answer)
                return True
            return False

    monkeypatch.setattr(singles, "SYMBOLIC", Moody())
    assert grade(r"\boxed{\sqrt{1234}}", [r"\sqrt{4321}"], {}) == (r"\sqrt{1234}", None)
    assert grade(r"\boxed{\sqrt{1234}}", [r"\sqrt{4321}"], {}) == (r"\sqrt{1234}", True)
    assert grade(r"\boxed{\sqrt{4444}, 7}", [r"\sqrt{5555}", "8"], {})[1] is False  # the other part settles it
    assert grade(r"\boxed{\sqrt{4444}, 8}", [r"\sqrt{5555}", "8"], {})[1] is None


def test_a_process_that_gets_no_time_is_waited_for() -> None:
    symbolic = Symbolic(seconds=5.0)
    assert symbolic.same(r"\sqrt{18}", r"3\sqrt{2}")
    process = symbolic._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    begin = time.perf_counter()
    assert symbolic.same(r"\sqrt{50}", r"5\sqrt{2}")
    assert time.perf_counter() - begin >= 0.5
    assert symbolic._process is process
    symbolic.close()


def test_the_limit_counts_processor_time_and_not_time_on_the_clock() -> None:
    symbolic = Symbolic(seconds=0.3)
    symbolic.same("x+1", "1+x")
    time.sleep(0.7)  # while the process waits for a line
    assert symbolic.same("x+2", "2+x")
    symbolic.close()
