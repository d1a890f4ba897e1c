"""The vllm engine: steps written by vLLM in the job's own process, all contexts at once, prefixes read once.

vLLM gets token ids and returns token ids. Its stop string only makes it stop: where a step ends, what its text is and
what it counts is decided by the same rule as everywhere (`stopping`), from the ids. So a step is what the transformers
engine would have written, as long as both find the same tokens most likely: in float32 they do.

On a GPU vLLM runs in processes of its own, one a GPU; on a CPU inside this one, where it starts in seconds.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch

from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.engines.checkpoints import Checkpoint
from arbitrage.engines.prompting import Prompter
from arbitrage.engines.step_boundary import StepWriter, StopRule, eos_ids, finished_step, room
from arbitrage.engines.vllm.given import READ_SALT, GivenText
from arbitrage.engines.vllm.lane import LaneWork
from arbitrage.engines.vllm.options import engine_arguments
from arbitrage.engines.vllm.start import import_vllm, start_engine, wake_when_dead
from arbitrage.runtime.child_processes import guard_children
from arbitrage.speculation.protocols import EngineError, RequestLane
from arbitrage.speculation.steps import (
    GREEDY,
    GeneratedStep,
    Ids,
    Logprobs,
    ReadRequest,
    Sampling,
    lumped_entropy,
)

# Engines inside this process share vLLM's distributed state, which the first to shut down would take from the others:
# they shut down together, when the last is closed.
_open_here: list[Any] = []
_closed_here: list[Any] = []


class VllmGenerator:
    """A causal language model that writes steps (`protocols.Generator`) and reads them (`protocols.Reading`).

    To be closed when no longer needed.
    """

    def __init__(self, checkpoint: Checkpoint, model: Model, generation: Generation, share: float = 0.9) -> None:
        """Start vLLM on `checkpoint` as `model` says.

        share: of the memory of its GPUs that it may take (`engine_arguments`). Raises EngineError.
        """
        self.name = name = checkpoint.key
        vllm = import_vllm(name)
        self.tokenizer = checkpoint.tokenizer(chat=True)
        self._prompter = Prompter(name, self.tokenizer, model)
        self.stop = StopRule(self.tokenizer, generation.separator, eos_ids(self.tokenizer, *checkpoint.configs()))
        self._top, self.rows = model.top_logprobs, model.batch_size
        arguments = engine_arguments(checkpoint, model, generation, share, model.batch_size)
        self._here = runs_here(model)
        self._eager = self._here and arguments["enforce_eager"]
        with ExitStack() as stack:
            if not self._here:
                guard_children()
            self._vllm, self.engine = vllm, start_engine(name, vllm, model.device, arguments, self._here)
            if self._here:
                _open_here.append(self.engine)
            else:
                wake_when_dead(self.engine.engine_core)
            stack.callback(self._shut_down)
            self.max_context = int(self.engine.model_config.max_model_len)
            # Some shapes of models are refused by vLLM's kernels only, when they are asked for the first time.
            self.generate([self.step_ids(generation.separator)], [1])
            self._opened = stack.pop_all()
        weights = checkpoint.fingerprint(model.dtype, f"vllm {vllm.__version__}")
        cut: tuple[Any, ...] = (model.vllm.quantisation, model.vllm.tensor_parallel, self.max_context)
        if model.top_logprobs:  # its steps carry entropies
            cut = (*cut, model.top_logprobs)
        self._identity = hashlib.sha256(f"{weights}\n{cut}\n{self.stop.description}".encode()).hexdigest()

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def end_ids(self) -> Ids:
        return self.stop.end_ids

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

    def prompt_ids(self, problem: str) -> Ids:
        """Ids of the rendered prompt (`prompts`). Raises EngineError."""
        return self._prompter.prompt_ids(problem)

    def step_ids(self, text: str) -> Ids:
        """Ids of one step's text, encoded on its own, without special tokens."""
        return self._prompter.step_ids(text)

    def forget(self) -> None:
        """Drop keys and values of earlier contexts. Raises EngineError."""
        if not self.engine.reset_prefix_cache():
            raise EngineError(f"{self.name}: vLLM keeps its prefix cache while requests are under way")

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        """Continue each context by one step of at most `limits[i]` tokens. Raises EngineError."""
        writers = [
            StepWriter(self.stop, room(self.name, context, limit, self.max_context))
            for context, limit in zip(contexts, limits, strict=True)
        ]
        waiting = list(range(len(contexts)))
        while waiting:  # a second time only where vLLM has stopped at a separator that the whole text does not have
            requests = {at: self.request(contexts[at], writers[at], sampling) for at in waiting}
            for at, output in self._outputs(requests):
                self.take(writers[at], output.outputs[0])
            waiting = [at for at in waiting if not writers[at].ended]
        return [finished_step(self.name, writer) for writer in writers]

    def read(self, inputs: Sequence[Ids], starts: Sequence[int], salt: str = READ_SALT) -> list[Logprobs]:
        """Log-probabilities of each input's ids from its start on (`protocols.Reading`). Raises EngineError."""
        payloads = map(ReadRequest, inputs, starts)
        texts = {at: self.given(payload, salt) for at, payload in enumerate(payloads)}
        results: dict[int, Logprobs] = {}
        while waiting := {at: text.request() for at, text in texts.items() if at not in results}:
            for at, output in self._outputs(waiting):
                if (logprobs := texts[at].take(self.name, output)) is not None:
                    results[at] = logprobs
        return [results[at] for at in texts]

    def given(self, payload: ReadRequest, salt: str) -> GivenText:
        """What is read, to be handed to vLLM. Only texts and contexts with the same `salt` share what was read."""
        return GivenText(self._vllm, payload, salt)

    def read_one(self, ids: Ids, start: int, salt: str) -> Logprobs:
        """The same for one input, in live decoding (`prefix_cached.PrefixReading`)."""
        (logprobs,) = self.read([ids], [start], salt)
        return logprobs

    async def work(self, lane: RequestLane) -> None:
        """Answer requests as they come (`protocols.ContinuousEngine`). Raises EngineError where vLLM fails."""
        await LaneWork(self, lane).work()

    def write_one(self, context: Ids, limit: int, salt: str, whole: bool = False) -> tuple[GeneratedStep, float]:
        """The greedy next step, and the seconds to its first token (`prefix_cached.PrefixCaching`)."""
        start, first = time.perf_counter(), 0.0
        rule = self.stop.whole() if whole else self.stop
        writer = StepWriter(rule, room(self.name, context, limit, self.max_context))
        while not writer.ended:
            for _, output in self._outputs({0: self.request(context, writer, GREEDY, salt)}):
                first = first or time.perf_counter() - start
                self.take(writer, output.outputs[0])
        return finished_step(self.name, writer), first

    def request(self, context: Ids, writer: StepWriter, sampling: Sampling, salt: str | None = None) -> tuple[Any, Any]:
        """Prompt and parameters of a request that goes on where `writer` is; with a salt, told token by token."""
        kinds = self._vllm.sampling_params.RequestOutputKind
        parameters = self._vllm.SamplingParams(
            temperature=sampling.temperature,
            seed=sampling.seed_of((*context, *writer.ids)) if sampling.temperature > 0 else None,
            max_tokens=writer.limit - len(writer.ids),
            stop=writer.rule.stop_texts,
            include_stop_str_in_output=True,
            ignore_eos=True,  # vLLM knows one; these are all
            stop_token_ids=sorted(self.stop.eos_ids),
            logprobs=self._top,  # beside that of the token itself; all at temperature 1
            output_kind=kinds.FINAL_ONLY if salt is None else kinds.DELTA,
        )
        return self._vllm.inputs.tokens_input([*context, *writer.ids], cache_salt=salt), parameters

    def _outputs(self, requests: Mapping[int, tuple[Any, Any]]) -> Iterator[tuple[int, Any]]:
        """Run requests to their ends; vLLM's outputs, by key, as they come. Raises EngineError where vLLM fails."""
        under_way: list[str] = []
        try:
            for key, (prompt, parameters) in requests.items():
                under_way.append(self.engine.add_request(str(key), prompt, parameters))
            while self.engine.has_unfinished_requests():
                with self.without_compiling():
                    outputs = self.engine.step()
                yield from ((int(output.request_id), output) for output in outputs)
            under_way.clear()
        except Exception as error:  # vLLM's own, torch's, and what its processes died of
            raise self.broken(error) from error
        finally:
            if under_way:  # interrupted, or failed
                self.engine.abort_request(under_way, internal=True)

    def broken(self, error: Exception) -> EngineError:
        """What a failure of vLLM is called."""
        return EngineError(
            f"{self.name}: vLLM failed ({type(error).__name__}: {error}); what it printed above tells more. "
            "Out of memory: lower batch_size, vllm.memory_share or vllm.cache_gib"
        )

    def without_compiling(self) -> AbstractContextManager[object]:
        """Eager is eager: vLLM would still compile a kernel of its sampler, which takes longer than all of a test."""
        return torch.compiler.set_stance("force_eager") if self._eager else nullcontext()

    def take(self, writer: StepWriter, completion: Any) -> None:
        """Hand the tokens of `completion` to the writer, up to its end."""
        if not completion.token_ids and completion.finish_reason not in (None, "stop", "length"):
            raise EngineError(f"{self.name}: vLLM ended a request without writing ({completion.finish_reason})")
        for token, logprobs in zip(completion.token_ids, completion.logprobs, strict=True):
            if not writer.ended:
                entropy = lumped_entropy(each.logprob for each in logprobs.values()) if self._top else None
                writer.push(token, logprobs[token].logprob, entropy)


def runs_here(model: Model) -> bool:
    """Whether vLLM runs the model inside this process."""
    return model.device == "cpu" and model.vllm.tensor_parallel == 1
