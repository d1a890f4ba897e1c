r"""One spelling of a question, for telling copies: LaTeX markup, pictures and Unicode signs make no difference.

`\dfrac12`, `\frac{1}{2}`, `½` and `1/2` are spelt alike, `\left(` is `(`, `\leq` is `<=`, `\text{cm}` is `cm`, dollar
signs and braces go, and picture code goes as a link to the picture does. Numbers, letters, signs, brackets and their
order stay, so that two questions with one spelling ask the same.
"""

import re
import unicodedata

from arbitrage.grading.latex import one_spelling, replace_groups

_PICTURE = re.compile(
    r"\[asy\].*?(?:\[/asy\]|\Z)|\\begin\{(tikzpicture|asy|picture|figure|center)\}.*?\\end\{\1\}"
    r"|```(?:asy|tikz|asymptote)\b.*?(?:```|\Z)"
    r"|!\[[^\]]*\]\([^)]*\)|<img[^>]*>|<image[^>]*>|\[image[^\]]*\]|\\includegraphics(?:\[[^\]]*\])?\{[^}]*\}"
    r"|https?://\S+",
    re.DOTALL | re.IGNORECASE,
)
_HTML = {
    "lt": "<", "gt": ">", "le": "≤", "ge": "≥", "ne": "≠", "amp": " ", "nbsp": " ", "times": "×", "middot": "·",
    "deg": "°", "pi": "π", "minus": "-", "ndash": "-",
}  # fmt: skip
_ENTITY = re.compile(rf"&({'|'.join(_HTML)});")
_RAISED = re.compile(r"<(sup|sub)>(.*?)</\1>", re.IGNORECASE)
_TAG = re.compile(r"</?(?:br|p|b|i|em|strong|div|span|li|ul|ol)\b[^>]*>", re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|\\,|,\\!)\s?(?=\d{3}(?!\d))")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{[a-zA-Z]+\*?\}(?:\{[lcr|@ ]*\}|\[[tbh!]*\])?")
_STYLE = (
    "text|mathrm|mathbf|mathit|mathsf|mathtt|mathcal|mathbb|mathfrak|mathscr|mathnormal|boldsymbol|bm|operatorname|boxed"
    "|underline|mathop|mathbin|mathrel|ensuremath|fbox|textcolor|pmb"
)
_STYLED = re.compile(rf"\\(?:{_STYLE})\*?\s*\{{")
_BARE_STYLE = re.compile(
    rf"\\(?:{_STYLE}|rm|bf|it|sf|tt|large|Large|small|tiny|normalsize|item|hline|centering|noindent|par|newline|linebreak"
    r"|ldots|hfill|medskip|bigskip|smallskip|left|right)(?![a-zA-Z])"
)
_FRACTION = re.compile(r"\\frac\s*\{")
_SIGNS = (
    (re.compile(r"(?<=\d) [xX] (?=\d)"), "*"),
    (re.compile(r"\\(?:cdot|times|ast|bullet)(?![a-zA-Z])"), "*"),
    (re.compile(r"\\div(?![a-zA-Z])"), "/"),
    (re.compile(r"\\le(?![a-zA-Z])"), "<="),
    (re.compile(r"\\ge(?![a-zA-Z])"), ">="),
    (re.compile(r"\\(?:bmod|pmod|pod|mod)(?![a-zA-Z])"), " mod "),
    (re.compile(r"\^\s*\{?\s*\\circ(?![a-zA-Z])\s*\}?|\bdegrees?\b"), " degree "),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"(?<=\w)\*\*(?=\w)"), "^"),
    (re.compile(r"\*\*|\\[$#&_ ]|\\\\(?:\[[^\]]*\])?|\\[()\[\]]"), " "),
    (re.compile(r"\\([{}|])"), r" \1"),
    (re.compile(r"\.(?: ?\.){2,}"), " "),
    (re.compile(r"(?<!\d)\.(?=\d)"), "0."),
)
_MARKS = re.compile(r"[${}&~\"“”„‘’`*]|(?<=\s)[_#]+(?=\s)")
_WORD_COMMAND = re.compile(r"\\([a-zA-Z]+)")


def spell(text: str) -> str:
    r"""`text` in one spelling, small letters, words and signs one blank apart. Time is linear in the text's length."""
    if "&" in text or "<" in text:
        text = _ENTITY.sub(lambda m: _HTML[m[1]], text)
        text = _TAG.sub(" ", _RAISED.sub(lambda m: ("^" if m[1].lower() == "sup" else "_") + f"{{{m[2]}}}", text))
    text = _PICTURE.sub(" ", text)
    text = _THOUSANDS.sub("", text)
    text = _ENVIRONMENT.sub(" ", text)
    text = one_spelling(text)
    if "\\" in text:
        text = replace_groups(text, _STYLED, lambda _, inside: f" {inside} ")
        text = _BARE_STYLE.sub(" ", text)
        text = _fractions(text)
    for pattern, replacement in _SIGNS:
        text = pattern.sub(replacement, text)
    text = _MARKS.sub(lambda m: " " if m.group() != "*" else " * ", _WORD_COMMAND.sub(r" \1 ", text))
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def copy_key(text: str) -> str:
    """What two copies of a question share: the spelling without blanks, and without the stop at its end."""
    return spell(text).replace(" ", "").rstrip(".:?!,;")


def _fractions(text: str) -> str:
    r"""`\frac{a+1}{2}` as (a+1)/2, `\frac{1}{2}` as 1/2."""
    while match := _FRACTION.search(text):
        upper_end = _end(text, match.end())
        rest = text[upper_end + 1 :].lstrip() if upper_end is not None else ""
        if upper_end is None or not rest.startswith("{"):
            return text
        lower_end = _end(rest, 1)
        if lower_end is None:
            return text
        upper, lower = _operand(text[match.end() : upper_end]), _operand(rest[1:lower_end])
        text = f"{text[: match.start()]} {upper}/{lower} {rest[lower_end + 1 :]}"
    return text


def _end(text: str, start: int) -> int | None:
    depth = 1
    for position in range(start, len(text)):
        depth += (text[position] == "{") - (text[position] == "}")
        if depth == 0:
            return position
    return None


def _operand(text: str) -> str:
    inside = text.strip()
    return inside if re.fullmatch(r"\w+|\\[a-zA-Z]+|\d+\.\d+", inside) else f"({inside})"
