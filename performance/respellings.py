r"""Other spellings of a question that ask the same, and near copies that do not: what decontamination is measured with.

The spellings are copies by rules on the text, without the package's own, so that an error there shows here.
"""

import re
from collections.abc import Callable

Respelling = Callable[[str], str]


def _each(*pairs: tuple[str, str]) -> Respelling:
    rules = [(re.compile(pattern), replacement) for pattern, replacement in pairs]

    def change(text: str) -> str:
        for pattern, replacement in rules:
            text = pattern.sub(lambda match, new=replacement: match.expand(new), text)
        return text

    return change


_UNICODE = {
    r"\le": "≤", r"\leq": "≤", r"\ge": "≥", r"\geq": "≥", r"\ne": "≠", r"\neq": "≠", r"\times": "×", r"\cdot": "·",
    r"\pi": "π", r"\theta": "θ", r"\alpha": "α", r"\infty": "∞", r"\in": "∈", r"\cup": "∪", r"\pm": "±", r"\angle": "∠",
    r"\triangle": "△", r"\to": "→", r"\omega": "ω", r"\sum": "∑", r"\leqslant": "⩽", r"\geqslant": "⩾",
}  # fmt: skip


def _unicode(text: str) -> str:
    text = re.sub(r"\^(?:\{\\circ\}|\\circ)", "°", text)
    text = re.sub(r"\^(?:\{2\}|2(?!\d))", "²", text)
    return re.sub(r"\\[a-zA-Z]+", lambda match: _UNICODE.get(match.group(), match.group()), text)


def _maths(change: Respelling) -> Respelling:
    """`change` inside of dollar signs only."""
    return lambda text: re.sub(r"\$([^$]+)\$", lambda match: f"${change(match[1])}$", text)


RESPELLINGS: dict[str, Respelling] = {
    "frac -> dfrac": _each((r"\\frac(?![a-z])", r"\\dfrac")),
    "frac -> tfrac": _each((r"\\frac(?![a-z])", r"\\tfrac")),
    r"\frac{a}{b} -> \frac ab": _each((r"\\frac\{(\w)\}\{(\w)\}", r"\\frac \1\2")),
    r"\frac{a}{b} -> a/b": _each((r"(?<![\d}^])\\frac\{(\d+)\}\{(\d+)\}(?!\d)", r"\1/\2")),
    "leq -> le": _each((r"\\leq(?![a-z])", r"\\le"), (r"\\geq(?![a-z])", r"\\ge"), (r"\\neq(?![a-z])", r"\\ne")),
    "le -> leq": _each((r"\\le(?![a-z])", r"\\leq"), (r"\\ge(?![a-z])", r"\\geq"), (r"\\ne(?![a-z])", r"\\neq")),
    "leq -> leqslant": _each((r"\\leq?(?![a-z])", r"\\leqslant"), (r"\\geq?(?![a-z])", r"\\geqslant")),
    "left, right dropped": _each((r"\\(?:left|right)(?![a-z])\.?\s*", "")),
    "left, right added": _maths(_each((r"(?<!left)\(", r"\\left("), (r"(?<!right)\)", r"\\right)"))),
    "big added": _maths(_each((r"(?<!left)\(", r"\\bigl("), (r"(?<!right)\)", r"\\bigr)"))),
    "cdot -> times": _each((r"\\cdot(?![a-z])", r"\\times")),
    "times -> cdot": _each((r"\\times(?![a-z])", r"\\cdot")),
    "displaystyle added": _each((r"\$(?=[^$]+\$)(?<!\$\$)([^$]+)\$", r"$\\displaystyle \1$")),
    "picture code -> link": _each(
        (r"(?s)\[asy\].*?\[/asy\]", "![picture](https://cdn.mathpix.com/cropped/2024_01_01_1.jpg)")
    ),
    "Unicode signs": _unicode,
    "text -> mathrm": _each((r"\\text\{", r"\\mathrm{"), (r"\\mathrm\{", r"\\mathrm{")),
    "text -> textbf, mbox": _each((r"\\(?:text|mbox)\{", r"\\textbf{")),
    "spaces added": _maths(_each((r"(?<=[a-z\d}]) ?([-+=<>]) ?(?=[a-z\d\\])", r" \1\\, "))),
    "spaces dropped": _maths(_each((r" *([-+=<>,]) *(?![a-zA-Z])", r"\1"))),
    "letters apart": _maths(_each((r"(?<![\\a-zA-Z{])([a-z])([a-z])(?![a-zA-Z}])", r"\1 \2"))),
    "dollars -> brackets": _each((r"(?<![\\$])\$((?:[^$\\]|\\.)+)\$(?!\$)", r"\\(\1\\)")),
    "dollars dropped": _each((r"(?<!\\)\$", "")),
    "display -> dollars": _each((r"\\\[", "$$"), (r"\\\]", "$$")),
    "dots": _each((r"\\(?:ldots|cdots|dots)(?![a-z])", "...")),
    "braces of powers": _each((r"\^(\d)(?!\d)", r"^{\1}"), (r"_(\d)(?!\d)", r"_{\1}")),
    "binom -> dbinom": _each((r"\\binom", r"\\dbinom")),
    "circ -> degrees": _each((r"\^(?:\{\\circ\}|\\circ)", " degrees")),
    "thousands": _each((r"(?<=\d),(?=\d{3}(?!\d))", "{,}")),
    "quad": _each((r"\\q?quad(?![a-z])", r"\\;")),
    "first letter small": lambda text: text[:1].lower() + text[1:],
}


def near_copies(text: str) -> list[str]:
    """Questions one number, sign or relation off, outside of pictures and tags: they ask something else."""
    if "[asy]" in text or "\\tag" in text:
        return []
    numbers = list(re.finditer(r"(?<![\d.\\])\d+(?![\d.])", text))
    copies = [text[: m.start()] + str(int(m.group()) + 1) + text[m.end() :] for m in (numbers[:1] + numbers[-1:])]
    if sign := re.search(r"(?<=[\w}]) ?([-+]) ?(?=[\w\\])", text):
        copies.append(text[: sign.start(1)] + ("-" if sign[1] == "+" else "+") + text[sign.end(1) :])
    if relation := re.search(r"\\(leq?|geq?)(?![a-z])|<|>", text):
        other = {"<": ">", ">": "<", r"\le": r"\ge", r"\leq": r"\geq", r"\ge": r"\le", r"\geq": r"\leq"}[
            relation.group()
        ]
        copies.append(text[: relation.start()] + other + text[relation.end() :])
    return [other for other in dict.fromkeys(copies) if other != text]
