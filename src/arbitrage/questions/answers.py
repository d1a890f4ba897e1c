r"""Gold answers as the grader wants them, one by one, from what a data set's column says by its `kind`."""

import ast
import json
import re
from collections.abc import Sequence

CHOICES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_MARKUP = re.compile(r"\\[a-zA-Z]+|\$")
_PROSE = re.compile(r"[a-zA-Z]{3,}")  # left once the LaTeX commands are gone: a condition, not a list of values
_CLOSING = {")": "(", "]": "[", "}": "{"}
_INTEGER = re.compile(r"([+-]?)(\d{1,3}(?:,\d{3})+|\d+)(?:\.0*)?")
_LETTER = re.compile(r"\(?([A-Za-z])[).]?")


def split_answers(text: str) -> list[str]:
    """The answers of one text ("$-2,0,2$"), cut at the commas outside brackets; dollar signs go, order stays.

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


def listed(text: str) -> list[str]:
    """The answers of a list: those of a list of texts written as JSON or Python has it, else of `split_answers`."""
    if text.strip().startswith("["):
        for read in (json.loads, ast.literal_eval):
            try:
                values = read(text)
            except (ValueError, SyntaxError, RecursionError):
                continue
            if isinstance(values, list) and values and all(isinstance(value, (str, int, float)) for value in values):
                return [str(value).strip() for value in values]
    return split_answers(text)


def integer(text: str) -> str | None:
    """An integer in plain digits, from `025`, `1,024`, `27.0` or `$-3$`; None where the text is none."""
    match = _INTEGER.fullmatch(text.strip().strip("$").strip().replace("−", "-"))
    return str(int(match[1] + match[2].replace(",", ""))) if match else None


def choice(text: str, choices: Sequence[str]) -> str | None:
    """The letter of the right choice, from a letter, a position from 0, or the text chosen; None where it is none.

    choices: the texts to choose from; empty where they stand in the question itself, and then only letters will do.
    """
    text = text.strip()
    letters = CHOICES[: len(choices)] if choices else CHOICES
    if text in choices:
        return letters[list(choices).index(text)]
    if text.isascii() and text.isdigit():
        return letters[int(text)] if choices and int(text) < len(choices) else None
    match = _LETTER.fullmatch(text)
    return match[1].upper() if match and match[1].upper() in letters else None
