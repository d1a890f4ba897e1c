"""Batch 1 with caches kept across calls: what the live decoder (paper, Algorithm 1) runs and times.

Each model remembers the ids its cache holds. New ids are compared with these; what differs is rolled back and only the
rest is read: a rejected step costs the draft a rollback, and an escalation costs the target the steps it has not seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from arbitrage.engines.hf.attention import last_logits_and_states, logprobs_of
from arbitrage.engines.hf.batching import Forward
from arbitrage.engines.hf.generator import TransformersGenerator, choose
from arbitrage.engines.hf.kv_cache import BufferCache
from arbitrage.engines.hf.limits import OutOfMemoryError, memory_errors
from arbitrage.engines.scoring.scorers import TransformersScorer
from arbitrage.engines.step_boundary import StepWriter, StopRule
from arbitrage.speculation.forwarding import ForwardingPrompter, ForwardingReader
from arbitrage.speculation.protocols import ContextMemoryError, IncrementalGenerator
from arbitrage.speculation.steps import CheckedStep, GeneratedStep, Ids, Logprobs, State

# (ids [1, n], positions [1, n], mask, cache, count) -> outputs after each of the last `count` ids [1, count, width]
ForwardAll = Callable[[Tensor, Tensor, Tensor | None, BufferCache, int], Tensor]
CAPACITY = 512  # ids a cache first has room for; it doubles where that is short


def common_length(left: Sequence[int], right: Sequence[int]) -> int:
    """How many ids both begin with."""
    return next((at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


class LiveContext:
    """One context in a model's cache. `held`: the ids it holds."""

    def __init__(self, forward: Forward, layers: int, device: torch.device) -> None:
        self.held: list[int] = []
        self._outputs: dict[int, Tensor] = {}  # kept ones [1, width], by the number of ids they come after
        self._forward, self._device = forward, device
        self._cache = BufferCache(layers, CAPACITY)
        self._positions = torch.arange(CAPACITY, device=device)[None]

    def reset(self) -> None:
        """Forget everything; the memory stays, so that a first step is not timed with getting it."""
        self._crop(0)

    def read(self, ids: Ids) -> tuple[Tensor, int]:
        """Make the cache hold `ids`; return the output after the last one [1, width], and how many ids were read.

        The last id is read even where the cache holds it already, unless `read_given` has kept its output.
        """
        shared = common_length(self.held, ids)
        if shared == len(ids) and shared in self._outputs:
            self._crop(shared)
            return self._outputs[shared], 0
        rest = ids[self._crop(min(shared, len(ids) - 1)) :]
        return self.feed(torch.tensor([rest], device=self._device), list(rest)), len(rest)

    def read_last(self, ids: Ids, forward: Forward) -> int:
        """Make the cache hold `ids`, the last one read by `forward` whatever is held; how many ids were read.

        The output is kept: a solution that goes on from there does not read that id again.
        """
        rest = ids[self._crop(min(common_length(self.held, ids), len(ids) - 1)) :]
        self._outputs = {len(ids): self.feed(torch.tensor([rest], device=self._device), list(rest), forward)}
        return len(rest)

    def read_given(self, ids: Ids, start: int, forward: ForwardAll) -> tuple[Tensor, int]:
        """Make the cache hold `ids`; return the outputs before each id from index `start` (>= 1) on [n, width].

        And how many ids were read, in one pass by `forward`. The outputs after the id before `start` and after the last
        one are kept: whichever of the two a solution goes on from, that id is not read again.
        """
        shared = common_length(self.held, ids)
        before = self._outputs.get(start) if shared >= start else None
        count = len(ids) - start + (before is None)
        rest = ids[self._crop(min(shared, len(ids) - count)) :]

        def every(ids: Tensor, positions: Tensor, mask: Tensor | None, cache: BufferCache) -> Tensor:
            return forward(ids, positions, mask, cache, count)

        outputs = self.feed(torch.tensor([rest], device=self._device), list(rest), every)[0]
        if before is not None:
            outputs = torch.cat([before, outputs])
        self._outputs = {start: outputs[:1].clone(), len(ids): outputs[-1:].clone()}
        return outputs[:-1], len(rest)

    def _crop(self, length: int) -> int:
        """Drop all ids from index `length` on, and what came after them; returns it."""
        self._cache.crop(length)
        del self.held[length:]
        self._outputs = {count: output for count, output in self._outputs.items() if count <= length}
        return length

    def feed(self, tokens: Tensor, ids: list[int], forward: Forward | None = None) -> Tensor:
        """Append `tokens` [1, n], which are `ids`; return the output after the last one [1, width], or `forward`'s.

        Raises ContextMemoryError where the device has too little memory; `reset` makes the context usable again.
        """
        start, end = len(self.held), len(self.held) + len(ids)
        if end > self._positions.shape[1]:
            self._positions = torch.arange(2 * end, device=self._device)[None]
        positions = self._positions[:, start:end]
        # Without a mask one token sees everything, and the first tokens see each other causally: the fast paths.
        mask = None if start == 0 or len(ids) == 1 else (positions[0, :, None] >= self._positions[0, :end])[None, None]
        try:
            with memory_errors():
                output = (forward or self._forward)(tokens, positions, mask, self._cache)
        except OutOfMemoryError as error:
            raise ContextMemoryError(
                f"out of memory on {self._device} with one context of {end} tokens ({error})"
            ) from error
        self.held += ids
        return output


