"""The transformers engine: steps written by any Hugging Face causal language model, many contexts at a time.

Not `model.generate`: steps end at a separator in the text, contexts repeat and grow, and the lab's models are so small
that whatever is done a token in Python shows. Contexts are id sequences throughout (`protocols`).
"""

from __future__ import annotations

import hashlib
from array import array
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from arbitrage.engines import checkpoints
from arbitrage.engines.batches import Batch, BatchRunner, context_limit
from arbitrage.engines.kv_cache import BufferCache
from arbitrage.engines.prompts import Prompter
from arbitrage.engines.protocols import GREEDY, EngineError, GeneratedStep, Ids, Sampling
from arbitrage.engines.stopping import StepWriter, StopRule
from arbitrage.sections.models import Model
from arbitrage.sections.stages import Generation

FREE_SHARE = 0.25  # ended rows are refilled, or leave the batch, once they are this share of it
# A batch is refilled until it has grown by so many columns: those of ended rows are work for nothing. On a CPU that
# costs what the rows do, and refilling pays little; on a GPU a token takes as long for few rows as for many.
REFILLED_COLUMNS = {"cpu": 32, "cuda": 512}


class TransformersGenerator:
    """A causal language model that writes steps (`protocols.Generator`)."""

    def __init__(self, path: str, model: Model, generation: Generation, threads: int) -> None:
        """Load the checkpoint at `path` (a directory, or a hub id with `model.revision`) as `model` says.

        threads: torch threads of this process. Raises EngineError (`checkpoints`, `stopping`, `batches.context_limit`).
        """
        torch.set_num_threads(threads)
        self.name = path
        self.tokenizer = checkpoints.load_tokenizer(path, model.revision, chat=True)
        self._prompter = Prompter(path, self.tokenizer, model)
        self.model = checkpoints.load_model(path, model.revision, model.dtype, model.device, ("ForCausalLM",))
        self.device = torch.device(model.device)
        self.stop = StopRule(self.tokenizer, generation.separator, eos_ids(self.tokenizer, self.model))
        self.max_context = context_limit(self.model.config)
        self.layers = int(self.model.config.get_text_config(decoder=True).num_hidden_layers)
        weights = checkpoints.fingerprint(path, model.revision, model.dtype, f"transformers {version('transformers')}")
        self._identity = hashlib.sha256(f"{weights}\n{generation.separator!r}".encode()).hexdigest()
        self._refilled = REFILLED_COLUMNS.get(self.device.type, REFILLED_COLUMNS["cuda"])
        self._runner = BatchRunner(path, self.forward, self.layers, self.device, model.batch_size)

    @property
    def identity(self) -> str:
        return self._identity

    def prompt_ids(self, problem: str) -> Ids:
        """Ids of the rendered prompt (`prompts`). Raises EngineError."""
        return self._prompter.prompt_ids(problem)

    def step_ids(self, text: str) -> Ids:
        """Ids of one step's text, encoded on its own, without special tokens."""
        return self._prompter.step_ids(text)

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: BufferCache) -> Tensor:
        """Read `ids` [rows, n] after what `cache` holds; return the logits of what follows [rows, vocabulary]."""
        output = self.model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1]
        return logits

    def room(self, context: Ids, limit: int) -> int:
        """How many tokens a step may have: `limit`, less where the model's positions end before. Raises EngineError."""
        room = min(limit, self.max_context - len(context))
        if not context or room < 1 or limit < 1:
            raise EngineError(
                f"{self.name}: a context of {len(context)} tokens and a limit of {limit}; expected a context of 1 to "
                f"{self.max_context - 1} tokens and a limit >= 1. Lower generation.max_tokens or shorten the prompt"
            )
        return room

    def forget(self) -> None:
        """Drop keys and values of earlier contexts; from here on results repeat bit for bit."""
        self._runner.forget()

    @torch.inference_mode()
    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        """Continue each context by one step of at most `limits[i]` tokens. Raises EngineError."""
        rooms = [self.room(context, limit) for context, limit in zip(contexts, limits, strict=True)]
        writers = [StepWriter(self.stop, room) for room in rooms]
        waiting = deque(self._runner.order(contexts))
        while waiting:
            places = [waiting.popleft() for _ in range(min(self._runner.batch_size, len(waiting)))]
            batch = self._runner.read([contexts[place] for place in places], self._refilled + max(rooms))
            self._write(batch, places, waiting, contexts, writers, sampling)
        return [self.finished(writer) for writer in writers]

    def _write(
        self,
        batch: Batch,
        places: list[int],
        waiting: deque[int],
        contexts: Sequence[Ids],
        writers: Sequence[StepWriter],
        sampling: Sampling,
    ) -> None:
        """Continue the rows of `batch` (the contexts at `places`) to their ends; ended ones make room for `waiting`."""
        last = batch.length + self._refilled
        while places:
            tokens = self._next(batch.output, places, contexts, writers, sampling)
            free = [row for row, place in enumerate(places) if writers[place].ended]
            if len(free) >= FREE_SHARE * len(places):
                batch.remember({row: writers[places[row]].ids[:-1] for row in free})  # the last token was not fed
                taken: list[int] = []
                while waiting and len(taken) < len(free) and len(contexts[waiting[0]]) <= batch.length <= last:
                    taken.append(waiting.popleft())
                if taken:
                    rows, free = free[: len(taken)], free[len(taken) :]
                    batch.refill(rows, [contexts[place] for place in taken])
                    for row, place in zip(rows, taken, strict=True):
                        places[row] = place
                    tokens[rows] = self._next(batch.output[rows], taken, contexts, writers, sampling)
                if free:
                    # Rows at the end move into the places of ended ones: fewer to copy than closing the ranks.
                    gone, alive = set(free), [row for row in range(len(places)) if row not in set(free)]
                    alive = [row if row not in gone else alive.pop() for row in range(len(alive))]
                    places[:] = [places[row] for row in alive]
                    if not places:
                        break
                    batch.keep(alive)
                    tokens = tokens[alive]
            batch.feed(tokens)

    def _next(
        self,
        output: Tensor,
        places: Sequence[int],
        contexts: Sequence[Ids],
        writers: Sequence[StepWriter],
        sampling: Sampling,
    ) -> Tensor:
        """The next token [rows] after each row of `output`, handed to the writers at `places` that have not ended."""
        uniforms = None
        if sampling.temperature > 0:
            drawn = [_uniform(sampling, contexts[place], writers[place]) for place in places]
            uniforms = torch.tensor(drawn, dtype=torch.float64)
        tokens, logprobs = choose(output, sampling.temperature, uniforms)
        for place, token, logprob in zip(places, tokens.tolist(), logprobs.tolist(), strict=True):
            if not writers[place].ended:
                writers[place].push(token, logprob)
        return tokens

    def finished(self, writer: StepWriter) -> GeneratedStep:
        """The step of a writer that has ended. Raises EngineError where the model's output was not finite."""
        if writer.logprob_sum - writer.logprob_sum != 0.0:
            self.forget()  # what was kept may hold NaN too
            raise EngineError(
                f"{self.name}: logits are not finite after {writer.rule.decode(writer.ids)!r}; "
                "the weights are damaged, or the dtype is too narrow for them (try float32)"
            )
        return writer.step()


