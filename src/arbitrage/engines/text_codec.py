"""Text to ids and back as text stands in a context: after other text, and never as control tokens.

Tokenizers of SentencePiece's kind (Llama 2, Mistral, Phi-3) put a space in front of what is encoded, and drop one from
what is decoded: right for a whole text, wrong for a step that follows another one. And every tokenizer turns the
characters of its special tokens into them, wherever they stand: in a question, or in what a model wrote, they are text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any
from unicodedata import normalize

from tokenizers import Tokenizer

from arbitrage.speculation.protocols import EngineError
from arbitrage.speculation.steps import Ids

GUARD = "\ufdd0"  # a code point that Unicode keeps out of texts; breaks up special tokens in text until it is encoded
PROBE = " So the sum is 7, as x = 2.\n\nThen  a(b) = 3\n\n"  # what has to come back as it is
Json = dict[str, Any]


class TextCodec:
    """One tokenizer's ids of text, without special tokens added or parsed; `codec_of` gives it.

    edited: whether the tokenizer itself would put a space in front of, or drop one from, text after other text.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Raises EngineError for a tokenizer that is not of the `tokenizers` library."""
        backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        try:
            state: Json = json.loads(backend.to_str())
        except Exception as error:  # none there, or one with parts in Python: the library raises plain Exception
            raise EngineError(
                f"{tokenizer.name_or_path}: its tokenizer ({type(tokenizer).__name__}) is none of the `tokenizers` "
                "library, or has parts that are not; expected a tokenizer.json: save the fast tokenizer beside the "
                "weights, or use another checkpoint"
            ) from error
        self._tokenizer, self._backend = tokenizer, backend
        self.specials = {entry["id"]: str(entry["content"]) for entry in state["added_tokens"] if entry["special"]}
        names = sorted((name for name in self.specials.values() if len(name) > 1), key=len, reverse=True)
        self._special_name = re.compile("|".join(map(re.escape, names)) or r"(?!)")
        following = _after_other_text(state)
        self.edited = following != state
        self._first_only = '"prepend_scheme": "first"' in json.dumps(state["pre_tokenizer"])
        self._opening = _plain(state)
        self._following = _plain(following) if self.edited else self._opening

    def opening_ids(self, text: str) -> Ids:
        """Ids of text that nothing precedes, or only a BOS token."""
        return tuple(self._opening.encode(text, add_special_tokens=False).ids)

    def ids(self, text: str) -> Ids:
        """Ids of text that follows other text."""
        return tuple(self._following.encode(text, add_special_tokens=False).ids)

    def batch(self, texts: list[str], *, opening: bool) -> list[Ids]:
        """`opening_ids` or `ids` of many texts at once."""
        encoder = self._opening if opening else self._following
        return [tuple(each.ids) for each in encoder.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids that follow others, special tokens left out."""
        if self.edited:
            return str(self._following.decode(list(ids), skip_special_tokens=True))
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def decode_each(self, ids: Iterable[int]) -> list[str]:
        """`decode` of each id alone."""
        return self._following.decode_batch([[index] for index in ids], skip_special_tokens=True)

    def changed(self, texts: Sequence[str]) -> list[tuple[str, str]]:
        """Those of `texts` whose ids say something else, each with what they say: characters are normalised or lacking.

        What Unicode calls canonically equivalent (an accent of its own or with its letter) is the same text.
        """
        said = zip(texts, map(self.decode, self.batch(list(texts), opening=False)), strict=True)
        return [(text, read) for text, read in said if normalize("NFC", text) != normalize("NFC", read)]

    def guarded(self, text: str) -> str:
        """`text` with every special token in it broken up, to be put into a template: `rendered_ids` mends it."""
        while match := self._special_name.search(text):
            text = text[: match.start() + 1] + GUARD + text[match.start() + 1 :]
        return text

    def rendered_ids(self, text: str) -> Ids:
        """Ids of a rendered template: its special tokens are parsed, those in `guarded` parts are ordinary text."""
        if GUARD not in text:
            return tuple(self._tokenizer.encode(text, add_special_tokens=False))
        self._tokenizer.encode("")  # has transformers undo what truncation and padding the checkpoint asks for
        whole = self._backend.encode(text, add_special_tokens=False)
        ids: list[int] = []
        section: list[int] = []
        start = 0  # the ids since the last special token, and where in the text it ended

        def close(end: int) -> None:
            part = text[start:end]
            if GUARD not in part:
                ids.extend(section)
            elif start and self._first_only:
                ids.extend(self.ids(part.replace(GUARD, "")))
            else:
                ids.extend(self.opening_ids(part.replace(GUARD, "")))

        for token, (begin, end) in zip(whole.ids, whole.offsets, strict=True):
            if token in self.specials and text[begin:end].strip() == self.specials[token].strip():
                close(begin)
                ids.append(token)
                section, start = [], end
            else:
                section.append(token)
        close(len(text))
        return tuple(ids)

    def check(self, name: str) -> None:
        """Raises EngineError where steps would not be read as they were written; name: what it calls the model."""
        if (text := self.decode(self.ids(PROBE))) != PROBE:
            raise EngineError(
                f"{name}: its tokenizer turns {PROBE!r} into {text!r}, so a step would not be read as it was written; "
                "expected a tokenizer that keeps text as it is: use another checkpoint"
            )


codec_of = lru_cache(maxsize=8)(TextCodec)  # by tokenizer


def _plain(state: Json) -> Tokenizer:
    """A tokenizer of its own with `state`, to which special tokens are ordinary text."""
    encoder = Tokenizer.from_str(json.dumps(state | {"truncation": None, "padding": None}))
    encoder.encode_special_tokens = True
    return encoder


def _after_other_text(state: Json) -> Json:
    """The state of a tokenizer that neither puts a space in front of a text nor drops one."""
    decoder = state["decoder"]
    if state["normalizer"] != (normalizer := _edited(state["normalizer"])):
        decoder = _edited(decoder)
    if state["pre_tokenizer"] != (pre_tokenizer := _edited(state["pre_tokenizer"])):
        decoder = _edited(decoder)
    return state | {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "decoder": decoder}


def _edited(part: Json | None) -> Json | None:
    """A normaliser, pre-tokenizer or decoder without what it does at the beginning of a text."""
    if part is None or part["type"] == "Prepend":
        return None
    if part["type"] == "Sequence":
        key = next(key for key in ("normalizers", "pretokenizers", "decoders") if key in part)
        return part | {key: [new for old in part[key] if (new := _edited(old)) is not None]}
    if part["type"] == "Metaspace":
        return part | {"prepend_scheme": "never"}
    if part["type"] == "ByteLevel":
        return part | {"add_prefix_space": False}
    if part["type"] == "Strip" and "start" in part:  # a decoder's
        return part | {"start": 0}
    return part
