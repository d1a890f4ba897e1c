"""Whatever the scheduler, and whenever engines answer: the same trajectories, nothing asked twice, no orphans."""

from __future__ import annotations

import ast
import asyncio
import random
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from performance.pairs import stored

import arbitrage
from arbitrage.config.pipeline import Generation
from arbitrage.config.policies import POLICIES
from arbitrage.speculation.continuous import Continuous
from arbitrage.speculation.labelling import Labelling, label
from arbitrage.speculation.pair import PairModels, answers
from arbitrage.speculation.protocols import ContextMemoryError, EngineError, RequestLane, ScoreError
from arbitrage.speculation.rows import ScoredSweep, sweep_rows
from arbitrage.speculation.scheduling import Lockstep, MakeScheduler
from arbitrage.speculation.steps import GREEDY, GeneratedStep, Ids, Logprobs, Sampling
from arbitrage.speculation.sweep import Sweep, sweep
from arbitrage.speculation.tree import Question
from tests.support.fakes import QUESTIONS, FakeGenerator, FakeScorer, fake_models, fake_scalar_routers

SMALL = Generation(max_steps=3, max_tokens=200, max_step_tokens=20)
ALL = list(POLICIES)
FEW = ["target_only", "rsd", "oracle", "router", "target_likelihood", "scalars_prm"]  # every kind of request


def continuous(models: PairModels, open_questions: int = 5) -> Continuous:
    return Continuous(models, open_questions)


class Shuffled:
    """An asynchronous engine that answers in an order of its own; it refuses to be asked anything twice."""

    def __init__(self, engine: FakeGenerator | FakeScorer, draw: random.Random) -> None:
        self.engine, self.draw, self.identity = engine, draw, engine.identity
        self.rows = draw.randint(1, 6)
        self.asked: set[Any] = set()
        self.max_context = getattr(engine, "max_context", None)
        self.prompt_ids = getattr(engine, "prompt_ids", None)
        self.step_ids = getattr(engine, "step_ids", None)
        self.input_ids = getattr(engine, "input_ids", None)
        self.end_ids, self.read = getattr(engine, "end_ids", None), getattr(engine, "read", None)

    async def work(self, lane: RequestLane) -> None:
        under_way: list[Any] = []
        while True:
            free = lane.rows - len(under_way)
            under_way += lane.take_now(free) if under_way else await lane.take(free)
            for _ in range(self.draw.randrange(4)):
                await asyncio.sleep(0)
            self.draw.shuffle(under_way)
            for _ in range(self.draw.randint(0, len(under_way))):
                request = under_way.pop()
                assert request.payload not in self.asked, f"{self.identity} was asked twice"
                self.asked.add(request.payload)
                lane.answer(request, answers(self.engine, [request.payload])[0])  # type: ignore[arg-type]


def shuffled(draw: random.Random) -> PairModels:
    engines: list[Any] = [FakeGenerator("draft"), FakeGenerator("target"), FakeScorer("prm")]
    engines.append(FakeScorer("router", authors=True))
    asked = (Shuffled(engine, draw) for engine in engines)
    return PairModels(*asked, SMALL, fake_scalar_routers())  # type: ignore[misc, arg-type]


@pytest.fixture(scope="module")
def expected() -> tuple[list[Any], list[dict[str, Any]]]:
    models = fake_models()
    small = replace(models, generation=SMALL)
    return sweep(small, QUESTIONS[:2], FEW, seed=7), label(small, QUESTIONS[:2], 2, 0.7, seed=7)


@pytest.mark.timeout(600)
@settings(max_examples=1000, deadline=None)
@given(seed=st.integers(0, 2**32), open_questions=st.integers(1, 3))
def test_any_interleaving_gives_the_same_trajectories_and_asks_nothing_twice(
    expected: tuple[list[Any], list[dict[str, Any]]], seed: int, open_questions: int
) -> None:
    scheduler = partial(continuous, open_questions=open_questions)
    with tempfile.TemporaryDirectory() as folder:
        models = stored(shuffled(random.Random(seed)), Path(folder))
        assert sweep(models, QUESTIONS[:2], FEW, seed=7, scheduler=scheduler) == expected[0]
        assert label(models, QUESTIONS[:2], 2, 0.7, seed=7, scheduler=scheduler) == expected[1]


@pytest.mark.parametrize("scheduler", [Lockstep, continuous])
def test_both_schedulers_make_the_same_rows_and_ask_nothing_twice(tmp_path: Path, scheduler: MakeScheduler) -> None:
    models, asked = counted(tmp_path)
    course = ScoredSweep(ALL, seed=7)
    rows = sweep_rows(models, QUESTIONS, course, lambda question_id, solution: (solution[-1], True), scheduler)
    assert rows == sweep_rows(fake_models(), QUESTIONS, course, lambda question_id, solution: (solution[-1], True))
    assert label(models, QUESTIONS, 1, 0.0, 7, scheduler) == label(fake_models(), QUESTIONS, 1, 0.0, 7)
    assert len(asked) == len(set(asked)) > 100


