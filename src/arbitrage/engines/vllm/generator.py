"""The vllm engine: steps written by vLLM in the job's own process, all contexts at once, prefixes read once.

vLLM gets token ids and returns token ids. Its stop string only makes it stop: where a step ends, what its text is and
what it counts is decided by the same rule as everywhere (`stopping`), from the ids. So a step is what the transformers
engine would have written, as long as both find the same tokens most likely: in float32 they do.

On a GPU vLLM runs in processes of its own, one a GPU; on a CPU inside this one, where it starts in seconds.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.engines.checkpoints import Checkpoint
from arbitrage.engines.prompting import Prompter
from arbitrage.engines.step_boundary import StepWriter, StopRule, eos_ids, finished_step, room
from arbitrage.engines.vllm.engine import Taker, VllmModel
from arbitrage.engines.vllm.given import READ_SALT, GivenText
from arbitrage.engines.vllm.options import engine_arguments
from arbitrage.speculation.protocols import EngineError
from arbitrage.speculation.steps import (
    GREEDY,
    GeneratedStep,
    Ids,
    Logprobs,
    ReadRequest,
    Sampling,
    StepRequest,
    lumped_entropy,
)


class WrittenStep:
    """A step that vLLM writes (`engine.Taker`); in more than one go where it stops at what is no separator."""

    def __init__(self, generator: VllmGenerator, payload: StepRequest) -> None:
        """Raises EngineError where the context is too long."""
        self._generator, self._payload = generator, payload
        limit = room(generator.name, payload.ids, payload.limit, generator.max_context)
        self._writer = StepWriter(generator.stop, limit)

    def request(self) -> tuple[Any, Any]:
        """Prompt and parameters of a request that goes on where the step is."""
        return self._generator.request(self._payload.ids, self._writer, self._payload.sampling)

    def take(self, output: Any) -> GeneratedStep | None:
        """The step; None where vLLM has stopped at a separator that the whole text does not have."""
        self._generator.take(self._writer, output.outputs[0])
        return finished_step(self._generator.name, self._writer) if self._writer.ended else None


class VllmGenerator(VllmModel):
    """A causal language model that writes steps (`protocols.Generator`) and reads them (`protocols.Reading`).

    To be closed when no longer needed.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        model: Model,
        generation: Generation,
        share: float = 0.9,
        speculation: Mapping[str, Any] | None = None,
    ) -> None:
        """Start vLLM on `checkpoint` as `model` says.

        share: of the memory of its GPUs that it may take (`engine_arguments`). speculation: where a draft is to propose
        its tokens (`speculative_config`), which are then written faster. Raises EngineError.
        """
        self.tokenizer = checkpoint.tokenizer(chat=True)
        self._prompter = Prompter(checkpoint.key, self.tokenizer, model)
        self.stop = StopRule(self.tokenizer, generation.separator, eos_ids(self.tokenizer, *checkpoint.configs()))
        self._top, self.rows = model.top_logprobs, model.batch_size
        arguments = engine_arguments(checkpoint, model, generation, share, model.batch_size)
        arguments |= {"speculative_config": dict(speculation)} if speculation else {}
        super().__init__(checkpoint.key, model.device, arguments, runs_here(model))
        weights = checkpoint.fingerprint(model.dtype, self.weights_name)
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

    def try_out(self) -> None:
        """Write a token behind a separator. Raises EngineError."""
        self.generate([self.step_ids(self.stop.separator)], [1])

    def prompt_ids(self, problem: str) -> Ids:
        """Ids of the rendered prompt (`prompts`). Raises EngineError."""
        return self._prompter.prompt_ids(problem)

    def step_ids(self, text: str) -> Ids:
        """Ids of one step's text, encoded on its own, without special tokens."""
        return self._prompter.step_ids(text)

    def taker(self, payload: StepRequest | ReadRequest) -> Taker:
        """What writes or reads the step that is asked for. Raises EngineError where its context is too long."""
        if isinstance(payload, ReadRequest):
            return GivenText(self._vllm, self.name, payload, READ_SALT)
        return WrittenStep(self, payload)

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        """Continue each context by one step of at most `limits[i]` tokens. Raises EngineError."""
        payloads = [StepRequest(ids, limit, sampling) for ids, limit in zip(contexts, limits, strict=True)]
        return self.answers([WrittenStep(self, payload) for payload in payloads])

    def read(self, inputs: Sequence[Ids], starts: Sequence[int], salt: str = READ_SALT) -> list[Logprobs]:
        """Log-probabilities of each input's ids from its start on (`protocols.Reading`). Raises EngineError.

        Only texts and contexts with the same `salt` share what was read.
        """
        payloads = map(ReadRequest, inputs, starts)
        return self.answers([GivenText(self._vllm, self.name, payload, salt) for payload in payloads])

    def read_one(self, ids: Ids, start: int, salt: str) -> Logprobs:
        """The same for one input, in live decoding (`prefix_cached.PrefixReading`)."""
        (logprobs,) = self.read([ids], [start], salt)
        return logprobs

    def write_one(self, context: Ids, limit: int, salt: str, whole: bool = False) -> tuple[GeneratedStep, float]:
        """The greedy next step, and the seconds to its first token (`prefix_cached.PrefixCaching`)."""
        start, first = time.perf_counter(), 0.0
        rule = self.stop.whole() if whole else self.stop
        writer = StepWriter(rule, room(self.name, context, limit, self.max_context))
        while not writer.ended:
            for _, output in self.outputs({0: self.request(context, writer, GREEDY, salt)}):
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
