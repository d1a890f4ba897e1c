"""vLLM under the continuous scheduler: requests join its batch as they come, and each is answered when it has ended."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from arbitrage.engines.step_boundary import StepWriter, finished_step, room
from arbitrage.speculation.protocols import EngineError, GeneratedStep, RequestLane

if TYPE_CHECKING:
    from arbitrage.engines.vllm.generator import VllmGenerator


class UnderWay(NamedTuple):
    """A request that vLLM works on, and vLLM's own name of it."""

    request: Any
    writer: StepWriter
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
                for request, step in await lane.call(self._pass, self._writers(fresh)):
                    lane.answer(request, step)
        finally:
            await lane.call(self._abort)  # in vLLM's turn: its last step may still run

    def _abort(self) -> None:
        if self._under_way:
            self._generator.engine.abort_request([each.internal for each in self._under_way.values()], internal=True)

    def _writers(self, requests: list[Any]) -> list[tuple[Any, StepWriter]]:
        """Each request with the writer of its step; where a context is too long, only its question is told."""
        generator, writers = self._generator, []
        for request in requests:
            try:
                limit = room(generator.name, request.payload.ids, request.payload.limit, generator.max_context)
            except EngineError as error:
                self._lane.refuse(request, error)
            else:
                writers.append((request, StepWriter(generator.stop, limit)))
        return writers

    def _pass(self, fresh: list[tuple[Any, StepWriter]]) -> list[tuple[Any, GeneratedStep]]:
        """Hand fresh requests to vLLM and have it go one step; the requests that ended with it, and their steps."""
        generator, ended = self._generator, []
        try:
            for request, writer in fresh:
                self._hand_over(request, writer)
            with generator.without_compiling():
                outputs = generator.engine.step() if self._under_way else []
            for output in outputs:
                request, writer, _ = self._under_way.pop(output.request_id)
                generator.take(writer, output.outputs[0])
                if writer.ended:
                    ended.append((request, finished_step(generator.name, writer)))
                else:  # vLLM has stopped at a separator that the whole text does not have
                    self._hand_over(request, writer)
        except EngineError:
            raise
        except Exception as error:  # vLLM's own, torch's, and what its processes died of
            raise generator.broken(error) from error
        return ended

    def _hand_over(self, request: Any, writer: StepWriter) -> None:
        name = f"lane-{next(self._numbers)}"
        prompt, parameters = self._generator.request(request.payload.ids, writer, request.payload.sampling)
        self._under_way[name] = UnderWay(request, writer, self._generator.engine.add_request(name, prompt, parameters))