def counted(folder: Path) -> tuple[PairModels, list[Any]]:
    """Models behind a store, and what they were asked."""
    models, asked = fake_models(), list[Any]()
    for name in ("draft", "target"):
        engine = getattr(models, name)
        engine.generate, engine.read = partial(_generate, engine, asked), partial(_read, engine, asked)
    for name in ("prm", "router"):
        engine = getattr(models, name)
        engine.score = partial(_score, engine, asked)
    return stored(models, folder), asked


def _generate(
    engine: FakeGenerator, asked: list[Any], contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling
) -> list[GeneratedStep]:
    asked += [(engine.identity, *each, sampling) for each in zip(contexts, limits, strict=True)]
    return FakeGenerator.generate(engine, contexts, limits, sampling)


def _read(engine: FakeGenerator, asked: list[Any], inputs: Sequence[Ids], starts: Sequence[int]) -> list[Logprobs]:
    asked += [(engine.identity, *each) for each in zip(inputs, starts, strict=True)]
    return FakeGenerator.read(engine, inputs, starts)


def _score(engine: FakeScorer, asked: list[Any], inputs: Sequence[Ids]) -> list[float]:
    asked += [(engine.identity, ids) for ids in inputs]
    return FakeScorer.score(engine, inputs)


def test_in_lockstep_a_round_is_five_batches_each_in_the_order_of_the_questions() -> None:
    """draft for all, PRM for RSD, router, target, then the PRM for the oracle: drafts first, then targets."""
    models, calls = fake_models(), list[tuple[str, int]]()
    for name in ("draft", "target", "prm", "router"):
        engine, method = getattr(models, name), "generate" if name in ("draft", "target") else "score"

        def watched(inner: Any, name: str, *arguments: Any) -> Any:
            calls.append((name, len(arguments[0])))
            return inner(*arguments)

        setattr(engine, method, partial(watched, getattr(engine, method), name))
    sweep(models, QUESTIONS, ["target_only", "rsd", "oracle", "router"], seed=7)
    count = len(QUESTIONS)
    first = calls[: [name for name, _ in calls].index("draft", 1)]
    assert [name for name, _ in first] == ["draft", "prm", "router", "target", "prm"]
    assert first[0] == ("draft", 3 * count) and first[1] == ("prm", count) and first[2] == ("router", count)
    assert first[3] == ("target", 4 * count)  # target only, oracle, and where a score parts the thresholds
    different = first[4][1] - count
    assert count <= first[4][1] and 0 <= different <= count  # of the oracle's targets, those that are not the draft's


