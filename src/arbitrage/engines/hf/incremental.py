"""Batch 1 with caches kept across calls (`live_context`): what the live decoder (paper, Algorithm 1) runs and times."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from arbitrage.engines.hf.attention import last_logits_and_states, logprobs_of
from arbitrage.engines.hf.generator import TransformersGenerator
from arbitrage.engines.hf.kv_cache import BufferCache
from arbitrage.engines.hf.live_context import LiveContext
from arbitrage.engines.hf.next_tokens import choose
from arbitrage.engines.scoring.scorers import TransformersScorer
from arbitrage.engines.step_boundary import StepWriter, StopRule
from arbitrage.speculation.forwarding import ForwardingPrompter, ForwardingReader
from arbitrage.speculation.protocols import IncrementalGenerator
from arbitrage.speculation.steps import CheckedStep, GeneratedStep, Ids, Logprobs, State


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
