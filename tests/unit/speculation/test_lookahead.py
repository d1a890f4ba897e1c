"""Where a labelled step leads, in worlds where it is known."""

from collections.abc import Callable
from typing import Any

import pytest

from arbitrage.speculation.continuous import Continuous
from arbitrage.speculation.labelling import label
from arbitrage.speculation.lookahead import LookAhead, both_sides
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.scheduling import Lockstep, Scheduler
from arbitrage.speculation.steps import GREEDY, GeneratedStep, Ids, Sampling
from arbitrage.speculation.tree import Question
from tests.support.fakes import GENERATION, QUESTIONS, FakeGenerator, FakeScorer

LINES = 3  # of a solution, before its answer
MAKERS: list[Callable[[PairModels], Scheduler]] = [Lockstep, lambda models: Continuous(models, 3)]


class Writer(FakeGenerator):
    """Writes its word on every line; then the answer, which is wrong if any line before says `fatal`."""

    def __init__(self, name: str, word: str) -> None:
        super().__init__(name)
        self.word = word
        self.asked: set[Ids] = set()

    def _step(self, ids: Ids, sampling: Sampling = GREEDY) -> GeneratedStep:
        self.calls += 1
        self.asked.add(ids)
        lines = "".join(map(chr, ids)).split("\n", 1)[1].split("\n\n")[:-1]
        if len(lines) < LINES:
            return GeneratedStep(f"{self.word}\n\n", "separator", (-0.5,))
        return GeneratedStep("\\boxed{%s}" % ("wrong" if "fatal" in lines else "right"), "eos", (-0.5,))


def models(word: str) -> PairModels:
    return PairModels(Writer("draft", word), Writer("target", "sound"), FakeScorer("prm"), None, GENERATION)


def looked_ahead(
    world: PairModels, rows: list[dict[str, Any]], make: Callable[[PairModels], Scheduler]
) -> list[list[str]]:
    """Of each row, the solutions after accepting and after escalating."""
    starts = {
        question.question_id: [
            node
            for row in rows
            if row["question_id"] == question.question_id
            for node in both_sides(row, GENERATION.separator)
        ]
        for question in QUESTIONS
    }
    solved: dict[str, list[str]] = {}

    def finished(question: Question, solutions: list[str]) -> None:
        solved[question.question_id] = solutions

    make(world).run(QUESTIONS, LookAhead(starts, 1), finished)
    in_order = [solution for question in sorted(solved) for solution in solved[question]]
    return [list(both) for both in zip(in_order[::2], in_order[1::2], strict=True)]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("word", ["fatal", "harmless"])
def test_a_step_leads_where_its_world_says(word: str, make: Callable[[PairModels], Scheduler]) -> None:
    rows = label(models(word), QUESTIONS, samples=1, temperature=0.0, seed=1)
    assert {step["model"] for row in rows for step in row["history"]} == {"draft", "target"}
    gains = []
    for row, (accepted, escalated) in zip(rows, looked_ahead(models(word), rows, make), strict=True):
        before = "".join(step["text"] for step in row["history"])
        assert accepted.startswith(before + row["draft_step"])
        assert escalated.startswith(before + row["target_steps"][0])
        right_after = [solution.endswith("\\boxed{right}") for solution in (accepted, escalated)]
        if word == "harmless":
            assert right_after == [True, True]
        elif "fatal" in before:
            assert right_after == [False, False]
        else:
            assert right_after == ([True, True] if row["step_index"] == LINES else [False, True])
        gains.append(right_after[1] - right_after[0])
    assert set(gains) == ({0, 1} if word == "fatal" else {0})


def test_what_follows_is_the_targets_and_a_step_that_has_ended_the_solution_is_not_continued() -> None:
    rows = label(models("harmless"), QUESTIONS, samples=1, temperature=0.0, seed=1)
    last = [row for row in rows if row["step_index"] == LINES]
    world = models("harmless")
    draft, target = world.draft, world.target
    assert isinstance(draft, Writer) and isinstance(target, Writer)
    assert all(accepted == escalated for accepted, escalated in looked_ahead(world, last, Lockstep))
    assert draft.calls == target.calls == 0
    first = [row for row in rows if row["step_index"] == 0]
    solutions = looked_ahead(world, first, Lockstep)
    rest = "\n\nsound\n\nsound\n\n\\boxed{right}"
    assert solutions == [["harmless" + rest, "sound" + rest]] * len(QUESTIONS)
    assert draft.calls == 0 and target.calls == 2 * LINES * len(QUESTIONS)


def test_of_both_sides_of_a_step_one_is_written_already_or_from_a_later_step() -> None:
    """What `arbitrage plan --on` counts: one continuation to the end for each step of a solution."""
    labelling, looking = models("harmless"), models("harmless")
    rows = label(labelling, QUESTIONS, samples=1, temperature=0.0, seed=1)
    looked_ahead(looking, rows, Lockstep)
    known, target = labelling.target, looking.target
    assert isinstance(known, Writer) and isinstance(target, Writer)
    steps = LINES + 1
    assert len(known.asked) == steps * len(QUESTIONS)
    assert len(target.asked - known.asked) == steps * (steps - 1) / 2 * len(QUESTIONS)
