"""Where a step ends: the separator as text, an end-of-sequence token, or the limit (paper, section 3).

A step ends where the separator stands in the *decoded* text. It may lie inside a token (Qwen has one for `.\\n\\n`), or
across two. Decoding at every token would cost more than a tiny model, so the ids that can complete it are found once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from arbitrage.speculation.protocols import EngineError, FinishReason, GeneratedStep, Ids


class StopRule:
    """Separator and end-of-sequence ids of one tokenizer."""

    def __init__(self, tokenizer: Any, separator: str, eos_ids: Iterable[int]) -> None:
        """Raises EngineError where the tokenizer cannot write the separator."""
        self.separator = separator
        self.eos_ids: frozenset[int] = frozenset(eos_ids)
        self._tokenizer = tokenizer
        if separator not in self.decode(tokenizer.encode(separator, add_special_tokens=False)):
            raise EngineError(
                f"generation.separator {separator!r} does not survive encoding and decoding by the tokenizer of "
                f"{tokenizer.name_or_path} (is it a special token there?); choose a separator that is ordinary text"
            )
        # A part of a character decodes to U+FFFD, so a separator outside ASCII may be completed by such a piece.
        marks = separator[-1] if separator.isascii() else separator[-1] + "\ufffd"
        pieces = tokenizer.batch_decode(
            [[index] for index in range(len(tokenizer))], clean_up_tokenization_spaces=False
        )
        completing = {index for index, piece in enumerate(pieces) if any(mark in piece for mark in marks)}
        self.checked = self.eos_ids | completing

    def decode(self, ids: list[int]) -> str:
        """Text of generated ids, special tokens left out."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


class StepWriter:
    """One step in the making: takes tokens until the rule says that it ends."""

    __slots__ = ("ended", "finish_reason", "ids", "limit", "logprob_sum", "rule", "text")

    def __init__(self, rule: StopRule, limit: int) -> None:
        self.rule, self.limit = rule, limit
        self.ids: list[int] = []
        self.logprob_sum = 0.0
        self.text = ""
        self.ended = False
        self.finish_reason: FinishReason = "length"

    def push(self, token: int, logprob: float) -> bool:
        """Take the next token; True where the step has ended with it."""
        self.ids.append(token)
        self.logprob_sum += logprob
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
        return GeneratedStep(self.text, len(self.ids), self.finish_reason, min(self.logprob_sum / len(self.ids), 0.0))


def eos_ids(tokenizer: Any, *configs: Any) -> set[int]:
    """Every id that ends a text: of the tokenizer, the model's configuration and its generation configuration."""
    found: set[int] = set()
    for owner in (tokenizer, *configs):
        value = getattr(owner, "eos_token_id", None)
        found.update([value] if isinstance(value, int) else value or [])
    return found


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
    if writer.logprob_sum - writer.logprob_sum != 0.0:
        raise EngineError(
            f"{name}: logits are not finite after {writer.rule.decode(writer.ids)!r}; "
            "the weights are damaged, or the dtype is too narrow for them (try float32)"
        )
    return writer.step()
