"""The vllm engine: steps written by vLLM in the job's own process, all contexts at once, prefixes read once.

vLLM gets token ids and returns token ids. Its stop string only makes it stop: where a step ends, what its text is and
what it counts is decided by the same rule as everywhere (`stopping`), from the ids. So a step is what the transformers
engine would have written, as long as both find the same tokens most likely: in float32 they do.

On a GPU vLLM runs in processes of its own, one a GPU; on a CPU inside this one, where it starts in seconds.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch

from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.engines import checkpoints
from arbitrage.engines.prompting import Prompter
from arbitrage.engines.step_boundary import StepWriter, StopRule, eos_ids, finished_step, room
from arbitrage.engines.vllm.options import engine_arguments
from arbitrage.runtime.child_guard import guarded, wake_when_dead
from arbitrage.speculation.protocols import GREEDY, EngineError, GeneratedStep, Ids, Sampling

# What vLLM reads when it is imported or starts; what the user has set stays.
ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # CUDA does not survive a fork
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # jobs side by side would all be bound to the first core
}
IN_PROCESS = "VLLM_ENABLE_V1_MULTIPROCESSING"

# Engines inside this process share vLLM's distributed state, which the first to shut down would take from the others:
# they shut down together, when the last is closed.
_open_here: list[Any] = []
_closed_here: list[Any] = []


class VllmGenerator:
    """A causal language model that writes steps (`protocols.Generator`); to be closed when no longer needed."""

    def __init__(
        self, name: str, path: str, model: Model, generation: Generation, threads: int, share: float = 0.9
    ) -> None:
        """Start vLLM on the checkpoint at `path` (a directory, or a hub id with `model.revision`) as `model` says.

        name: a key of `models`; threads: torch threads of this process, on a CPU; share: of the memory of its
        GPUs that it may take (`vllm_options`). Raises EngineError.
        """
        self.name = name = f"models.{name}"
        vllm = _import(name)
        self.tokenizer = checkpoints.load_tokenizer(path, model.revision, chat=True)
        self._prompter = Prompter(name, self.tokenizer, model)
        configs = checkpoints.load_configs(path, model.revision)
        self.stop = StopRule(self.tokenizer, generation.separator, eos_ids(self.tokenizer, *configs))
        arguments = engine_arguments(name, path, model, generation, share, model.batch_size)
        self._here = runs_here(model)
        self._eager = self._here and arguments["enforce_eager"]
        torch.set_num_threads(threads)
        with ExitStack() as stack:
            if not self._here:
                stack.enter_context(guarded())
            self._vllm, self._engine = vllm, _start(name, vllm, model.device, arguments, self._here)
            if self._here:
                _open_here.append(self._engine)
            else:
                wake_when_dead(self._engine.engine_core)
            stack.callback(self._shut_down)
            self.max_context = int(self._engine.model_config.max_model_len)
            # Some shapes of models are refused by vLLM's kernels only, when they are asked for the first time.
            self.generate([self.step_ids(generation.separator)], [1])
            self._opened = stack.pop_all()
        weights = checkpoints.fingerprint(path, model.revision, model.dtype, f"vllm {vllm.__version__}")
        cut = (model.vllm.quantisation, model.vllm.tensor_parallel, self.max_context)
        self._identity = hashlib.sha256(f"{weights}\n{cut}\n{generation.separator!r}".encode()).hexdigest()

    @property
    def identity(self) -> str:
        return self._identity

    def close(self) -> None:
        """Shut vLLM down and free its memory; inside this process, once all its engines are closed."""
        self._opened.close()

    def _shut_down(self) -> None:
        if not self._here:
            self._engine.engine_core.shutdown()
        else:
            _open_here.remove(self._engine)
            _closed_here.append(self._engine)
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
        if not self._engine.reset_prefix_cache():
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
            requests = {at: self._request(contexts[at], writers[at], sampling) for at in waiting}
            for at, completion in self._outputs(requests):
                self._take(writers[at], completion)
            waiting = [at for at in waiting if not writers[at].ended]
        return [finished_step(self.name, writer) for writer in writers]

    def write_one(self, context: Ids, limit: int, salt: str) -> tuple[GeneratedStep, float]:
        """The greedy next step, and the seconds to its first token (`prefix_cached.PrefixCaching`)."""
        start, first = time.perf_counter(), 0.0
        writer = StepWriter(self.stop, room(self.name, context, limit, self.max_context))
        while not writer.ended:
            for _, completion in self._outputs({0: self._request(context, writer, GREEDY, salt)}):
                first = first or time.perf_counter() - start
                self._take(writer, completion)
        return finished_step(self.name, writer), first

    def _request(
        self, context: Ids, writer: StepWriter, sampling: Sampling, salt: str | None = None
    ) -> tuple[Any, Any]:
        """Prompt and parameters of a request that goes on where `writer` is; with a salt, told token by token."""
        kinds = self._vllm.sampling_params.RequestOutputKind
        parameters = self._vllm.SamplingParams(
            temperature=sampling.temperature,
            seed=sampling.seed_of((*context, *writer.ids)) if sampling.temperature > 0 else None,
            max_tokens=writer.limit - len(writer.ids),
            stop=[self.stop.separator],
            include_stop_str_in_output=True,
            ignore_eos=True,  # vLLM knows one; these are all
            stop_token_ids=sorted(self.stop.eos_ids),
            logprobs=0,  # of the token itself, at temperature 1
            output_kind=kinds.FINAL_ONLY if salt is None else kinds.DELTA,
        )
        return self._vllm.inputs.tokens_input([*context, *writer.ids], cache_salt=salt), parameters

    def _outputs(self, requests: Mapping[int, tuple[Any, Any]]) -> Iterator[tuple[int, Any]]:
        """Run requests to their ends; what they wrote, by key, as it comes. Raises EngineError where vLLM fails."""
        under_way: list[str] = []
        try:
            for key, (prompt, parameters) in requests.items():
                under_way.append(self._engine.add_request(str(key), prompt, parameters))
            while self._engine.has_unfinished_requests():
                with self._without_compiling():
                    outputs = self._engine.step()
                yield from ((int(output.request_id), output.outputs[0]) for output in outputs)
            under_way.clear()
        except Exception as error:  # vLLM's own, torch's, and what its processes died of
            raise EngineError(
                f"{self.name}: vLLM failed ({type(error).__name__}: {error}); what it printed above tells more. "
                "Out of memory: lower batch_size, vllm.memory_share or vllm.cache_gib"
            ) from error
        finally:
            if under_way:  # interrupted, or failed
                self._engine.abort_request(under_way, internal=True)

    def _without_compiling(self) -> AbstractContextManager[object]:
        """Eager is eager: vLLM would still compile a kernel of its sampler, which takes longer than all of a test."""
        return torch.compiler.set_stance("force_eager") if self._eager else nullcontext()

    def _take(self, writer: StepWriter, completion: Any) -> None:
        """Hand the tokens of `completion` to the writer, up to its end."""
        if not completion.token_ids and completion.finish_reason not in (None, "stop", "length"):
            raise EngineError(f"{self.name}: vLLM ended a request without writing ({completion.finish_reason})")
        for token, logprobs in zip(completion.token_ids, completion.logprobs, strict=True):
            if not writer.ended:
                writer.push(token, logprobs[token].logprob)


def runs_here(model: Model) -> bool:
    """Whether vLLM runs the model inside this process."""
    return model.device == "cpu" and model.vllm.tensor_parallel == 1


def _import(name: str) -> Any:
    """The package vllm, told to be quiet and to stay at home."""
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    try:
        import vllm
        import vllm.inputs
        import vllm.sampling_params
    except ImportError as error:
        raise EngineError(
            f"{name}: engine vllm needs the package vllm, which cannot be imported ({error}); "
            "pip install '.[vllm]' in the repository on a machine with CUDA, or see docs/engines.md for its CPU build"
        ) from error
    return vllm


def _start(name: str, vllm: Any, device: str, arguments: dict[str, Any], here: bool) -> Any:
    """An engine with `arguments`; `here`: in this process. Raises EngineError."""
    from vllm.platforms import current_platform

    if current_platform.is_cpu() != (device == "cpu"):
        build = "CPUs" if current_platform.is_cpu() else current_platform.device_name
        raise EngineError(f"{name}: device {device!r}, but the installed vLLM is the build for {build}")
    os.environ[IN_PROCESS] = "0"  # in other processes only where that is asked for here
    set_num_threads = torch.set_num_threads
    try:
        return vllm.LLMEngine.from_engine_args(
            vllm.EngineArgs(**arguments, disable_log_stats=True, use_tqdm_on_load=False),
            enable_multiprocessing=not here,
        )
    except Exception as error:  # pydantic's, torch's and vLLM's own; none names the key
        raise EngineError(
            f"{name}: vLLM cannot run {arguments['model']} in {arguments['dtype']} on {device} "
            f"({type(error).__name__}: {error}). Too little memory: vllm.max_context, vllm.cache_gib and "
            "vllm.memory_share decide; weights: dtype and vllm.quantisation"
        ) from error
    finally:
        torch.set_num_threads = set_num_threads  # on a CPU vLLM puts a function in its place that does nothing
