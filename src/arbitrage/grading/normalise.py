r"""The many ways to write one answer in LaTeX, brought to one: spaces, upright letters, thousands, money, degrees."""

import re
from fractions import Fraction

from arbitrage.grading.latex import group_end, one_spelling, replace_groups
from arbitrage.grading.units import read_unit

_THOUSANDS = (
    (re.compile(r"(?<=\d),\\!\s*(?=\d)"), ""),  # 10,\!080
    (re.compile(r"(?<=\d)\{,\}(?=\d{3})"), ","),
    (re.compile(r"(?<=\d)\\[,!:;](?=\d{3}(?!\d))"), ""),
    (re.compile(r"(?<=\d)'(?=\d{3}(?!\d))"), ""),
)
_STYLED = re.compile(r"\\(mathrm|mathbf|boldsymbol|bm|bold|pmb|mathit|mathsf|mathtt|mathnormal|mathcal)\s*\{")
_SWITCH = re.compile(r"\{\s*\\(?:rm|bf|it|sf|tt|cal|mathrm|mathbf|boldsymbol|bm)(?![a-zA-Z{])\s*([^{}]*)\}")
_BARE_SWITCH = re.compile(r"\\(?:rm|bf|it|sf|tt)(?![a-zA-Z])\s*")
_ALWAYS_MATHS = frozenset(("boldsymbol", "bm", "bold", "pmb", "mathit", "mathnormal", "mathcal"))
_TEXT = re.compile(r"\\text\s*\{")
_UNIT_LETTERS = frozenset("msghLlNJWVAKCF")
_BEFORE_UNIT = re.compile(
    r"(?:[\d})\]]\s*(?:\\?[,;: ]|~)*\s*(?:\\frac\{)?|\\(?:mathrm|text)\s*\{[^{}]*\}\s*(?:/|\\cdot)\s*"  # 5 m, 5 m/s
    r"|\\frac\{[^{}]*\\(?:mathrm|text)\s*\{[^{}]*\}(?:\^\{?\d\}?)?\}\{[^{}]*)$"  # \frac{m}{s}
)
_UNIT_POWERS = r"(?:\\text\{[^{}]*\}(?:\^(?:-?\d|\{-?\d\}))? ?(?:\\cdot ?)?)+"
_UNIT_FRACTION = re.compile(rf"\\frac\{{([\d.]*) ?({_UNIT_POWERS})\}}\{{([\d.]*) ?({_UNIT_POWERS})\}}")
_NUMBER_AND_UNIT = re.compile(r"(-?(?:\d[\d,]*)?\.?\d+|\d+:\d\d) ?([A-Za-z%].*)")
_RATIO_IN_WORDS = re.compile(r"\d+(?: to \d+)+")
_LETTERS = re.compile(r"\(?[A-Z]\)?(?: ?(?:,|and) ?\(?[A-Z]\)?)+")  # several choices in one \text
_NO_LETTERS = re.compile(r"[^A-Za-z\\{}:]*\d[^A-Za-z\\{}:]*")
_MONEY = re.compile(
    r"(?:(?:\bUS)?\\\$|\bUSD(?=\s*[-\d.])|(€|\\euro(?![a-z])|\\texteuro(?![a-z]))|(£|\\pounds(?![a-z]))|(₹|\bRs\.?)|(¥))\s*"
    r"(-?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:\\frac\{[^{}]*\}\{[^{}]*\}|\d(?!\d))?(?:\\times 10\^\{\d+\})?)"
    r"(?:\s*(?:\\text\s*\{\s*)?(?:dollars?|USD)(?:\s*\})?)?"
)
_ANY_MONEY = re.compile(r"[$€£₹¥]|USD|Rs|\\(?:text)?euro|\\pounds")
_SCALE = re.compile(r"(?<=\d)\s*(?:\\text\s*\{\s*)?\b(thousand|million|billion|trillion)\b\s*(?:([a-z ]*)\})?")
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_DEGREES = re.compile(
    r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z]))|(?<=\d)(?:\s*\\circ(?![a-zA-Z])|\^(?:o(?![a-zA-Z\d])|\{o\}))"
)
_MINUTES = re.compile(r"(\d+)\^\\circ\s*(\d+)\^?'(?!')\s*(?:(\d+)\^?'')?")  # 15^\circ 30'
_COLOUR = re.compile(r"\\(?:text)?color\s*(?:\[[^\]]*\]\s*)?\{[^{}]*\}|\\(?:underline|ensuremath)(?![a-zA-Z])")
_SIZE = re.compile(r"\\(?:tiny|scriptsize|footnotesize|small|normalsize|[lL]arge|LARGE|huge|Huge)(?![a-zA-Z])")
_PERCENT_WORDS = re.compile(r"(%) ?([a-z]{3,12}(?: [a-z]{2,12}){0,3})\s*$")
_ONE_STYLED = re.compile(r"\\(?:mathrm|mathbf|boldsymbol|bm|mathit|mathsf|rm|bf|it)\s+([a-zA-Z0-9])(?![a-zA-Z])")
_GROUP = re.compile(r"(?<![\w}\]^\\)])\{([^{},]+)(?<!\\)\}")  # braces that are no command's argument
_OUTWARD = re.compile(r"(^|\\cup ?|\\in ?|=)([\[\]])([^\[\]()]+)([\[\]])")  # ]2,5[ is (2,5)
_SEMICOLON = re.compile(r"(?<=[(\[])([^(),;\[\]]+);([^(),;\[\]]+)(?=[)\]])")  # [0;5]
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d]|,\d)")
_EMPTY = re.compile(r"\\\{\s*\\\}")
_RECURRING = re.compile(r"(\d*)\.(\d*)(?:\\overline\s*\{(\d+)\}|\((\d+)\)|((?:\\dot\s*\{?\d\}?\d*)+))")
_GOES_ON = re.compile(r"(\d*)\.(\d*?)()()()(\d{1,3}?)\6\6+\s*(?:\\ldots|\.\.\.)")  # 0.1666...
_DOTTED = re.compile(r"\\dot\s*\{?(\d)\}?")
_IN_BRACKETS = re.compile(r"[(\[]\s*(\\begin\{pmatrix\}(?:(?!\\begin).)*?\\end\{pmatrix\})\s*[)\]]", re.DOTALL)
_MATRIX = re.compile(
    r"\\(begin|end)\s*\{(?:array|smallmatrix|[bB]?matrix|pmatrix)\}(?:(?<=array\})\s*\{[lcr|@{} ]*\})?"
)
_OR = re.compile(r"\\text\s*\{\s*,?\s*(or|and)\s*\}|(?<![a-zA-Z\\])(or|and)(?![a-zA-Z])|\\(lor|land)(?![a-zA-Z])")
_ENDING = re.compile(r"(?:[.;,]|\\ldots)\s*$")
_BLANKS = re.compile(r"\s+")
_WHOLE = r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d{1,2000})"
_DECIMAL = re.compile(rf"([+-]?)({_WHOLE})?(?:\.(\d{{0,200}}))?")
_SCIENTIFIC = re.compile(
    rf"([+-]?(?:{_WHOLE})?(?:\.\d{{0,200}})?) ?"
    r"(?:(?:\\times|\\cdot|\*) ?10\^\{?([+-]?\d{1,3})\}?|[eE]([+-]?\d{1,3}))"
)
_TEX = r"\\frac\{([+-]?\d{1,200})\}\{(\d{1,200})\}"
_FRACTION = re.compile(rf"([+-]?)(?:([+-]?\d{{1,200}})/(\d{{1,200}})|{_TEX})")
_MIXED = re.compile(rf"([+-]?)(\d{{1,200}})(?: (\d{{1,200}})/(\d{{1,200}})| ?\+?{_TEX})")


