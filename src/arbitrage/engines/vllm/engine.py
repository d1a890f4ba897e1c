"""A model in vLLM: started, asked and shut down. On GPUs it runs in processes of its own, on a CPU inside this one."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

import torch

from arbitrage.engines.vllm.lane import LaneWork
from arbitrage.engines.vllm.start import import_vllm, start_engine, wake_when_dead
from arbitrage.runtime.child_processes import guard_children
from arbitrage.speculation.protocols import EngineError, RequestLane

# Engines inside this process share vLLM's distributed state, which the first to shut down would take from the others:
# they shut down together, when the last is closed.
_open_here: list[Any] = []
_closed_here: list[Any] = []
_passing_here = threading.Lock()  # they share what vLLM knows of the pass it is in, too: one pass at a time


class Taker(Protocol):
    """What is asked of vLLM in one request, or in several, one after the other."""

    def request(self) -> tuple[Any, Any]:
        """Prompt and parameters of the next request."""

    def take(self, output: Any) -> Any:
        """The answer, by what vLLM returned; None where the next request is needed. Raises EngineError."""


class VllmModel(ABC):
    """A model that vLLM runs, to be closed when no longer needed. engine: vLLM's own (`LLMEngine`)."""

    def __init__(self, name: str, device: str, arguments: dict[str, Any], here: bool) -> None:
        """Start vLLM with `arguments` (`options`). name: what errors call the model; here: in this process.

        Raises EngineError, also where vLLM's kernels refuse the model only when they are asked for the first time.
        """
        self.name = name
        self._vllm = vllm = import_vllm(name)
        self._here, self._eager = here, here and arguments["enforce_eager"]
        with ExitStack() as stack:
            if not here:
                guard_children()
            self.engine = start_engine(name, vllm, device, arguments, here)
            if here:
                _open_here.append(self.engine)
            else:
                wake_when_dead(self.engine.engine_core)
            stack.callback(self._shut_down)
            self.max_context = int(self.engine.model_config.max_model_len)
            self.try_out()
            self._opened = stack.pop_all()

    @abstractmethod
    def try_out(self) -> None:
        """Ask for something small. Raises EngineError."""

    @abstractmethod
    def taker(self, payload: Any) -> Taker:
        """What answers a request of a scheduler. Raises EngineError where it is too long."""

    @property
    def weights_name(self) -> str:
        """Engine and version, as identities have it."""
        return f"vllm {self._vllm.__version__}"

    def close(self) -> None:
        """Shut vLLM down and free its memory; inside this process, once all its engines are closed."""
        self._opened.close()

    def _shut_down(self) -> None:
        if not self._here:
            self.engine.engine_core.shutdown()
        else:
            _open_here.remove(self.engine)
            _closed_here.append(self.engine)
            while _closed_here and not _open_here:
                _closed_here.pop().engine_core.shutdown()

    def forget(self) -> None:
        """Drop keys and values of earlier contexts. Raises EngineError."""
        if not self.engine.reset_prefix_cache():
            raise EngineError(f"{self.name}: vLLM keeps its prefix cache while requests are under way")

    async def work(self, lane: RequestLane) -> None:
        """Answer requests as they come (`protocols.ContinuousEngine`). Raises EngineError where vLLM fails."""
        await LaneWork(self, lane).work()

    def answers(self, takers: Sequence[Taker]) -> list[Any]:
        """What comes of all takers, in their order. Raises EngineError."""
        results: dict[int, Any] = {}
        while waiting := {at: taker.request() for at, taker in enumerate(takers) if at not in results}:
            for at, output in self.outputs(waiting):
                if (answer := takers[at].take(output)) is not None:
                    results[at] = answer
        return [results[at] for at in range(len(takers))]

    def outputs(self, requests: Mapping[int, tuple[Any, Any]]) -> Iterator[tuple[int, Any]]:
        """Run requests to their ends; vLLM's outputs, by key, as they come. Raises EngineError where vLLM fails."""
        under_way: list[str] = []
        try:
            for key, (prompt, parameters) in requests.items():
                under_way.append(self.engine.add_request(str(key), prompt, parameters))
            while self.engine.has_unfinished_requests():
                yield from ((int(output.request_id), output) for output in self.step())
            under_way.clear()
        except Exception as error:  # vLLM's own, torch's, and what its processes died of
            raise self.broken(error) from error
        finally:
            if under_way:  # interrupted, or failed
                self.engine.abort_request(under_way, internal=True)

    def step(self) -> list[Any]:
        """One pass of vLLM over what is under way; the outputs it brought."""
        if not self._here:
            return list(self.engine.step())
        with _passing_here:
            if not self._eager:
                return list(self.engine.step())
            with torch.compiler.set_stance("force_eager"):  # eager is eager: vLLM would still compile its sampler
                return list(self.engine.step())

    def broken(self, error: Exception) -> EngineError:
        """What a failure of vLLM is called."""
        return EngineError(
            f"{self.name}: vLLM failed ({type(error).__name__}: {error}); what it printed above tells more. "
            "Out of memory: lower batch_size, vllm.memory_share or vllm.cache_gib"
        )
