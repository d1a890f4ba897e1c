"""When two questions count as the same: one normal form of their text, and its hash."""

import hashlib
import unicodedata

from arbitrage.errors import UserError


class QuestionError(UserError, ValueError):
    """Questions that cannot be read or sampled; the message names the file, the column, the row and the remedy."""


def normalise(text: str) -> str:
    """NFKC, lower case, every run of white space one blank: two questions with one normal form are the same."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def digest(*parts: str) -> str:
    """SHA-256 (hexadecimal) of the parts: the order of questions and their ids come from it, never from their place."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