def plain(text: str) -> str:
    """`text` without what changes only its looks: dollar signs, spaces of all kinds, \\left, \\dfrac, a last full stop.

    One space is left between two digits ("1 3/4" is not "13/4") and after a LaTeX command. Money is written with its
    unit after it, a recurring decimal as a fraction, `and` and `or` as \\text{and} and \\text{or}.
    """
    if text.isalnum() and text.isascii():
        return text
    for pattern, replacement in _THOUSANDS:
        text = pattern.sub(replacement, text)
    text = one_spelling(text)
    if text.count("$") == 1:  # one that opens no mathematics is money
        text = re.sub(r"^(\s*-?)\$(?=\s*[\d.])", r"\1\\$", text)
    text = re.sub(r"(?<!\\)\$", " ", text)
    if "\\" in text:
        text = _ONE_STYLED.sub(r"\1", _SIZE.sub("", _COLOUR.sub("", text)))
    text = _BARE_SWITCH.sub("", _SWITCH.sub(lambda m: f"{{\\mathrm{{{m[1]}}}}}", text))
    text = replace_groups(text, _STYLED, lambda m, inside: _styled(m[1], inside, m.string[: m.start()]))
    text = replace_groups(text, _TEXT, lambda m, inside: _words(inside, m.string, m.start()))
    text = _PERCENT_WORDS.sub(r"\1\\text{\2}", _UNIT_FRACTION.sub(_one_line, text))
    if "illion" in text or "thousand" in text:
        text = _SCALE.sub(lambda m: f"\\times 10^{{{_SCALES[m[1]]}}}" + (f"\\text{{{m[2]}}}" if m[2] else ""), text)
    if _ANY_MONEY.search(text):
        text = _MONEY.sub(_money, text).replace("\\$", r"\text{dollars}")
    text = _EMPTY.sub(lambda m: r"\emptyset", text.replace("\\langle", "(").replace("\\rangle", ")"))
    text = _DEGREES.sub(lambda m: r"^\circ", text)
    if "'" in text:
        text = _MINUTES.sub(_minutes, text)
    if "." in text:
        text = _RECURRING.sub(_recurring, _GOES_ON.sub(_recurring, text))
    text = _IN_BRACKETS.sub(r"\1", _MATRIX.sub(lambda m: f"\\{m[1]}{{pmatrix}}", text))
    text = _OR.sub(lambda m: f"\\text{{{ {'lor': 'or', 'land': 'and'}.get(m[3], m[1] or m[2]) }}}", text)
    text = _BLANKS.sub(" ", text).strip()
    while ending := _ENDING.search(text):
        text = text[: ending.start()].strip()
    text = re.sub(r"([\^_])\{(\w)\}(?!\d)", r"\1\2", text)
    text = re.sub(r"(\\text) *\{ *([^{}]*?) *\}", r"\1{\2}", text)
    text = re.sub(r" ?([^\w\\ {}]) ?| (?=[{}])|(?<=[{}]) ", lambda m: m.group(1) or "", text)
    while (unwrapped := _GROUP.sub(r"\1", text)) != text:
        text = unwrapped
    if text[:1] == "{" and "," not in text and group_end(text, 1) == len(text) - 1:
        text = text[1:-1].strip()
    if "]" in text or ";" in text:
        text = _SEMICOLON.sub(r"\1,\2", _OUTWARD.sub(_inward, text))
    return text[1:] if re.match(r"\+[\d\\.]", text) else text