@pytest.mark.parametrize("scheduler", [Lockstep, continuous])
@pytest.mark.parametrize("model", ["draft", "target", "prm", "router"])
@pytest.mark.fault("engine that fails in the middle of a sweep")
def test_a_failing_engine_ends_the_run_with_one_error_and_no_orphan(scheduler: MakeScheduler, model: str) -> None:
    models, calls = fake_models(), 0
    engine = getattr(models, model)
    method = "score" if model in ("prm", "router") else "generate"
    inner = getattr(engine, method)

    def failing(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise EngineError("out of memory")
        return inner(*arguments)

    setattr(engine, method, failing)
    threads = threading.active_count()
    with pytest.raises(EngineError, match=r"^out of memory \(questions? q\d"):
        sweep(models, QUESTIONS, ALL, seed=7, scheduler=scheduler)
    assert calls == 3 and threading.active_count() == threads


@pytest.mark.parametrize("scheduler", [Lockstep, continuous])
def test_a_question_that_fails_is_named_once_and_holds_up_no_other(scheduler: MakeScheduler) -> None:
    models, finished = fake_models(), list[str]()
    models.prm = Damaged("prm")
    with pytest.raises(ScoreError, match=r"got the score nan; expected a finite number \(question q3\)$"):
        scheduler(models).run(
            QUESTIONS, Sweep(["rsd"], seed=7), lambda question, _: finished.append(question.question_id)
        )
    assert sorted(finished) == sorted(question.question_id for question in QUESTIONS if question.question_id != "q3")


@pytest.mark.parametrize("scheduler", [Lockstep, continuous])
@pytest.mark.parametrize(
    ("model", "policies"),
    [
        ("target", ["rsd"]),
        ("prm", ["rsd"]),
        ("target", ["target_likelihood"]),
        ("target", ["target_only", "target_likelihood"]),
    ],
)
def test_a_question_too_large_for_the_memory_is_left_out_and_all_others_are_as_without_it(
    scheduler: MakeScheduler, model: str, policies: list[str]
) -> None:
    models, finished, expected = fake_models(), dict[str, Any](), dict[str, Any]()
    setattr(models, model, LittleMemory("target") if model == "target" else LittleMemoryScorer("prm"))
    course = scheduler(models)
    course.run(QUESTIONS, Sweep(policies, 7), lambda question, result: finished.update({question.question_id: result}))
    assert course.lost == {"q3": "out of memory with one context"}
    others = [question for question in QUESTIONS if question.question_id != "q3"]
    Lockstep(fake_models()).run(
        others, Sweep(policies, 7), lambda question, result: expected.update({question.question_id: result})
    )
    assert finished == expected


class LittleMemory(FakeGenerator):
    """Too little memory for the contexts of question q3, as an engine says that torch raised OutOfMemoryError."""

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        self._fit(contexts)
        return super().generate(contexts, limits, sampling)

    def read(self, inputs: Sequence[Ids], starts: Sequence[int]) -> list[Logprobs]:
        self._fit(inputs)
        return super().read(inputs, starts)

    def _fit(self, contexts: Sequence[Ids]) -> None:
        start = self.prompt_ids("What is 3?")
        _refuse(frozenset(ids for ids in contexts if ids[: len(start)] == start))


class LittleMemoryScorer(FakeScorer):
    """As LittleMemory, for a PRM."""

    def input_ids(self, problem: str, *rest: Any) -> Ids:
        return (-1, *super().input_ids(problem, *rest)) if "3" in problem else super().input_ids(problem, *rest)

    def score(self, inputs: Sequence[Ids]) -> list[float]:
        _refuse(frozenset(ids for ids in inputs if ids[0] == -1))
        return super().score(inputs)


def _refuse(contexts: frozenset[Ids]) -> None:
    try:
        if contexts:
            raise torch.OutOfMemoryError("CUDA out of memory")
    except torch.OutOfMemoryError as error:
        raise ContextMemoryError("out of memory with one context", contexts) from error


class Damaged(FakeScorer):
    """No number for the steps of one question."""

    def input_ids(self, problem: str, *rest: Any) -> Ids:
        return (-1,) if "3" in problem else super().input_ids(problem, *rest)

    def score(self, inputs: Sequence[Ids]) -> list[float]:
        return [
            float("nan") if ids == (-1,) else score for ids, score in zip(inputs, super().score(inputs), strict=True)
        ]


def test_a_request_that_an_engine_refuses_is_its_questions_error_alone() -> None:
    class Refusing(Shuffled):
        async def work(self, lane: RequestLane) -> None:
            while True:
                for request in await lane.take(4):
                    if request.question_id == "q5":
                        lane.refuse(request, EngineError("a context of 9000 tokens"))
                    else:
                        lane.answer(request, answers(self.engine, [request.payload])[0])  # type: ignore[arg-type]

    models, finished = shuffled(random.Random(1)), list[Any]()
    models.target = Refusing(FakeGenerator("target"), random.Random(2))  # type: ignore[assignment]
    for name in ("draft", "prm", "router"):
        setattr(models, name, getattr(models, name).engine)
    with pytest.raises(EngineError, match=r"^a context of 9000 tokens \(question q5\)$"):
        continuous(models).run(QUESTIONS, Labelling(1, 0.0, 7), lambda question, rows: finished.append(question))
    assert len(finished) == len(QUESTIONS) - 1


def test_a_slow_step_holds_up_no_other_question() -> None:
    """One question's target step takes until all other questions are finished."""
    finished: list[str] = []

    class Slow(Shuffled):
        async def work(self, lane: RequestLane) -> None:
            held = []
            while True:
                batch = await lane.take(4) if not held else lane.take_now(4)
                for request in batch:
                    if request.question_id == "q0":
                        held.append(request)
                    else:
                        lane.answer(request, answers(self.engine, [request.payload])[0])  # type: ignore[arg-type]
                await asyncio.sleep(0)
                if len(finished) == len(QUESTIONS) - 1:
                    while held:
                        request = held.pop()
                        lane.answer(request, answers(self.engine, [request.payload])[0])  # type: ignore[arg-type]

    models = shuffled(random.Random(1))
    models.target = Slow(FakeGenerator("target"), random.Random(2))  # type: ignore[assignment]
    for name in ("draft", "prm", "router"):
        setattr(models, name, getattr(models, name).engine)
    run = continuous(models).run
    run(QUESTIONS, Labelling(1, 0.0, 7), lambda question, rows: finished.append(question.question_id))
    assert finished[-1] == "q0" and len(finished) == len(QUESTIONS)


def test_an_error_of_whoever_takes_the_results_ends_the_run() -> None:
    def full(question: Question, result: Any) -> None:
        raise OSError("no space left on device")

    for scheduler in (Lockstep, continuous):
        with pytest.raises(OSError, match="no space left"):
            scheduler(fake_models()).run(QUESTIONS, Sweep(["rsd"], 7), full)


def test_no_module_asks_a_policy_for_its_name() -> None:
    """What a policy is, is in its class and its registration: nothing compares names of policies."""
    for file in Path(arbitrage.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                names = [side for side in sides if isinstance(side, ast.Attribute) and side.attr == "name"]
                owners = [ast.unparse(side.value) for side in names]
                assert not any("policy" in owner.lower() for owner in owners), f"{file}:{node.lineno}"
    core = Path(arbitrage.__file__).parent / "speculation"
    for file in [*core.glob("*.py"), *(core.parent / "stages").glob("*.py"), core / "policies" / "base.py"]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare):
                literals = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
                assert not set(literals) & set(POLICIES) - {"router"}, f"{file}:{node.lineno}"