def choose(logits: Tensor, temperature: float, uniforms: Tensor | None) -> tuple[Tensor, Tensor]:
    """The next token of each row of `logits` [rows, vocabulary], and its log-probability at temperature 1, in fp32.

    uniforms: one number in [0, 1) a row for sampling by inversion; None for the most likely token.
    """
    logits = logits.float()
    if uniforms is None:
        tokens = logits.argmax(dim=-1)
    else:
        cumulative = (logits.double() / temperature).softmax(dim=-1).cumsum(dim=-1)
        wanted = uniforms.to(logits.device)[:, None] * cumulative[:, -1:]
        tokens = torch.searchsorted(cumulative, wanted, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
    return tokens, logits.log_softmax(dim=-1).gather(1, tokens[:, None])[:, 0]


def _uniform(sampling: Sampling, context: Ids, writer: StepWriter) -> float:
    """The random number of a writer's next token."""
    return _uniforms(sampling, context, writer.limit)[min(len(writer.ids), writer.limit - 1)]


@lru_cache(maxsize=4096)
def _uniforms(sampling: Sampling, context: Ids, count: int) -> list[float]:
    """The random numbers of one context and sample, the same whatever is decoded beside it."""
    name = f"{sampling.seed}:{sampling.sample}:".encode() + array("q", context).tobytes()
    seed = int.from_bytes(hashlib.sha256(name).digest()[:8], "big") >> 1
    drawn = torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return [float(number) for number in drawn]


def eos_ids(tokenizer: Any, model: Any) -> set[int]:
    """Every id that ends a text: of the tokenizer, the model's configuration and its generation configuration."""
    found: set[int] = set()
    for value in (
        tokenizer.eos_token_id,
        model.config.eos_token_id,
        getattr(model.generation_config, "eos_token_id", None),
    ):
        found.update([value] if isinstance(value, int) else value or [])
    return found
