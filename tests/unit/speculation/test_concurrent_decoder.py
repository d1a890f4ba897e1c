"""Many questions at once: the same solutions as one by one, common batches, nothing left of those that went away."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from arbitrage.config.policies import POLICIES as ENTRIES
from arbitrage.speculation import concurrent_decoder
from arbitrage.speculation.algorithm1 import Visit
from arbitrage.speculation.concurrent_decoder import ConcurrentDecoder, Decoding
from arbitrage.speculation.lane import Asked, Lane, Turns
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.protocols import EngineError
from arbitrage.speculation.steps import GREEDY, GeneratedStep, Ids, Sampling
from arbitrage.speculation.tree import Question
from tests.support.fakes import FakeGenerator, fake_decoder, fake_models

ASKED = [("live", f"What is {number}?", policy, 0.1 * (number % 10)) for number in range(6) for policy in ENTRIES]
MOST = 10**6


async def followed(decoding: Decoding) -> list[Visit]:
    return [visit async for visit in decoding.visits()]


def begin(decoder: ConcurrentDecoder, problem: str, policy: str = "rsd", threshold: float = 0.5) -> Decoding:
    return decoder.begin(Question("live", problem), POLICIES[policy], threshold, MOST)


@pytest.mark.parametrize("in_turn", [False, True])
def test_all_policies_side_by_side_decide_as_one_by_one(in_turn: bool) -> None:
    async def together() -> list[list[Visit]]:
        async with ConcurrentDecoder(fake_models(), seed=7, in_turn=in_turn) as decoder:
            visits = await asyncio.gather(*(followed(begin(decoder, *each[1:])) for each in ASKED))
            assert not decoder.awaited and all(lane.waiting == 0 for lane in decoder.lanes.values())
            assert all(lane.taken > lane.takes for lane in decoder.lanes.values())  # common batches
            return visits

    for (name, problem, policy, threshold), visits in zip(ASKED, asyncio.run(together()), strict=True):
        alone = fake_decoder(seed=7).solve(Question(name, problem), POLICIES[policy], threshold)
        assert [(visit.author, visit.policy_score, visit.chosen) for visit in visits] == [
            (step.author, step.policy_score, step.chosen) for step in alone.steps
        ]


def test_a_solution_ends_at_the_requests_own_limit_of_tokens() -> None:
    async def lengths() -> list[int]:
        async with ConcurrentDecoder(fake_models(), seed=0) as decoder:
            limited = [
                decoder.begin(Question("live", "Why?"), POLICIES["draft_only"], None, most) for most in (1, MOST)
            ]
            return [len(await followed(each)) for each in limited]

    one, whole = asyncio.run(lengths())
    assert one == 1 < whole


class Gated(FakeGenerator):
    """Writes nothing until it is let, and notes what it is given."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.open, self.batches = threading.Event(), list[list[Ids]]()

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        self.batches.append(list(contexts))
        assert self.open.wait(10)
        return super().generate(contexts, limits, sampling)


def gated() -> tuple[Any, Gated]:
    models = fake_models()
    models.draft = draft = Gated("draft")
    models.__post_init__()
    return models, draft


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_who_goes_away_is_not_written_for_and_takes_nobody_with_him() -> None:
    async def run() -> None:
        models, draft = gated()
        async with ConcurrentDecoder(models, seed=0) as decoder:
            first = asyncio.create_task(followed(begin(decoder, "First?")))
            await until(lambda: draft.batches)  # the engine is busy, others wait
            shared = [asyncio.create_task(followed(begin(decoder, "Shared?"))) for _ in range(3)]
            lonely = asyncio.create_task(followed(begin(decoder, "Lonely?")))
            lane = decoder.lanes["draft"]
            await until(lambda: lane.waiting == 2)
            for task in (first, shared[1], lonely):
                task.cancel()
            await asyncio.gather(first, shared[1], lonely, return_exceptions=True)
            assert lane.waiting == 1
            again = asyncio.create_task(followed(begin(decoder, "Lonely?")))  # not the answer that was cancelled
            await asyncio.sleep(0)
            again.cancel()
            draft.open.set()
            visits = [await shared[0], await shared[2]]
            assert visits[0] == visits[1] and visits[0]
            prompt = {draft.prompt_ids(problem) for problem in ("First?", "Shared?")}
            assert {ids for batch in draft.batches[:2] for ids in batch} == prompt
            assert not decoder.awaited and lane.waiting == 0

    asyncio.run(run())


