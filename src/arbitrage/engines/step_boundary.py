"""Where a step ends: the separator as text, an end-of-sequence token, or the limit (paper, section 3).

A step ends where the separator stands in the *decoded* text. It may lie inside a token (Qwen has one for `.\\n\\n`), or
across two. Decoding at every token would cost more than a tiny model, so the ids that can complete it are found once.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from copy import copy
from typing import Any

from arbitrage.engines.prompting import turn_end
from arbitrage.engines.text_codec import codec_of
from arbitrage.speculation.protocols import EngineError
from arbitrage.speculation.steps import FinishReason, GeneratedStep, Ids, Logprobs, State


class StopRule:
    """Separator and end-of-sequence ids of one tokenizer."""

    def __init__(self, tokenizer: Any, separator: str, eos_ids: Iterable[int]) -> None:
        """eos_ids: those that configurations name; the token that ends the chat template's answers joins them.

        Raises EngineError where the tokenizer cannot write the separator.
        """
        self.separator = separator
        named, codec, (turn, _) = frozenset(eos_ids), codec_of(tokenizer), turn_end(tokenizer)
        self.eos_ids = named if turn is None else named | {turn}
        usual = tokenizer.eos_token_id if turn is None else turn
        self.end_ids: Ids = (usual,) if usual is not None else tuple(sorted(named)[:1])  # the one that is read
        self.decode = codec.decode  # text of generated ids, special tokens left out
        # What decides of texts and ends, for the identity of engines; for most checkpoints the separator alone.
        self.description = (
            repr(separator) + "\nbehind other text" * codec.edited + f"\nends at {turn}" * (self.eos_ids != named)
        )
        if separator not in self.decode(tokenizer.encode(separator, add_special_tokens=False)):
            raise EngineError(
                f"generation.separator {separator!r} does not survive encoding and decoding by the tokenizer of "
                f"{tokenizer.name_or_path} (is it a special token there?); choose a separator that is ordinary text"
            )
        # A part of a character decodes to U+FFFD, so a separator outside ASCII may be completed by such a piece.
        marks = separator[-1] if separator.isascii() else separator[-1] + "\ufffd"
        pieces = codec.decode_each(range(len(tokenizer)))
        completing = {index for index, piece in enumerate(pieces) if any(mark in piece for mark in marks)}
        self.checked = self.eos_ids | completing

    @property
    def stop_texts(self) -> list[str]:
        """Texts that end what is written, for engines that look for them."""
        return [] if self.checked == self.eos_ids else [self.separator]

    def whole(self) -> StopRule:
        """The rule for a whole solution in one go: only an end-of-sequence token ends it, or the limit."""
        rule = copy(self)
        rule.checked = self.eos_ids
        return rule


class StepWriter:
    """One step as it is generated (paper, section 3): takes tokens until the rule says that it ends."""

    __slots__ = ("ended", "entropies", "finish_reason", "ids", "limit", "logprobs", "rule", "text")

    def __init__(self, rule: StopRule, limit: int) -> None:
        self.rule, self.limit = rule, limit
        self.ids: list[int] = []
        self.logprobs = array("f")
        self.entropies = array("f")
        self.text = ""
        self.ended = False
        self.finish_reason: FinishReason = "length"

    def push(self, token: int, logprob: float, entropy: float | None) -> bool:
        """Take the next token; True where the step has ended with it. entropy: None where the engine knows none."""
        self.ids.append(token)
        self.logprobs.append(logprob)
        if entropy is not None:
            self.entropies.append(entropy)
        self.ended = self._ends(token)
        return self.ended

    def _ends(self, token: int) -> bool:
        if token in self.rule.checked:
            if token in self.rule.eos_ids:
                self.text, self.finish_reason = self.rule.decode(self.ids[:-1]), "eos"
                return True
            text = self.rule.decode(self.ids)
            at = text.find(self.rule.separator)
            if at >= 0:
                self.text, self.finish_reason = text[: at + len(self.rule.separator)], "separator"
                return True
        if len(self.ids) == self.limit:
            self.text = self.rule.decode(self.ids)
            return True
        return False

    def close(self, reason: FinishReason) -> None:
        """End the step where it is, for a reason that its tokens do not show."""
        self.text, self.finish_reason, self.ended = self.rule.decode(self.ids), reason, True

    def step(self) -> GeneratedStep:
        """The ended step."""
        entropies = tuple(self.entropies) if len(self.entropies) == len(self.ids) else None
        return GeneratedStep(self.text, self.finish_reason, tuple(self.logprobs), entropies)


def eos_ids(*owners: Any) -> set[int]:
    """Every end-of-sequence id that a tokenizer, a model's configuration or its generation configuration names."""
    ids: set[int] = set()
    for owner in owners:
        value = getattr(owner, "eos_token_id", None)
        ids.update([value] if isinstance(value, int) else value or [])
    return ids


def room(name: str, context: Ids, limit: int, max_context: int) -> int:
    """How many tokens a step may have: `limit`, less where the longest context of model `name` ends before.

    Raises EngineError where that is none.
    """
    left = min(limit, max_context - len(context))
    if not context or left < 1:
        raise EngineError(
            f"{name}: a context of {len(context)} tokens and a limit of {limit}; expected a context of 1 to "
            f"{max_context - 1} tokens and a limit >= 1. Lower generation.max_tokens, shorten the prompt, or raise "
            "vllm.max_context where that is what ends it"
        )
    return left


def finished_step(name: str, writer: StepWriter) -> GeneratedStep:
    """The step of a writer that has ended. Raises EngineError where the output of model `name` was not finite."""
    if not all(map(math.isfinite, writer.logprobs)):
        raise EngineError(
            f"{name}: logits are not finite after {writer.rule.decode(writer.ids)!r}; "
            "the weights are damaged, or the dtype is too narrow for them (try float32)"
        )
    return writer.step()


def checked_state(name: str, state: State, ids: Ids) -> State:
    """The hidden state of model `name` after `ids`. Raises EngineError where a number of it is not finite."""
    if not all(map(math.isfinite, state)):
        raise EngineError(
            f"{name}: a number of the hidden state after the ids ...{list(ids[-8:])} is not finite; the weights are "
            "damaged, or the dtype is too narrow for them (try float32)"
        )
    return state


def checked_logprobs(name: str, logprobs: Logprobs, ids: Ids) -> Logprobs:
    """What model `name` gives the last of `ids`. Raises EngineError where one is not a number."""
    if any(map(math.isnan, logprobs)):
        raise EngineError(
            f"{name}: a log-probability among those of the ids {list(ids[-len(logprobs) :])} is not a number; the "
            "weights are damaged, or the dtype is too narrow for them (try float32)"
        )
    return logprobs
