"""What a scorer reads: problem, steps so far, the step to be judged, as the paper's release writes it.

`bos + problem + "\\n"`, then each step closed by the last token of the separator; with annotation each step opens with
who wrote it. Problem, steps and separators are encoded one by one: a BPE tokenizer merges across them, and ids would
depend on what follows. A tag is encoded with its step, as the release does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from arbitrage.engines.text_codec import codec_of
from arbitrage.speculation.steps import AuthoredStep, Ids

PARALLELISM = "TOKENIZERS_PARALLELISM"  # the tokenizers' library looks at it with every batch
PIECES = 2**17  # a text and its ids take about half a kilobyte
AUTHOR_TAGS = {"draft": "Model 0: ", "target": "Model 1: "}


def step_input_ids(
    tokenizer: Any, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep, separator: str, annotate: bool
) -> Ids:
    """Ids of a judged step; the score is read at the last one, which is the last id of `separator`."""
    opening = _history_ids(tokenizer, problem, tuple(history), separator, annotate)
    return opening + _step_ids(tokenizer, step, separator, annotate)


@lru_cache(maxsize=2**12)  # what follows a history is asked for soon after it
def _history_ids(
    tokenizer: Any, problem: str, history: tuple[AuthoredStep, ...], separator: str, annotate: bool
) -> Ids:
    if history:
        before = _history_ids(tokenizer, problem, history[:-1], separator, annotate)
        return before + _step_ids(tokenizer, history[-1], separator, annotate)
    bos = () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)
    return bos + _pieces(tokenizer, True)[problem + "\n"]


def _step_ids(tokenizer: Any, step: AuthoredStep, separator: str, annotate: bool) -> Ids:
    return encode(tokenizer, _written(step, separator, annotate)) + encode(tokenizer, separator)[-1:]


def _written(step: AuthoredStep, separator: str, annotate: bool) -> str:
    return (AUTHOR_TAGS[step.model] if annotate else "") + step.text.removesuffix(separator)


def encode(tokenizer: Any, text: str) -> Ids:
    """Ids of a piece of text after others (`TextCodec.ids`). The last pieces asked for are remembered."""
    return _pieces(tokenizer, False)[text]


def learn(
    tokenizer: Any, problems: Iterable[str], steps: Iterable[AuthoredStep], separator: str, annotate: bool
) -> None:
    """Encode the texts of many inputs in one go, for `step_input_ids` to find: in half the time of one by one."""
    with _all_cores():
        _pieces(tokenizer, True).learn([problem + "\n" for problem in problems])
        _pieces(tokenizer, False).learn([_written(step, separator, annotate) for step in steps])


@contextmanager
def _all_cores() -> Iterator[None]:
    """Let the tokenizer encode a batch on every core: the ids are the same. Elsewhere it is kept to one."""
    before = os.environ.get(PARALLELISM)
    os.environ[PARALLELISM] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[PARALLELISM]
        else:
            os.environ[PARALLELISM] = before


class _Pieces(dict[str, Ids]):
    """What is remembered of one tokenizer: pieces that open a text, or pieces after others."""

    def __init__(self, tokenizer: Any, opening: bool) -> None:
        super().__init__()
        self._codec, self._opening = codec_of(tokenizer), opening

    def __missing__(self, text: str) -> Ids:
        self._make_room(1)
        ids = self[text] = self._codec.opening_ids(text) if self._opening else self._codec.ids(text)
        return ids

    def learn(self, texts: Iterable[str]) -> None:
        """Encode those that are new, all at once."""
        new = [text for text in dict.fromkeys(texts) if text not in self]
        self._make_room(len(new))
        self.update(zip(new, self._codec.batch(new, opening=self._opening), strict=True))

    def _make_room(self, count: int) -> None:
        """Forget everything where `count` pieces more were too many."""
        if len(self) + count > PIECES:
            self.clear()


_pieces = lru_cache(maxsize=16)(_Pieces)  # by tokenizer


class StepReader:
    """`step_input_ids` as a scorer reads it (`scorers.Reader`)."""

    def __init__(self, tokenizer: Any, separator: str, annotate: bool) -> None:
        self.separator = separator
        self._tokenizer, self._annotate = tokenizer, annotate

    @property
    def description(self) -> str:
        """All that changes what is read, for the scorer's identity."""
        edited = "\nbehind other text" if codec_of(self._tokenizer).edited else ""
        return f"{self.separator!r}\n{self._annotate}{edited}"

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        """Ids of a judged step, whose last one is the separator's."""
        return step_input_ids(self._tokenizer, problem, history, step, self.separator, self._annotate)
