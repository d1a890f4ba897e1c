"""A benchmark writes several answers as one text ("$-2,0,2$"); the grader wants them one by one."""

import re

_MARKUP = re.compile(r"\\[a-zA-Z]+|\$")
_PROSE = re.compile(r"[a-zA-Z]{3,}")  # left once the LaTeX commands are gone: a condition, not a list of values
_CLOSING = {")": "(", "]": "[", "}": "{"}


def split_answers(text: str) -> list[str]:
    """The answers of one text, cut at the commas outside brackets; dollar signs go, order stays.

    A text with prose in it (`$f(x)=ax+b$, where $b$ is an integer`) is one answer, kept as it is, and so is one whose
    brackets do not match.
    """
    if _PROSE.search(_MARKUP.sub(" ", text)):
        return [text]
    parts, depth = [""], 0
    for character in text.replace("$", ""):
        if character in _CLOSING.values():
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    if depth != 0:
        return [text]
    return [part.strip() for part in parts if part.strip()]
