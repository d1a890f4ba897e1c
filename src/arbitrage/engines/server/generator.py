"""The openai engine: steps written by a completions server over HTTP (vLLM, SGLang, llama.cpp).

Contexts go out as token ids and steps come back as token ids, and the same rule as everywhere decides where a step
ends (`stopping`): a step is what the other engines call one, whatever the server makes of its stop strings. A server
that cannot be talked to in ids is refused: it would encode text anew, and read other ids than the other engines.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.engines.checkpoints import Checkpoint
from arbitrage.engines.prompting import Prompter
from arbitrage.engines.server.client import CompletionsClient, Json, written_tokens
from arbitrage.engines.server.launch import LocalServer
from arbitrage.engines.step_boundary import StepWriter, StopRule, eos_ids, finished_step, room
from arbitrage.speculation.protocols import EngineError, RequestLane
from arbitrage.speculation.steps import GREEDY, GeneratedStep, Ids, Sampling, lumped_entropy

# Whatever a server or a checkpoint has as its default, tokens are drawn from the model's own distribution.
PLAIN_SAMPLING = {
    "top_p": 1.0,
    "top_k": -1,
    "min_p": 0.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
    "repeat_penalty": 1.0,  # llama.cpp's name
}
# The end of a step is found in the ids; servers are told of it so that they stop there, and not to cut it off.
UNCUT = {"include_stop_str_in_output": True, "no_stop_trim": True, "return_token_ids": True}


class OpenAiGenerator:
    """A causal language model on a server, which writes steps (`protocols.Generator`)."""

    def __init__(
        self, checkpoint: Checkpoint, model: Model, generation: Generation, local: LocalServer | None = None
    ) -> None:
        """Wait for the server of `model`: `local`, which the job has started, or the one at `server.url`.

        checkpoint: its tokenizer and configuration; its weights where they are here. Raises EngineError.
        """
        self.name = checkpoint.key
        server = model.server
        self.tokenizer = checkpoint.tokenizer(chat=True)
        config, generation_config = checkpoint.configs()
        self._prompter = Prompter(checkpoint.path, self.tokenizer, model)
        self.stop = StopRule(self.tokenizer, generation.separator, eos_ids(self.tokenizer, config, generation_config))
        self.rows, self._top = server.concurrency, model.top_logprobs
        self._client = CompletionsClient(self.name, server, local)
        try:
            listed = self._listed(self._client.wait_ready(), server.model)
            self.model = str(listed["id"])
            limit = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None) or 2**31
            self.max_context = int(listed.get("max_model_len") or (listed.get("meta") or {}).get("n_ctx") or limit)
            self._streams = self._probe()
            version = self._client.run(self._client.version())
        except BaseException:
            self.close()
            raise
        engine, here = f"openai {listed.get('owned_by')} {version}", any(Path(checkpoint.path).glob("*.safetensors"))
        weights = checkpoint.fingerprint(model.dtype, engine, weights=here)
        served = [self.model, None if here else checkpoint.revision, model.vllm.quantisation, self.max_context]
        served += [self._top] if self._top else []  # its steps carry entropies
        self._identity = hashlib.sha256(f"{weights}\n{served}\n{self.stop.description}".encode()).hexdigest()

    @property
    def identity(self) -> str:
        return self._identity

    def close(self) -> None:
        """Close the connections; the server goes on."""
        self._client.close()

    def prompt_ids(self, problem: str) -> Ids:
        """Ids of the rendered prompt (`prompts`). Raises EngineError."""
        return self._prompter.prompt_ids(problem)

    def step_ids(self, text: str) -> Ids:
        """Ids of one step's text, encoded on its own, without special tokens."""
        return self._prompter.step_ids(text)

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        """Continue each context by one step of at most `limits[i]` tokens. Raises EngineError."""
        bodies = [self._body(context, limit, sampling) for context, limit in zip(contexts, limits, strict=True)]
        return self._client.run(self._all(bodies))

    def write_one(self, context: Ids, limit: int, salt: str, whole: bool = False) -> tuple[GeneratedStep, float]:
        """The greedy next step, and the seconds to its first token (live decoding, `prefix_cached`).

        whole: the solution up to its end, in one go. salt: contexts with another one share nothing in the server's
        prefix cache (vLLM, SGLang). Raises EngineError.
        """
        start = time.perf_counter()
        first: list[float] = []
        rule = self.stop.whole() if whole else self.stop
        body = self._body(context, limit, GREEDY) | {"cache_salt": salt}
        if whole:
            del body["stop"]
        step = self._client.run(self._streamed(body, lambda: first.append(time.perf_counter() - start), rule))
        return step, first[-1]

    async def _all(self, bodies: Sequence[Json]) -> list[GeneratedStep]:
        """A step for each request, `server.concurrency` of them under way; the first that fails ends the others."""
        free = asyncio.Semaphore(self.rows)

        async def one(body: Json) -> GeneratedStep:
            async with free:
                return await self._one(body)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(body)) for body in bodies]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def work(self, lane: RequestLane) -> None:
        """Answer requests as they come (`protocols.ContinuousEngine`). Raises EngineError where the server fails."""
        free = asyncio.Semaphore(lane.rows)

        async def answer(request: Any) -> None:
            try:
                body = self._body(*request.payload)
            except EngineError as error:  # its context is too long: only its question is told
                lane.refuse(request, error)
            else:
                lane.answer(request, await self._one(body))
            finally:
                free.release()

        try:
            async with self._client.on_this_loop(), asyncio.TaskGroup() as group:
                while True:
                    await free.acquire()
                    (request,) = await lane.take(1)
                    group.create_task(answer(request))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _one(self, body: Json) -> GeneratedStep:
        return await (self._streamed(body) if self._streams else self._whole(body))

    async def _whole(self, body: Json) -> GeneratedStep:
        reply = await self._client.complete(body)
        writer = StepWriter(self.stop, body["max_tokens"])
        self._take(writer, reply["choices"][0])
        return finished_step(self.name, writer)

    async def _streamed(
        self, body: Json, on_first: Callable[[], None] = lambda: None, rule: StopRule | None = None
    ) -> GeneratedStep:
        """The same, ended here as soon as the rule (the step's, if absent) says so."""
        rule = rule or self.stop
        writer = StepWriter(rule, body["max_tokens"])

        def begin() -> Callable[[Json], bool]:
            nonlocal writer
            writer = StepWriter(rule, body["max_tokens"])
            return take

        def take(event: Json) -> bool:
            fresh = not writer.ids
            self._take(writer, *event.get("choices", ()))
            if fresh and writer.ids:
                on_first()
            return writer.ended

        await self._client.stream(body, begin)
        return finished_step(self.name, writer)

    def _take(self, writer: StepWriter, *choices: Json) -> None:
        """Hand the tokens of a reply to the writer. Raises EngineError where it tells none."""
        for choice in choices:
            try:
                tokens = written_tokens(choice)
            except (KeyError, TypeError, ValueError) as error:
                raise EngineError(f"{self.name}: ids and log-probabilities disagree in the reply {choice}") from error
            for token, logprob, top in tokens or ():
                entropy = lumped_entropy(top) if self._top and top else None
                if writer.push(token, logprob, entropy):
                    return
            if reason := choice.get("finish_reason"):
                self._ended_there(writer, reason, choice.get("stop_reason", choice.get("matched_stop")))

    def _ended_there(self, writer: StepWriter, reason: str, stopped_by: Any) -> None:
        """The server has ended a step where the rule would not have. Raises EngineError where that cannot be right."""
        text = self.stop.decode(writer.ids)
        if not writer.ids or isinstance(stopped_by, str) or reason not in ("stop", "length"):
            raise EngineError(
                f"{self.name}: the server at {self._client.url} ended a step ({reason}, {stopped_by!r}) that reads "
                f"{text!r} by the tokenizer of {self._prompter.name}; expected the tokenizer of the model it serves"
            )
        # An end-of-sequence token that only the server knows (llama.cpp has its own), or a context shorter than told.
        writer.close("eos" if reason == "stop" else "length")

    def _body(self, context: Ids, limit: int, sampling: Sampling) -> Json:
        """A request for the next step. Raises EngineError where the context leaves no room for one."""
        drawn = {"seed": sampling.seed_of(context) >> 32} if sampling.temperature > 0 else {}
        return {
            "model": self.model,
            "prompt": list(context),
            "max_tokens": room(self.name, context, limit, self.max_context),
            "stop": [self.stop.separator],
            "stop_token_ids": sorted(self.stop.eos_ids),
            "temperature": sampling.temperature,
            **PLAIN_SAMPLING,
            **UNCUT,
            **drawn,
            "logprobs": max(1, self._top),
        }

    def _listed(self, models: Sequence[Json], name: str | None) -> Json:
        """The model to ask for. Raises EngineError where it is not there, or not the only one."""
        names = [str(model["id"]) for model in models]
        if name is None and len(models) == 1:
            return models[0]
        if name in names:
            return models[names.index(name)]
        raise EngineError(
            f"{self.name}: the server at {self._client.url} lists the models {names}; expected "
            f"{name or 'one'}: give one of them as server.model"
        )

    def _probe(self) -> bool:
        """Ask for one token: whether ids are taken and told at all; True where they are told token by token only."""
        context = self.prompt_ids("1 + 1 = ?")
        body = self._body(context, 1, GREEDY) | {"stop": []}  # llama.cpp leaves out the ids of a stop string
        reply = self._client.run(self._client.complete(body))
        choice = reply["choices"][0]
        read = choice.get("prompt_token_ids") or (reply.get("usage") or {}).get("prompt_tokens")
        if read not in (list(context), len(context)):
            raise EngineError(
                f"{self.name}: the server at {self._client.url} read a prompt of {len(context)} token ids as {read}; "
                "expected one that takes prompts as token ids (vLLM, SGLang, llama.cpp)"
            )
        tokens = written_tokens(choice)
        if not tokens:
            raise EngineError(
                f"{self.name}: the server at {self._client.url} does not tell the ids of the tokens it writes; "
                "expected `token_ids` (vLLM, SGLang) or `logprobs.content` (llama.cpp) in its reply: update the server"
            )
        if self._top and not all(top for _, _, top in tokens):
            raise EngineError(
                f"{self.name}.top_logprobs: {self._top}, but the server at {self._client.url} reports no "
                "log-probabilities of the most likely tokens; set it to 0, or update the server"
            )
        return "token_ids" not in choice
