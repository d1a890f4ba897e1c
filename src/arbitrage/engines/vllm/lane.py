"""vLLM under the continuous scheduler: requests join its batch as they come, and each is answered when it has ended."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from arbitrage.engines.step_boundary import StepWriter, finished_step, room
from arbitrage.engines.vllm.given import READ_SALT, GivenText
from arbitrage.speculation.protocols import EngineError, RequestLane
from arbitrage.speculation.steps import GeneratedStep, Logprobs, ReadRequest

if TYPE_CHECKING:
    from arbitrage.engines.vllm.generator import VllmGenerator


class UnderWay(NamedTuple):
    """A request that vLLM works on, what takes its outputs, and vLLM's own name of it."""

    request: Any
    taker: StepWriter | GivenText
    internal: str


class LaneWork:
    """The requests of one lane, in one vLLM engine."""

    def __init__(self, generator: VllmGenerator, lane: RequestLane) -> None:
        self._generator, self._lane = generator, lane
        self._numbers = itertools.count()
        self._under_way: dict[str, UnderWay] = {}

    async def work(self) -> None:
        """Answer requests until cancelled; those under way are aborted then. Raises EngineError."""
        lane = self._lane
        try:
            while True:
                free = lane.rows - len(self._under_way)
                fresh = lane.take_now(free) if self._under_way else await lane.take(free)
                for request, answer in await lane.call(self._pass, self._takers(fresh)):
                    lane.answer(request, answer)
        finally:
            await lane.call(self._abort)  # in vLLM's turn: its last step may still run

    def _abort(self) -> None:
        if self._under_way:
            self._generator.engine.abort_request([each.internal for each in self._under_way.values()], internal=True)

    def _takers(self, requests: list[Any]) -> list[tuple[Any, StepWriter | GivenText]]:
        """Each request with what takes its outputs; where a context is too long, only its question is told."""
        generator, takers = self._generator, list[tuple[Any, StepWriter | GivenText]]()
        for request in requests:
            if isinstance(request.payload, ReadRequest):
                takers.append((request, generator.given(request.payload, READ_SALT)))
                continue
            try:
                limit = room(generator.name, request.payload.ids, request.payload.limit, generator.max_context)
            except EngineError as error:
                self._lane.refuse(request, error)
            else:
                takers.append((request, StepWriter(generator.stop, limit)))
        return takers

    def _pass(self, fresh: list[tuple[Any, StepWriter | GivenText]]) -> list[tuple[Any, GeneratedStep | Logprobs]]:
        """Hand fresh requests to vLLM and have it go one step; the requests that ended with it, and their answers."""
        generator, ended = self._generator, list[tuple[Any, GeneratedStep | Logprobs]]()
        try:
            for request, taker in fresh:
                self._hand_over(request, taker)
            with generator.without_compiling():
                outputs = generator.engine.step() if self._under_way else []
            for output in outputs:
                request, taker, _ = self._under_way.pop(output.request_id)
                if (answer := self._answer(taker, output)) is not None:
                    ended.append((request, answer))
                else:
                    self._hand_over(request, taker)
        except EngineError:
            raise
        except Exception as error:  # vLLM's own, torch's, and what its processes died of
            raise generator.broken(error) from error
        return ended

    def _answer(self, taker: StepWriter | GivenText, output: Any) -> GeneratedStep | Logprobs | None:
        """None where vLLM has to go on: it stopped at a separator that the text does not have, or read too little."""
        name = self._generator.name
        if isinstance(taker, GivenText):
            return taker.take(name, output)
        self._generator.take(taker, output.outputs[0])
        return finished_step(name, taker) if taker.ended else None

    def _hand_over(self, request: Any, taker: StepWriter | GivenText) -> None:
        name = f"lane-{next(self._numbers)}"
        if isinstance(taker, GivenText):
            prompt, parameters = taker.request()
        else:
            prompt, parameters = self._generator.request(request.payload.ids, taker, request.payload.sampling)
        self._under_way[name] = UnderWay(request, taker, self._generator.engine.add_request(name, prompt, parameters))
