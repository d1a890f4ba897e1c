"""vLLM under the continuous scheduler: requests join its batch as they come, and each is answered when it has ended."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from arbitrage.speculation.protocols import EngineError, RequestLane

if TYPE_CHECKING:
    from arbitrage.engines.vllm.engine import Taker, VllmModel


class UnderWay(NamedTuple):
    """A request that vLLM works on, what takes its outputs, and vLLM's own name of it."""

    request: Any
    taker: Taker
    internal: str


class LaneWork:
    """The requests of one lane, in one vLLM engine."""

    def __init__(self, model: VllmModel, lane: RequestLane) -> None:
        self._model, self._lane = model, lane
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
            self._model.engine.abort_request([each.internal for each in self._under_way.values()], internal=True)

    def _takers(self, requests: list[Any]) -> list[tuple[Any, Taker]]:
        """Each request with what takes its outputs; where a context is too long, only its question is told."""
        takers: list[tuple[Any, Taker]] = []
        for request in requests:
            try:
                takers.append((request, self._model.taker(request.payload)))
            except EngineError as error:
                self._lane.refuse(request, error)
        return takers

    def _pass(self, fresh: list[tuple[Any, Taker]]) -> list[tuple[Any, Any]]:
        """Hand fresh requests to vLLM and have it go one step; the requests that ended with it, and their answers."""
        ended: list[tuple[Any, Any]] = []
        try:
            for request, taker in fresh:
                self._hand_over(request, taker)
            for output in self._model.step() if self._under_way else []:
                request, taker, _ = self._under_way.pop(output.request_id)
                if (answer := taker.take(output)) is not None:
                    ended.append((request, answer))
                else:
                    self._hand_over(request, taker)
        except EngineError:
            raise
        except Exception as error:  # vLLM's own, torch's, and what its processes died of
            raise self._model.broken(error) from error
        return ended

    def _hand_over(self, request: Any, taker: Taker) -> None:
        name = f"lane-{next(self._numbers)}"
        self._under_way[name] = UnderWay(request, taker, self._model.engine.add_request(name, *taker.request()))