def ungrouped(text: str) -> str:
    """`text` without the commas between thousands; as it is where they may be commas of a tuple, as in (1,200)."""
    if re.search(r"[(\[{]", text) and not re.search(r",\s", text):
        return text
    return _GROUPED.sub(lambda m: m.group().replace(",", ""), text)


def key(text: str) -> str:
    """`text` (plain) with no space but between digits: equal keys, equal answers."""
    text = re.sub(r"(\\text)\{([^{}]*)\}", lambda m: f"\\text{{{m[2].replace(' ', '_')}}}", text)
    return re.sub(r"(?<!\d) | (?!\d)", "", text)


def exact(text: str) -> Fraction | None:
    """The value of a plain integer, decimal, fraction, mixed number or power of ten; None for anything else."""
    if (match := _DECIMAL.fullmatch(text)) and (match[2] or match[3]):
        return _decimal(text)
    if match := _FRACTION.fullmatch(text):
        sign, above, below, *tex = match.groups()
        return _ratio(sign, 0, above or tex[0], below or tex[1])
    if match := _MIXED.fullmatch(text):
        sign, whole, above, below, *tex = match.groups()
        above, below = above or tex[0], below or tex[1]
        return _ratio(sign, int(whole), above, below) if 0 < int(above) < int(below) or "+" in text[1:] else None
    if (match := _SCIENTIFIC.fullmatch(text)) and re.search(r"\d", match[1]):
        return _decimal(match[1]) * Fraction(10) ** int(match[2] or match[3])
    return None


def decimals(text: str) -> int:
    """How many digits follow the point of a plain decimal; 0 for anything else."""
    match = _DECIMAL.fullmatch(text)
    return len(match[3] or "") if match else 0


