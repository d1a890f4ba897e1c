r"""One spelling for LaTeX that looks the same: what grading and decontamination both do before they compare.

Only spelling is touched here: sizes of brackets, spaces, kinds of fraction, Unicode signs, names that a command has
twice (`\leq`, `\le`), arguments without braces (`\frac12`). What a text *means* is left alone.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator

_UNICODE = {
    "−": "-", "–": "-", "‐": "-", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≦": r"\le ", "≧": r"\ge ", "⩽": r"\le ",
    "⩾": r"\ge ", "∪": r"\cup ", "∩": r"\cap ", "∞": r"\infty ", "∈": r"\in ", "∉": r"\notin ", "∅": r"\emptyset ",
    "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": r"\div ", "±": r"\pm ", "∓": r"\mp ",
    "°": r"^\circ ", "º": r"^\circ ", "∘": r"\circ ", "√": r"\sqrt ", "∠": r"\angle ", "△": r"\triangle ",
    "⊥": r"\perp ", "∥": r"\parallel ", "→": r"\to ", "⇒": r"\Rightarrow ", "∑": r"\sum ", "∏": r"\prod ",
    "∫": r"\int ", "…": r"\ldots ", "⋯": r"\ldots ", "′": "'", "″": "''", "≡": r"\equiv ", "≈": r"\approx ",
    "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}",
    "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "⟨": r"\langle ", "⟩": r"\rangle ", "∣": "|",
    "∨": r"\lor ", "∧": r"\land ", "¢": r"\text{cents}", "⁄": "/", "∕": "/", "∖": r"\setminus ",
    "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
    "⅕": r"\frac{1}{5}", "⅛": r"\frac{1}{8}",
}  # fmt: skip
_GREEK = re.findall(
    r"\S+",
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho varsigma sigma tau "
    "upsilon phi chi psi omega ",
)
_UNICODE |= {chr(0x3B1 + position): f"\\{name} " for position, name in enumerate(_GREEK)}
_UNICODE |= {chr(0x391 + position): f"\\{name.title()} " for position, name in enumerate(_GREEK) if position != 17}
_UNICODE |= {"℃": r"^\circ\text{C}", "℉": r"^\circ\text{F}"}
_UNICODE |= {"ϕ": r"\phi ", "ϑ": r"\theta ", "ϵ": r"\epsilon ", "µ": r"\mu "}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋ₙ", "0123456789+-n")
_SIGN = re.compile("|".join(map(re.escape, sorted(_UNICODE, key=len, reverse=True))))
# Letters and digits in mathematical styles, full-width signs: their NFKC form is the plain character.
_STYLED_SIGN = re.compile("[\U0001d400-\U0001d7ff\uff01-\uff5e\u210a\u210e\u2113\u212f\u2134\u2146-\u2149]+")
_OVERLINED = re.compile("(?:\\d\u0305)+")

_ALIASES = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "nicefrac": "frac", "sfrac": "frac", "dbinom": "binom",
    "tbinom": "binom", "leq": "le", "leqslant": "le", "leqq": "le", "geq": "ge", "geqslant": "ge", "geqq": "ge",
    "neq": "ne", "lt": "<", "gt": ">", "land": "land", "wedge": "land", "vee": "lor", "bigcup": "cup", "bigcap": "cap",
    "varnothing": "emptyset", "infin": "infty", "ldots": "ldots", "dots": "ldots", "cdots": "ldots", "dotsc": "ldots",
    "dotsb": "ldots", "rightarrow": "to", "longrightarrow": "to", "implies": "Rightarrow", "mathord": "",
    "lvert": "|", "rvert": "|", "vert": "|", "mid": "|", "lbrack": "[", "rbrack": "]", "lbrace": r"\{",
    "rbrace": r"\}", "lparen": "(", "rparen": ")", "backslash": r"\setminus", "smallsetminus": r"\setminus",
    "degree": r"^\circ", "ast": "*", "colon": ":", "varepsilon": "epsilon", "varphi": "phi", "vartheta": "theta",
    "R": r"\mathbb{R}", "N": r"\mathbb{N}", "Z": r"\mathbb{Z}", "Q": r"\mathbb{Q}", "Reals": r"\mathbb{R}",
    "textdegree": r"^\circ", "prime": "'", "lang": "langle", "rang": "rangle", "arcctg": "arccot", "tg": "tan",
    "ctg": "cot", "imath": "i", "jmath": "j", "overrightarrow": "vec", "overline": "overline", "bar": "overline",
    "mbox": "text", "textbf": "text", "textrm": "text", "textit": "text", "textnormal": "text", "textsf": "text",
    "texttt": "text", "textdollar": r"\$", "mathdollar": r"\$", "cent": r"\text{cents}", "textcent": r"\text{cents}",
    "yen": "¥", "textyen": "¥", "uppi": "pi", "hbox": "text", "emph": "text", "textup": "text", "textsc": "text",
}  # fmt: skip
_ALIAS = re.compile(rf"\\({'|'.join(sorted(_ALIASES, key=len, reverse=True))})(?![a-zA-Z])")
_DROPPED = re.compile(
    r"\\(?:left|right|middle)(?![a-zA-Z])\s*\.?|\\(?:[bB]igg?[lrm]?|displaystyle|textstyle|scriptstyle|limits"
    r"|nolimits|nonumber|allowbreak|strut|cal|nobreak|unicode)(?![a-zA-Z])|\\!|\\[hv]?phantom\s*\{[^{}]*\}"
    r"|\\(?:hspace|vspace|hskip|kern|mspace)\*?\s*\{[^{}]*\}|\\label\s*\{[^{}]*\}|\\tag\*?\s*\{[^{}]*\}"
)
_SPACE = re.compile(
    r"(?<!\\)\\[,;:> ]|~|\\(?:q?quad|enspace|enskip|thinspace|medspace|thickspace|space)(?![a-zA-Z])"
    "|[\u00a0\u2000-\u200b\u202f\u205f\u3000\ufeff]"
)
_NOT = re.compile(r"\\not\s*=")
_NOT_IN = re.compile(r"\\not\s*\\in(?![a-zA-Z])")
_OPERATOR = re.compile(r"\\operatorname\*?\s*\{\s*([a-zA-Z]+)\s*\}")
_LIGATURE = re.compile(r"(?<![<>=\\])(?:(<=|=<)|(>=|=>)|(!=))(?![<>=])")
_INFIX = re.compile(r"\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\\(over|choose)(?![a-zA-Z])([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
_BARE = re.compile(r"\\(frac|binom|sqrt|overline)(?![a-zA-Z])\s*")
_ARGUMENTS = {"frac": 2, "binom": 2, "sqrt": 1, "overline": 1}
_KNOWN_OPERATORS = frozenset(
    re.findall(
        r"\S+",
        "sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh log ln exp min max gcd lcm lim det",
    )
)
_RAISED_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_LOWERED_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋ₙ]+")


def one_spelling(text: str) -> str:
    r"""`text` with its LaTeX spelt one way: `\dfrac12` and `\frac{1}{2}`, `≤` and `\leq` come out alike.

    White space is left as it is (every LaTeX space becomes a blank). Time is linear in the text's length.
    """
    if not text.isascii():
        text = _OVERLINED.sub(lambda m: f"\\overline{{{m.group().replace(chr(0x305), '')}}}", text)
        text = _STYLED_SIGN.sub(lambda m: unicodedata.normalize("NFKC", m.group()), text)
        text = _RAISED_RUN.sub(lambda m: f"^{{{m.group().translate(_RAISED)}}}", text)
        text = _LOWERED_RUN.sub(lambda m: f"_{{{m.group().translate(_LOWERED)}}}", text)
        text = _SIGN.sub(lambda m: _UNICODE[m.group()], text)
    if "\\" in text:
        text = _DROPPED.sub(" ", text)
        text = _OPERATOR.sub(lambda m: _operator(m[1]), text)
        text = _NOT_IN.sub(lambda m: r"\notin", _NOT.sub(lambda m: r"\ne", text))
        text = _ALIAS.sub(lambda m: _alias(m[1]), text)
        text = _INFIX.sub(lambda m: ("\\frac" if m[2] == "over" else "\\binom") + f"{{{m[1]}}}{{{m[3]}}}", text)
        if _BARE.search(text):
            text = "".join(_with_braces(text))
    text = _LIGATURE.sub(lambda m: r"\le " if m[1] else r"\ge " if m[2] else r"\ne ", text)
    return _SPACE.sub(" ", text)


def group_end(text: str, start: int) -> int | None:
    r"""The position of the `}` that closes the group whose inside begins at `start`, or None; `\}` closes nothing."""
    depth, position = 1, start
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return None


def replace_groups(text: str, opening: re.Pattern[str], replacement: Callable[[re.Match[str], str], str]) -> str:
    r"""`text` with `replacement(match, inside)` for every command that `opening` matches, inner ones too.

    opening: ends in `{`. A group that does not close is left as it is.
    """
    pieces, position = [], 0
    while match := opening.search(text, position):
        end = group_end(text, match.end())
        if end is None:
            pieces.append(text[position : match.end()])
            position = match.end()
            continue
        inside = replace_groups(text[match.end() : end], opening, replacement)
        pieces += [text[position : match.start()], replacement(match, inside)]
        position = end + 1
    return "".join([*pieces, text[position:]])


def _operator(name: str) -> str:
    if len(name) == 1:
        return name
    return f"\\{name} " if name in _KNOWN_OPERATORS else f"\\operatorname{{{name}}}"


def _alias(name: str) -> str:
    other = _ALIASES[name]
    return f"\\{other}" if other.isalpha() and len(other) > 1 else other


def _with_braces(text: str) -> Iterator[str]:
    r"""Pieces of `text` in which the commands of `_ARGUMENTS` have theirs in braces (`\sqrt(2)` too)."""
    position = 0
    while match := _BARE.search(text, position):
        yield text[position : match.start()]
        yield f"\\{match[1]}"
        position = match.end()
        if match[1] == "sqrt" and text.startswith("[", position):
            degree_end = text.find("]", position)
            if degree_end < 0:
                continue
            yield text[position : degree_end + 1].replace(" ", "")
            position = degree_end + 1
            while text.startswith(" ", position):
                position += 1
        for number in range(_ARGUMENTS[match[1]]):
            while number and text.startswith(" ", position):
                position += 1
            end = _argument_end(text, position, match[1] == "sqrt")
            if end is None:
                break
            inside = text[position:end]
            if text[position] in "{(":
                inside = inside[1:-1]
            yield "{" + "".join(_with_braces(inside)) + "}"
            position = end
    yield text[position:]


def _argument_end(text: str, position: int, root: bool) -> int | None:
    """Where the argument that begins at `position` ends: a group, a command with its groups, or one character."""
    if position >= len(text) or text[position] in "}$&":
        return None
    if text[position] == "{":
        end = group_end(text, position + 1)
        return None if end is None else end + 1
    if root and text[position] == "(":
        depth = 0
        for index in range(position, len(text)):
            depth += (text[index] == "(") - (text[index] == ")")
            if depth == 0:
                return index + 1
        return None
    if text[position] == "\\":
        match = re.compile(r"\\(?:[a-zA-Z]+|.)").match(text, position)
        if match is None:
            return None
        end = match.end()
        if match.group() in (r"\frac", r"\binom") and not text.startswith("{", end):
            return None
        while match.group() in (r"\frac", r"\binom", r"\sqrt", r"\text") and text.startswith("{", end):
            inner = group_end(text, end + 1)
            if inner is None:
                return None
            end = inner + 1
        return end
    return position + 1
