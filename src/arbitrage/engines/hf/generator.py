"""The transformers engine: steps written by any Hugging Face causal language model, many contexts at a time.

Not `model.generate`: steps end at a separator in the text, contexts repeat and grow, and the lab's models are so small
that whatever is done a token in Python shows. Contexts are id sequences throughout (`protocols`).
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.engines.checkpoints import Checkpoint
from arbitrage.engines.hf.attention import engine_name, last_logits, last_states, logits_after, logprobs_of
from arbitrage.engines.hf.batching import Batch, BatchRunner
from arbitrage.engines.hf.kv_cache import BufferCache
from arbitrage.engines.hf.limits import SCRATCH_BYTES, OutOfMemoryError, context_limit, positions_at_once, raise_lost
from arbitrage.engines.hf.next_tokens import Job, next_tokens
from arbitrage.engines.prompting import Prompter
from arbitrage.engines.step_boundary import (
    StepWriter,
    StopRule,
    checked_logprobs,
    checked_state,
    eos_ids,
    finished_step,
    room,
)
from arbitrage.runtime.progress import Progress
from arbitrage.speculation.protocols import ContextMemoryError, EngineError
from arbitrage.speculation.steps import GREEDY, GeneratedStep, Ids, Logprobs, Sampling, State

FREE_SHARE = 0.25  # ended rows are refilled, or leave the batch, once they are this share of it
# For how many columns a batch is refilled. On a GPU a pass takes about as long for few rows as for many, so places kept
# busy are passes saved. On a CPU a row costs what it costs, wherever it stands, and the columns that ended rows leave
# behind come on top: the lab's target was 7 to 15 % slower with refilling.
REFILLED_COLUMNS = {"cpu": 0, "cuda": 512}


class TransformersGenerator:
    """A causal language model that writes steps (`protocols.Generator`), reads them (`protocols.Reading`), and gives
    its hidden states (`protocols.StateReading`)."""

    def __init__(self, checkpoint: Checkpoint, model: Model, generation: Generation) -> None:
        """Load `checkpoint` as `model` says. Raises EngineError (`checkpoints`, `StopRule`, `context_limit`)."""
        self.name = checkpoint.path
        self.tokenizer = checkpoint.tokenizer(chat=True)
        self._prompter = Prompter(self.name, self.tokenizer, model)
        self.model = checkpoint.load(model.dtype, model.device, ("ForCausalLM",))
        self.device = torch.device(model.device)
        self.rows = model.batch_size
        self.stop = StopRule(
            self.tokenizer,
            generation.separator,
            eos_ids(self.tokenizer, self.model.config, self.model.generation_config),
        )
        self.max_context = context_limit(self.model.config)
        self.layers = int(self.model.config.get_text_config(decoder=True).num_hidden_layers)
        weights = checkpoint.fingerprint(model.dtype, engine_name(self.model))
        self._identity = hashlib.sha256(f"{weights}\n{self.stop.description}".encode()).hexdigest()
        vocabulary = int(self.model.config.get_text_config(decoder=True).vocab_size)
        # Readings also hold logits, two or three times over, of each id.
        self._readable = max(1, min(positions_at_once(self.model), SCRATCH_BYTES // (12 * vocabulary)))
        self.refilled_columns = REFILLED_COLUMNS.get(self.device.type, REFILLED_COLUMNS["cuda"])
        self._runner = BatchRunner(
            self.name, self.forward, self.layers, self.device, model.batch_size, positions_at_once(self.model)
        )

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def end_ids(self) -> Ids:
        return self.stop.end_ids

    def prompt_ids(self, problem: str) -> Ids:
        """Ids of the rendered prompt (`prompts`). Raises EngineError."""
        return self._prompter.prompt_ids(problem)

    def step_ids(self, text: str) -> Ids:
        """Ids of one step's text, encoded on its own, without special tokens."""
        return self._prompter.step_ids(text)

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: BufferCache) -> Tensor:
        """Read `ids` [rows, n] after what `cache` holds; return the logits of what follows [rows, vocabulary]."""
        return last_logits(self.model, ids, positions, mask, cache)

    def logits_after(
        self, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: BufferCache, count: int
    ) -> Tensor:
        """Read `ids` [rows, n] after what `cache` holds; return the logits of what follows each of the last `count`
        (1 to n) of them [rows, count, vocabulary]."""
        return logits_after(self.model, ids, positions, mask, cache, count)

    def room(self, context: Ids, limit: int) -> int:
        """How many tokens a step after `context` may have (`stopping.room`). Raises EngineError."""
        return room(self.name, context, limit, self.max_context)

    def forget(self) -> None:
        """Drop keys and values of earlier contexts; from here on results repeat bit for bit."""
        self._runner.forget()

    @torch.inference_mode()
    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        """Continue each context by one step of at most `limits[i]` tokens. Raises EngineError.

        One that takes all memory there is while it is written ends by `length`; ContextMemoryError, after all others,
        names those that cannot even be read.
        """
        rooms = [self.room(context, limit) for context, limit in zip(contexts, limits, strict=True)]
        jobs = [
            Job(context, StepWriter(self.stop, room), sampling) for context, room in zip(contexts, rooms, strict=True)
        ]
        progress = Progress(len(jobs), "steps", f"writing with {self.name}", quiet=True)
        waiting = deque(jobs[index] for index in self._runner.order(contexts))
        lost: dict[Ids, ContextMemoryError] = {}
        while waiting:
            count = self._runner.fitting([job.context for job in islice(waiting, self._runner.batch_size)])
            rows = [waiting.popleft() for _ in range(count)]
            try:
                batch = self._runner.read([job.context for job in rows], self.refilled_columns + max(rooms))
                self._write(batch, rows, waiting, progress)
            except OutOfMemoryError as error:
                still = {id(job) for job in waiting}
                cut_off = [job for job in jobs if not job.writer.ended and id(job) not in still]
                try:
                    self._runner.shrink(count, error)
                except ContextMemoryError as alone:
                    job = cut_off.pop(0)
                    if not job.writer.ids:
                        lost[job.context] = alone
                    job.writer.close("length")  # it has filled all memory there is, as others a context
                for job in cut_off:
                    job.writer = StepWriter(self.stop, job.writer.limit)
                waiting.extendleft(reversed(cut_off))
        raise_lost(lost)
        return [self.finished(job.writer) for job in jobs]

    @torch.inference_mode()
    def read(self, inputs: Sequence[Ids], starts: Sequence[int]) -> list[Logprobs]:
        """Log-probabilities of each input's ids from its start on (`protocols.Reading`). Raises EngineError.

        ContextMemoryError, after all others, names those that the device has too little memory for, alone.
        """
        # The id before them, whose output is the first one's, and they.
        fresh = [len(ids) - start + 1 for ids, start in zip(inputs, starts, strict=True)]
        most = max(fresh, default=1)

        def forward(ids: Tensor, positions: Tensor, mask: Tensor | None, cache: BufferCache) -> Tensor:
            logits = self.logits_after(ids, positions, mask, cache, min(most, ids.shape[1]))
            return logprobs_of(logits[:, :-1], ids[:, 1 - logits.shape[1] :])

        results: list[Logprobs] = [()] * len(inputs)
        progress = Progress(len(inputs), "steps", f"reading with {self.name}", quiet=True)
        for indices, batch in self._runner.batches(inputs, fresh, forward, self._readable):
            batch.remember(dict.fromkeys(range(len(indices)), ()))
            for index, row in zip(indices, batch.output.tolist(), strict=True):
                results[index] = self.checked(tuple(row[len(row) + 1 - fresh[index] :]), inputs[index])
            progress.advance(len(indices), tokens=sum(fresh[index] - 1 for index in indices))
        return results

    @torch.inference_mode()
    def states(self, inputs: Sequence[Ids]) -> list[State]:
        """The last layer's state at the last id of each input (`protocols.StateReading`). Raises EngineError.

        ContextMemoryError, after all others, names those that the device has too little memory for, alone.
        """
        results: list[State] = [()] * len(inputs)
        progress = Progress(len(inputs), "steps", f"states of {self.name}", quiet=True)
        for indices, batch in self._runner.batches(inputs, (), partial(last_states, self.model)):
            batch.remember(dict.fromkeys(range(len(indices)), ()))
            for index, row in zip(indices, batch.output.float().tolist(), strict=True):
                results[index] = self.checked_state(tuple(row), inputs[index])
            progress.advance(len(indices))
        return results

    def checked(self, logprobs: Logprobs, ids: Ids) -> Logprobs:
        """What was read of the end of `ids`. Raises EngineError where one is not a number."""
        with self._forgetting():
            return checked_logprobs(self.name, logprobs, ids)

    def checked_state(self, state: State, ids: Ids) -> State:
        """The state after `ids`. Raises EngineError where a number of it is not finite."""
        with self._forgetting():
            return checked_state(self.name, state, ids)

    def _write(self, batch: Batch, rows: list[Job], waiting: deque[Job], progress: Progress) -> None:
        """Write the steps of `rows`, the jobs of `batch`, to their ends; those that end make room for `waiting`."""
        last = batch.length + self.refilled_columns
        while True:
            tokens = next_tokens(batch.output, rows)
            free = [row for row, job in enumerate(rows) if job.writer.ended]
            if len(free) >= FREE_SHARE * len(rows):
                batch.remember({row: rows[row].writer.ids[:-1] for row in free})  # the last token was not fed
                progress.advance(len(free), tokens=sum(len(rows[row].writer.ids) for row in free))
                if len(free) == len(rows):
                    return
                taken: list[Job] = []
                while waiting and len(taken) < len(free) and len(waiting[0].context) <= batch.length <= last:
                    taken.append(waiting.popleft())
                filled, free = free[: len(taken)], free[len(taken) :]
                if filled:
                    batch.refill(filled, [job.context for job in taken])
                    for row, job in zip(filled, taken, strict=True):
                        rows[row] = job
                    tokens[filled] = next_tokens(batch.output[filled], taken)
                if free:
                    alive = _alive(len(rows), free)
                    batch.keep(alive)
                    rows, tokens = [rows[row] for row in alive], tokens[alive]
            batch.feed(tokens)

    def finished(self, writer: StepWriter) -> GeneratedStep:
        """The step of a writer that has ended. Raises EngineError where the model's output was not finite."""
        with self._forgetting():
            return finished_step(self.name, writer)

    @contextmanager
    def _forgetting(self) -> Iterator[None]:
        """Forget what was read where the model's output turns out to be wrong: what was kept may hold NaN too."""
        try:
            yield
        except EngineError:
            self.forget()
            raise


def _alive(count: int, ended: Sequence[int]) -> list[int]:
    """Rows to keep of `count`: those at the end move into the places of ended ones, fewer to copy than closing up."""
    gone = set(ended)
    alive = [row for row in range(count) if row not in gone]
    return [row if row not in gone else alive.pop() for row in range(len(alive))]