def significant(text: str) -> int:
    """How many digits of a plain decimal say something: all but the leading zeros."""
    return len(re.sub(r"\D", "", text).lstrip("0"))


def _styled(command: str, inside: str, before: str) -> str:
    r"""What \mathrm{...} and its kin stand for: a unit after a number, a word, else just mathematics."""
    content = inside.replace("~", " ").strip()
    if command in _ALWAYS_MATHS or not re.fullmatch(r"[A-Za-z][A-Za-z .]*", content):
        return content if len(content) == 1 else f" {content} "
    if len(content) == 1:
        is_unit = command == "mathrm" and content in _UNIT_LETTERS and _BEFORE_UNIT.search(before)
        return f"\\text{{{content}}}" if is_unit else content
    if content in ("sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "arcsin", "arccos", "arctan"):
        return f"\\{content} "
    return f"\\text{{{content}}}"


def _words(inside: str, text: str, start: int) -> str:
    r"""What \text{...} stands for: mostly itself; without words, or as an upright e or i, it is mathematics."""
    content = re.sub(r"\\text\{([^{}]*)\}", r"\1", inside).replace("~", " ").strip()
    if _NO_LETTERS.fullmatch(content) or _LETTERS.fullmatch(content) or re.fullmatch(r"\\\$|[€£₹¥]|Rs\.?", content):
        return content
    if match := _RATIO_IN_WORDS.fullmatch(content):
        return r"\text{to}".join(match[0].split(" to "))
    if match := _NUMBER_AND_UNIT.fullmatch(content):
        return f"{match[1]}\\text{{{match[2]}}}"
    alone = text.strip() == text[start:].strip() and text.strip().endswith("}") and text.count("{") == 1
    if content in ("e", "i") and not alone:
        return content
    return f"\\text{{{content}}}"


def _inward(match: re.Match[str]) -> str:
    before, opening, inside, closing = match.groups()
    if (opening, closing) == ("[", "]") or len(re.findall("[,;]", inside)) != 1:
        return match.group()
    return f"{before}{'[' if opening == '[' else '('}{inside}{']' if closing == ']' else ')'}"


def _minutes(match: re.Match[str]) -> str:
    value = int(match[1]) + Fraction(int(match[2]), 60) + Fraction(int(match[3] or 0), 3600)
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}^\\circ"


def _one_line(match: re.Match[str]) -> str:
    r"""`\text{m}/\text{s}` for `\frac{\text{m}}{\text{s}}`, with the numbers in it in front; words are no units."""
    above, unit, below, per = match.groups()
    if read_unit(unit) is None or read_unit(per) is None:
        return match.group()
    number = f"\\frac{{{above or 1}}}{{{below}}}" if below else above
    return f"{number}{unit.strip()}/{per.strip()}"


def _money(match: re.Match[str]) -> str:
    unit = "euros" if match[1] else "GBP" if match[2] else "rupees" if match[3] else "yen" if match[4] else "dollars"
    return f"{match[5]}\\text{{{unit}}}"


def _recurring(match: re.Match[str]) -> str:
    whole, fixed, over, in_brackets, dotted, *same = match.groups()
    if dotted:
        digits = _DOTTED.findall(dotted)
        period = _DOTTED.sub(lambda m: m[1], dotted)
        if len(digits) > 2:
            return match.group()
        if len(digits) == 1:  # one dot: it alone recurs, so nothing may follow it
            period, fixed = digits[0], fixed
            if _DOTTED.sub("", dotted):
                return match.group()
    else:
        period = over or in_brackets or same[0]
    scale, nines = 10 ** len(fixed), 10 ** len(period) - 1
    value = int(whole or "0") + Fraction(int(fixed or "0"), scale) + Fraction(int(period), nines * scale)
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


def _decimal(text: str) -> Fraction:
    match = _DECIMAL.fullmatch(text)
    assert match is not None
    value = Fraction(f"{re.sub('[, ]', '', match[2] or '0')}.{match[3] or '0'}")
    return -value if match[1] == "-" else value


def _ratio(sign: str, whole: int, above: str, below: str) -> Fraction | None:
    if int(below) == 0:
        return None
    value = whole + Fraction(int(above), int(below))
    return -value if sign == "-" else value
