"""vLLM under the continuous scheduler, with an engine in its place that is as asynchronous (vLLM is not needed)."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from arbitrage.engines.step_boundary import StepWriter, StopRule
from arbitrage.engines.vllm.generator import WrittenStep
from arbitrage.engines.vllm.lane import LaneWork
from arbitrage.speculation.lane import Lane
from arbitrage.speculation.protocols import EngineError, RequestLane
from arbitrage.speculation.scheduling import Request
from arbitrage.speculation.steps import GeneratedStep, Sampling, StepRequest
from tests.support.tiny_models import build_tokenizer


class Engine:
    """Ends a request after as many passes as its context is long; writes `ab` and the separator."""

    def __init__(self, tokenizer: Any) -> None:
        self.ids = tokenizer.encode("ab\n\n", add_special_tokens=False)
        self.left: dict[str, int] = {}
        self.aborted: list[str] = []
        self.most = self.passes = 0
        self.fails_at = 10**9

    def add_request(self, name: str, prompt: tuple[int, ...], parameters: Any) -> str:
        self.left[name] = len(prompt)
        return f"internal {name}"

    def step(self) -> list[Any]:
        self.passes += 1
        if self.passes >= self.fails_at:
            raise RuntimeError("CUDA error")
        self.most = max(self.most, len(self.left))
        self.left = {name: left - 1 for name, left in self.left.items()}
        ended = [name for name, left in self.left.items() if not left]
        for name in ended:
            del self.left[name]
        return [SimpleNamespace(request_id=name, outputs=[self.ids]) for name in ended]

    def abort_request(self, names: list[str], internal: bool) -> None:
        self.aborted += names


class Generator:
    """What `LaneWork` and `WrittenStep` use of a `VllmGenerator`."""

    def __init__(self) -> None:
        tokenizer = build_tokenizer("char")
        self.name, self.max_context, self.rows = "models.draft", 50, 3
        self.stop = StopRule(tokenizer, "\n\n", {tokenizer.eos_token_id})
        self.engine = Engine(tokenizer)

    def request(self, context: tuple[int, ...], writer: StepWriter, sampling: Sampling) -> tuple[Any, Any]:
        return context, None

    def take(self, writer: StepWriter, ids: list[int]) -> None:
        for token in ids:
            if not writer.ended:
                writer.push(token, -0.5, None)

    def broken(self, error: Exception) -> EngineError:
        return EngineError(f"{self.name}: vLLM failed ({error})")

    def step(self) -> list[Any]:
        return self.engine.step()

    def taker(self, payload: StepRequest) -> WrittenStep:
        return WrittenStep(self, payload)  # type: ignore[arg-type]

    async def work(self, lane: RequestLane) -> None:
        await LaneWork(self, lane).work()  # type: ignore[arg-type]


async def ask(generator: Generator, lengths: list[int]) -> list[Any]:
    """A step for each context of these lengths, in the order in which they are answered; then the worker is stopped."""
    lane, order = Lane(generator, "test"), list[tuple[int, Any]]()
    worker = asyncio.create_task(lane.work())

    async def one(number: int, length: int) -> None:
        try:
            request = StepRequest((number,) * length, 9)
            answer: Any = await lane.submit(Request("draft", request, f"q{number}", (0, 0, 0), 0, (number,)))
        except EngineError as error:
            answer = error
        order.append((number, answer))

    asked = [asyncio.create_task(one(number, length)) for number, length in enumerate(lengths)]
    everybody = asyncio.gather(*asked)
    await asyncio.wait([worker, everybody], return_when=asyncio.FIRST_COMPLETED)
    worker.cancel()
    failure = (await asyncio.gather(worker, return_exceptions=True))[0]
    for task in asked:
        task.cancel()
    await asyncio.gather(everybody, return_exceptions=True)
    lane.close()
    return [*order, failure] if isinstance(failure, EngineError) else list(order)


def test_requests_join_and_leave_the_batch_one_by_one() -> None:
    generator = Generator()
    order = asyncio.run(ask(generator, [9, 1, 2, 3, 60]))
    assert [number for number, _ in order if number != 4] == [1, 2, 3, 0]  # the fourth took the place of the second
    answers = dict(order)
    assert all(answers[number] == GeneratedStep("ab\n\n", "separator", answers[number].logprobs) for number in range(4))
    assert "a context of 60 tokens" in str(answers[4])  # alone
    assert generator.engine.most == 3 and not generator.engine.left and generator.engine.aborted == []


def test_what_is_under_way_when_it_is_stopped_is_aborted() -> None:
    generator = Generator()

    async def stopped() -> None:
        lane = Lane(generator, "test")
        worker = asyncio.create_task(lane.work())
        lane.submit(Request("draft", StepRequest((1,) * 40, 9), "q", (0, 0, 0), 0, (0,)))
        while not generator.engine.passes:
            await asyncio.sleep(0.001)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        lane.close()

    asyncio.run(stopped())
    assert generator.engine.aborted == ["internal lane-0"]


@pytest.mark.fault("vLLM that fails while requests are under way")
def test_a_failure_of_vllm_is_one_error() -> None:
    generator = Generator()
    generator.engine.fails_at = 3
    *_, error = asyncio.run(ask(generator, [9, 9, 1]))
    assert str(error) == "models.draft: vLLM failed (CUDA error)"
    assert generator.engine.aborted == ["internal lane-0", "internal lane-1"]