class LiveGenerator(ForwardingPrompter[TransformersGenerator]):
    """Writes one greedy step at a time with the model of `generator` (`protocols.IncrementalGenerator`), and reads one
    (`protocols.IncrementalReading`), gives its states (`protocols.IncrementalStateReading`), or checks a draft's tokens
    (`protocols.TokenSpeculation`).

    last_prefill_tokens: ids read before the first token; last_prefill_s, last_decode_s: seconds of reading, of writing.
    """

    def __init__(self, generator: TransformersGenerator) -> None:
        super().__init__(generator)
        self._context = LiveContext(generator.forward, generator.layers, generator.device)
        self.last_prefill_tokens, self.last_prefill_s, self.last_decode_s = 0, 0.0, 0.0

    def reset(self) -> None:
        """Forget the context: the next call reads everything."""
        self._context.reset()

    def generate_one(self, context: Ids, limit: int) -> GeneratedStep:
        """Continue `context` by one step of at most `limit` tokens. Raises EngineError."""
        return self._write(context, limit, self.generator.stop)

    def generate_whole(self, context: Ids, limit: int) -> GeneratedStep:
        """Continue `context` to its end in one go, separators and all. Raises EngineError."""
        return self._write(context, limit, self.generator.stop.whole())

    def can_check(self, draft: IncrementalGenerator) -> bool:
        """Whether the draft runs here too, and has this model's vocabulary."""
        return isinstance(draft, LiveGenerator) and (
            draft.generator.tokenizer.get_vocab() == self.generator.tokenizer.get_vocab()
        )

    def check_whole(self, draft: LiveGenerator, context: Ids, limit: int, proposed: int) -> CheckedStep:
        """`generate_whole`, faster: the draft proposes `proposed` tokens, one pass of this model checks them all.

        Those up to the first that this model would not have chosen are kept, and the one it chooses there is added
        (Leviathan, Kalman and Matias, "Fast inference from transformers via speculative decoding", 2023, at
        temperature 0): the same text as its own, but where two tokens are as likely up to rounding. Raises EngineError.
        """
        return self._check(draft, context, limit, proposed, (), self.generator.stop.whole())

    def check_one(
        self, draft: LiveGenerator, context: Ids, limit: int, proposed: int, rejected: Ids = ()
    ) -> CheckedStep:
        """`generate_one`, in the same way; the tokens of the `rejected` step are there already and are checked first.

        Raises EngineError.
        """
        return self._check(draft, context, limit, proposed, rejected, self.generator.stop)

    @torch.inference_mode()
    def _check(
        self, draft: LiveGenerator, context: Ids, limit: int, proposed: int, given: Ids, rule: StopRule
    ) -> CheckedStep:
        generator = self.generator
        writer = StepWriter(rule, generator.room(context, limit))
        ids, written, proposing_s = list(context), 0, 0.0
        while not writer.ended:
            room = min(generator.max_context, draft.generator.max_context) - len(ids) - 1
            most = max(min(writer.limit - len(writer.ids) - 1, room), 0)
            proposal = list(given[:most])
            if not given:
                begin = _now(generator.device)
                proposal = draft.propose(ids, min(proposed, most))
                written, proposing_s = written + len(proposal), proposing_s + _now(generator.device) - begin
            given = ()
            whole = (*ids, *proposal)
            if proposal:
                outputs, _ = self._context.read_given(whole, len(ids), generator.logits_after)
                outputs = torch.cat([outputs, self._context.read(whole)[0]])
            else:
                outputs, _ = self._context.read(whole)
            chosen = zip(*(part.tolist() for part in choose(outputs, 0.0, None)), strict=True)
            for index, (token, logprob, entropy) in enumerate(chosen):
                ids.append(token)
                if writer.push(token, logprob, entropy) or index == len(proposal) or token != proposal[index]:
                    break
        return CheckedStep(generator.finished(writer), written, proposing_s)

    def propose(self, ids: Sequence[int], count: int) -> list[int]:
        """Up to `count` greedy tokens after `ids`; fewer where the solution ends with one."""
        tokens: list[int] = []
        outputs = self._context.read(tuple(ids))[0] if count > 0 else None
        while outputs is not None:
            token = outputs.argmax(-1)
            tokens.append(int(token))
            ended = len(tokens) == count or tokens[-1] in self.generator.stop.eos_ids
            outputs = None if ended else self._context.feed(token[:, None], tokens[-1:])
        return tokens

    @property
    def end_ids(self) -> Ids:
        return self.generator.end_ids

    @torch.inference_mode()
    def read_one(self, ids: Ids, start: int) -> Logprobs:
        """Log-probabilities of `ids` from index `start` on, in one pass over what is new. Raises EngineError."""
        generator = self.generator
        begin = _now(generator.device)
        outputs, self.last_prefill_tokens = self._context.read_given(ids, start, generator.logits_after)
        logprobs = logprobs_of(outputs, torch.tensor(ids[start:], device=generator.device)).tolist()
        self.last_prefill_s, self.last_decode_s = _now(generator.device) - begin, 0.0
        return generator.checked(tuple(logprobs), ids)

    @torch.inference_mode()
    def state_one(self, ids: Ids) -> State:
        """The last layer's state at the last of `ids`, in one pass over what is new, at least that id.

        Of a step that this model has just written, all other ids are held. Raises EngineError.
        """
        generator, states = self.generator, list[Tensor]()

        def forward(new: Tensor, positions: Tensor, mask: Tensor | None, cache: BufferCache) -> Tensor:
            logits, state = last_logits_and_states(generator.model, new, positions, mask, cache)
            states.append(state)
            return logits

        begin = _now(generator.device)
        self.last_prefill_tokens = self._context.read_last(ids, forward)
        state = states[0][0].float().tolist()
        self.last_prefill_s, self.last_decode_s = _now(generator.device) - begin, 0.0
        return generator.checked_state(tuple(state), ids)

    @torch.inference_mode()
    def _write(self, context: Ids, limit: int, rule: StopRule) -> GeneratedStep:
        generator = self.generator
        writer = StepWriter(rule, generator.room(context, limit))
        begin = _now(generator.device)
        logits, self.last_prefill_tokens = self._context.read(context)
        ready = _now(generator.device)
        while True:
            tokens, logprobs, entropies = choose(logits, 0.0, None)
            token = int(tokens)
            if writer.push(token, float(logprobs), float(entropies)):
                break
            logits = self._context.feed(tokens[:, None], [token])
        self.last_prefill_s, self.last_decode_s = ready - begin, _now(generator.device) - ready
        return generator.finished(writer)


class LiveScorer(ForwardingReader[TransformersScorer]):
    """Scores one step at a time with the model of `scorer` (`protocols.IncrementalScorer`).

    last_tokens: how many ids the last score had to read.
    """

    def __init__(self, scorer: TransformersScorer) -> None:
        super().__init__(scorer)
        self._context = LiveContext(scorer.forward, scorer.layers, scorer.device)
        self.last_tokens = 0

    def reset(self) -> None:
        """Forget the context: the next call reads everything."""
        self._context.reset()

    @torch.inference_mode()
    def score_one(self, ids: Ids) -> float:
        """The score of one input. Raises ScoreError where it is not finite."""
        logits, self.last_tokens = self._context.read(ids)
        return self.scorer.checked(float(self.scorer.scalars(logits.double())[0]), 0, ids)


def _now(device: torch.device) -> float:
    """Seconds on the clock, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
