r"""Which of several choices an answer names: `B`, `(B)`, `\text{(B)}`, `B. 12`, `\textbf{(B)}\ 12`, or one's text."""

import re
from collections.abc import Sequence

_MARKUP = re.compile(r"\\(?:text|textbf|textrm|mathrm|mathbf|bf|rm|boxed)\b|\\[ ,;!]|[{}$~]|\\left|\\right")
_LETTER = re.compile(r"\(?([A-Z])(?:[).:]|$)(.*)", re.DOTALL)


def chosen(answer: str, choices: Sequence[str]) -> str | None:
    """The letter that `answer` names, or whose text it is; None where it names none, or a letter and another's text.

    choices: the texts to choose from, in order; empty where they stand in the question, and then only letters will do.
    """
    texts = [_plain(text) for text in choices]
    text = _plain(answer)
    match = _LETTER.match(text if len(text) > 1 else text.upper())
    if match is None:
        return chr(ord("A") + texts.index(text)) if text in texts else None
    letter, rest = match[1], match[2].strip()
    if choices and ord(letter) - ord("A") >= len(choices):
        return None
    if rest and choices and rest in texts and texts[ord(letter) - ord("A")] != rest:
        return None
    return letter


def _plain(text: str) -> str:
    return " ".join(_MARKUP.sub(" ", text).split())
