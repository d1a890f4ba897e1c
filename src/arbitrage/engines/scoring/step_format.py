"""What a scorer reads: problem, steps so far, the step to be judged, as the paper's release writes it.

`bos + problem + "\\n"`, then each step closed by the last token of the separator; with annotation each step opens with
who wrote it. Pieces are encoded one by one: a BPE tokenizer merges across them, and ids would depend on what follows.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from arbitrage.speculation.protocols import AuthoredStep, Ids

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
    return bos + encode(tokenizer, problem + "\n")


def _step_ids(tokenizer: Any, step: AuthoredStep, separator: str, annotate: bool) -> Ids:
    tag = encode(tokenizer, AUTHOR_TAGS[step.model]) if annotate else ()
    return tag + encode(tokenizer, step.text.removesuffix(separator)) + encode(tokenizer, separator)[-1:]


def encode(tokenizer: Any, text: str) -> Ids:
    """Ids of a piece of text on its own, without special tokens. The last pieces asked for are remembered."""
    return _pieces(tokenizer)[text]


def learn(tokenizer: Any, problems: Iterable[str], steps: Iterable[str], separator: str) -> None:
    """Encode the texts of many inputs in one go, for `step_input_ids` to find: in half the time of one by one."""
    known, backend = _pieces(tokenizer), getattr(tokenizer, "backend_tokenizer", None)
    texts = dict.fromkeys([problem + "\n" for problem in problems] + [text.removesuffix(separator) for text in steps])
    new = [text for text in texts if text not in known]
    if backend is None or not new:
        return
    known.make_room(len(new))
    tokenizer.encode("")  # has transformers undo what truncation and padding the checkpoint asks for
    with _all_cores():
        encoded = backend.encode_batch_fast(new, add_special_tokens=False)
    known.update(zip(new, (tuple(each.ids) for each in encoded), strict=True))


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
    """What `encode` remembers of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def __missing__(self, text: str) -> Ids:
        self.make_room(1)
        ids = self[text] = tuple(self._tokenizer.encode(text, add_special_tokens=False))
        return ids

    def make_room(self, count: int) -> None:
        """Forget everything where `count` pieces more were too many."""
        if len(self) + count > PIECES:
            self.clear()


_pieces = lru_cache(maxsize=8)(_Pieces)  # by tokenizer


class StepReader:
    """`step_input_ids` as a scorer reads it (`scorers.Reader`)."""

    def __init__(self, tokenizer: Any, separator: str, annotate: bool) -> None:
        self.separator = separator
        self._tokenizer, self._annotate = tokenizer, annotate

    @property
    def description(self) -> str:
        """All that changes what is read, for the scorer's identity."""
        return f"{self.separator!r}\n{self._annotate}"

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        """Ids of a judged step, whose last one is the separator's."""
        return step_input_ids(self._tokenizer, problem, history, step, self.separator, self._annotate)
