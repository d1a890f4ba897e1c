r"""From a solution's text to its answer: the last `\boxed{...}`, and the parts of an answer that has several."""

import re

_BOX = re.compile(r"\\f?boxed\s*\{")
_BETWEEN_BOXES = re.compile(r"[\s$,;]*(?:and|or)?[\s$,;]*")  # two boxes with only this between them are one answer
_OR = re.compile(r"\\text\s*\{\s*,?\s*(?:and|or)\s*\}|\band\b|\bor\b|;")


def extract_answer(text: str) -> str | None:
    r"""The content of the last `\boxed{...}` with balanced braces, or None.

    Boxes that stand side by side (`\boxed{2} and \boxed{3}`) are one answer with several parts: "2, 3". A box that
    was cut off before it closed does not count.
    """
    parts: list[str] = []
    end_of_last = -1
    for match in _BOX.finditer(text):
        if match.start() < end_of_last:
            continue  # a box inside a box
        end = _closing_brace(text, match.end())
        if end is None:
            continue
        content = text[match.end() : end].strip()
        between = text[end_of_last : match.start()] if parts else ""
        if parts and _BETWEEN_BOXES.fullmatch(between) and "\n" not in between:
            parts += [content] if content not in parts else []
        else:
            parts = [content]
        end_of_last = end + 1
    return ", ".join(parts) or None


def split_list(text: str) -> list[str]:
    """The parts of a list: cut at commas, `and` and `or` outside brackets; plus-minus is two parts."""
    parts = split_outside(_OR.sub(",", text), ",")
    return [part.replace("\\pm", sign) for part in parts for sign in ("+-" if "\\pm" in part else "+")]


def split_outside(text: str, mark: str) -> list[str]:
    """`text` cut at every `mark` that stands outside brackets of any kind, ( and ] matching too; blanks go."""
    parts, depth, begin = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and text.startswith(mark, position):
            parts.append(text[begin:position])
            begin = position + len(mark)
    return [part.strip() for part in [*parts, text[begin:]] if part.strip()]


def _closing_brace(text: str, start: int) -> int | None:
    depth = 1
    for position in range(start, len(text)):
        if text[position] in "{}" and text[position - 1] != "\\":
            depth += 1 if text[position] == "{" else -1
            if depth == 0:
                return position
    return None