def test_who_stops_reading_between_two_steps_leaves_nothing() -> None:
    async def run() -> None:
        async with ConcurrentDecoder(fake_models(), seed=0) as decoder:
            visits = begin(decoder, "Why?", "oracle", 0.0).visits()
            await anext(visits)
            await visits.aclose()
            assert not decoder.awaited

    asyncio.run(run())


class Failing(FakeGenerator):
    """Fails at its first call."""

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        self.reads += 1
        if self.reads == 1:
            raise EngineError("the target is out of order")
        return super().generate(contexts, limits, sampling)


@pytest.mark.parametrize("in_turn", [False, True])
def test_a_model_that_fails_ends_the_questions_it_worked_on_and_no_others(in_turn: bool) -> None:
    async def run() -> None:
        models = fake_models()
        models.target = Failing("target")
        models.__post_init__()
        async with ConcurrentDecoder(models, seed=0, in_turn=in_turn) as decoder:
            decodings = [
                begin(decoder, problem, policy) for problem, policy in (("A?", "target_only"), ("B?", "draft_only"))
            ]
            failed, fine = await asyncio.gather(*map(followed, decodings), return_exceptions=True)
            assert isinstance(failed, EngineError) and "out of order" in str(failed)
            assert isinstance(fine, list) and fine
            assert "out of order" in str(decoder.lanes["target"].failure)
            assert await followed(begin(decoder, "A?", "target_only"))
            assert decoder.lanes["target"].failure is None and not decoder.awaited

    asyncio.run(run())


def test_while_a_model_that_failed_is_not_asked_again_the_others_take_their_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(concurrent_decoder, "RETRY_S", 1000.0)

    async def run() -> None:
        models = fake_models()
        models.target = Failing("target")
        models.target.rows = 1
        models.__post_init__()
        async with ConcurrentDecoder(models, seed=0, in_turn=True) as decoder:
            tasks = [asyncio.create_task(followed(begin(decoder, f"What is {n}?", "target_only"))) for n in range(5)]
            target = decoder.lanes["target"]
            await until(lambda: target.failure)
            assert target.waiting == 4  # more than wait for the draft
            assert await asyncio.wait_for(followed(begin(decoder, "Why?", "draft_only")), 10)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


class Counting(FakeGenerator):
    """Notes how many generators work at the same time."""

    at_once, most = 0, 0

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        Counting.at_once += 1
        Counting.most = max(Counting.most, Counting.at_once)
        time.sleep(0.002)
        Counting.at_once -= 1
        return super().generate(contexts, limits, sampling)


def test_in_turn_one_engine_works_at_a_time_on_larger_batches() -> None:
    async def batches(in_turn: bool) -> float:
        models = fake_models()
        models.draft, models.target = Counting("draft"), Counting("target")
        models.__post_init__()
        async with ConcurrentDecoder(models, seed=0, in_turn=in_turn) as decoder:
            await asyncio.gather(*(followed(begin(decoder, f"What is {number}?")) for number in range(24)))
            lanes = decoder.lanes.values()
            return sum(lane.taken for lane in lanes) / sum(lane.takes for lane in lanes)

    side_by_side = asyncio.run(batches(False))
    Counting.most = 0
    assert asyncio.run(batches(True)) > side_by_side
    assert Counting.most == 1


def test_an_engine_that_is_passed_over_gets_its_turn_before_those_with_more_to_do() -> None:
    async def run() -> None:
        turns = Turns()
        few, many = Lane(FakeGenerator("few"), "few", turns), Lane(FakeGenerator("many"), "many", turns)
        loop = asyncio.get_running_loop()
        for lane, count in ((few, 1), (many, 3)):
            turns.join(lane)
            lane._waiting = [((at,), at, Asked(None, at, loop.create_future())) for at in range(count)]  # type: ignore[arg-type]
        served = []
        for _ in range(4):
            following = [asyncio.create_task(turns.begin(lane)) for lane in (few, many)]
            done, _ = await asyncio.wait(following, return_when=asyncio.FIRST_COMPLETED)
            served.append([lane for lane, task in zip((few, many), following, strict=True) if task in done])
            for task in following:
                task.cancel()
            turns.end()
        assert served == [[many], [many], [few], [many]]
        few.close()
        many.close()

    asyncio.run(run())


def test_a_policy_whose_model_was_not_loaded_is_refused_before_it_starts() -> None:
    models = fake_models()
    models.prm = None

    async def run() -> None:
        async with ConcurrentDecoder(models, seed=0) as decoder:
            with pytest.raises(EngineError, match="loaded without a prm"):
                begin(decoder, "Why?", "oracle")
            assert await followed(begin(decoder, "Why?", "router"))

    asyncio.run(run())
