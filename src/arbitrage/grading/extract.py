r"""From a solution's text to its answer: the last `\boxed{...}`, and the parts of an answer that has several."""

import re

from arbitrage.grading.latex import group_end

_BOX = re.compile(
    r"\\(?:f?boxed|fbox|framebox(?:\s*\[[^\]]*\])*)(?![a-zA-Z])(?:\s|~|\\[,;: ])*(?:(\{)|(?=\\[a-zA-Z{]|[^\s$\\}]))"
)
_BETWEEN_BOXES = re.compile(r"[\s$,;]*(?:and|or)?[\s$,;]*")  # two boxes with only this between them are one answer
_NOTHING = re.compile(  # what only holds a box's place: spaces, dots, "your answer"
    r"(?:[-\s~.?_…{}$<>()\[\]]|\\(?:[,;:! _]|$)"
    r"|\\(?:[lc]?dots|cdot|q?quad|square|Box|bigcirc|text|mathrm|underline|(?:[hv]?phantom|[hv]space\*?)\s*\{[^{}]*\}"
    r"|rule\s*\{[^{}]*\}\s*\{[^{}]*\})(?![a-zA-Z])"
    r"|(?i:(?:your |the )?(?:final[ _\\]*)?(?:answer|result|solution|number|value|expression|tbd)(?: here)?))*"
)
_BARE_END = re.compile(r"[\s$]|\\[)\]]")
_BARE_WORDS = re.compile(r"(?!(?:yes|no|true|false|none)\b)[A-Za-z]*[a-z]{2,}")  # "in \boxed as asked" names no answer
_BOLD = re.compile(r"\*\*(.+)\*\*")  # as Markdown has it
_OR = re.compile(r"\\text\s*\{\s*,?\s*(?:and|or)\s*\}|\band\b|\bor\b|;")


def extract_answer(text: str) -> str | None:
    r"""The content of the last `\boxed{...}` with balanced braces that is not empty, or None.

    `\fbox` is a box too, and so is `\boxed 7` without braces, up to the next blank. Boxes that stand side by side
    (`\boxed{2} and \boxed{3}`) are one answer with several parts: "2, 3". A box that was cut off before it closed does
    not count, and neither does an empty one, which only speaks about boxes.
    """
    parts: list[str] = []
    end_of_last = -1
    for match in _BOX.finditer(text):
        if match.start() < end_of_last:
            continue  # a box inside a box
        content, end = _content(text, match)
        if content is None:
            continue
        between = text[end_of_last : match.start()] if parts else ""
        if parts and _BETWEEN_BOXES.fullmatch(between) and "\n" not in between:
            parts += [content] if content not in parts else []
        else:
            parts = [content]
        end_of_last = end
    return ", ".join(parts) or None


def split_list(text: str) -> list[str]:
    """The parts of a list: cut at commas, `and` and `or` outside brackets; plus-minus is two parts."""
    parts = split_outside(_OR.sub(",", text), ",")
    return [
        part.replace("\\pm", sign).replace("\\mp", "-" if sign == "+" else "+")
        for part in parts
        for sign in ("+-" if "\\pm" in part or "\\mp" in part else "+")
    ]


def split_outside(text: str, mark: str) -> list[str]:
    """`text` cut at every `mark` that stands outside brackets of any kind, ( and ] matching too; blanks go."""
    if mark not in text:
        return [text.strip()] if text.strip() else []
    parts, depth, begin = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and text.startswith(mark, position) and position >= begin:
            parts.append(text[begin:position])
            begin = position + len(mark)
    return [part.strip() for part in [*parts, text[begin:]] if part.strip()]


def _content(text: str, match: re.Match[str]) -> tuple[str | None, int]:
    """What stands in a box, None for nothing, and where it ends."""
    if match[1]:
        end = group_end(text, match.end())
        if end is None:
            return None, match.end()
        content, after = text[match.end() : end].strip(), end + 1
    else:
        after = _bare_end(text, match.end())
        content = text[match.end() : after].rstrip(".,;:!?*")
        if content.count(")") > content.count("("):
            content = content.rstrip(")")
        if not re.search(r"[A-Za-z\d]", content) or _BARE_WORDS.fullmatch(content):
            return None, after
    if bold := _BOLD.fullmatch(content):
        content = bold[1]
    if inner := _BOX.match(content):
        content = _content(content, inner)[0] or ""
    return None if _NOTHING.fullmatch(content) else content, after


def _bare_end(text: str, position: int) -> int:
    """Where what a box without braces holds ends: at the next blank or the formula's end, outside of groups."""
    while position < len(text) and not _BARE_END.match(text, position):
        if text[position] == "{":
            end = group_end(text, position + 1)
            if end is None:
                return position
            position = end
        position += 2 if text[position] == "\\" else 1
    return position
