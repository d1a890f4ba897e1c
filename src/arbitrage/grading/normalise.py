r"""The many ways to write one answer in LaTeX, brought to one: spaces, brackets' sizes, kinds of fraction, units."""

import re
from fractions import Fraction

_DROPPED = re.compile(
    r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|limits)(?![a-zA-Z])\.?|\\!|(?<!\\)\$|\\\$|\\phantom\{[^{}]*\}"
)
_SPACES = re.compile(r"(?<!\\)\\[,;: ]|~|\\q?quad(?![a-zA-Z])|\s+|\u2009|\u202f|\xa0")
_SPELLINGS = (
    (re.compile(r",\\!\s*"), ""),  # thousands: 10,\!080
    (re.compile(r"(?<=\d)\{,\}(?=\d{3})"), ","),
    (re.compile(r"(?<=\d)\\[,!](?=\d{3}(?!\d))"), ""),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\(?:mbox|textbf|textrm|textit|mathrm|mathbf|textnormal|hbox)(?![a-zA-Z])"), r"\\text"),
    (re.compile(r"\\geqslant|\\geq(?![a-z])|≥"), r"\\ge"),
    (re.compile(r"\\leqslant|\\leq(?![a-z])|≤"), r"\\le"),
    (re.compile(r"\\[lr]brace(?![a-zA-Z])"), lambda m: "\\{" if m.group()[1] == "l" else "\\}"),
    (re.compile(r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\degree(?![a-z])|°"), r"^\\circ"),
    (re.compile(r"[−–]"), "-"),
    (re.compile(r"∪|\\bigcup"), r"\\cup "),
    (re.compile(r"∞"), r"\\infty"),
    (re.compile(r"π"), r"\\pi "),
    (
        re.compile(r"\\(?:begin|end)\{array\}(?:\{[lcr|]*\})?|\\(?:begin|end)\{[bvV]?matrix\}"),
        lambda m: _matrix(m.group()),
    ),
)
_WHOLE = r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d{1,200})"
_DECIMAL = re.compile(rf"([+-]?)({_WHOLE})?(?:\.(\d{{0,200}}))?")
_TEX = r"\\frac ?(?:(\d)|\{([+-]?\d{1,200})\}) ?(?:(\d)|\{(\d{1,200})\})"
_FRACTION = re.compile(rf"([+-]?)(?:([+-]?\d{{1,200}})/(\d{{1,200}})|{_TEX})")
_MIXED = re.compile(rf"([+-]?)(\d{{1,200}})(?: (\d{{1,200}})/(\d{{1,200}})| ?{_TEX})")
_UNIT = re.compile(
    r"(.*?[\w})\]^])\s*(?:\\text\s*\{([^{}]*)\}\.?(?:\^\{?(\d)\}?)?"
    r"|(?<=[\d} ])([a-z]{1,12}(?:/[a-z]+)?)(?:\^\{?(\d)\}?)?)"
)
_UNITS = {
    "in": "inch inches", "ft": "foot feet", "yd": "yard yards", "mi": "mile miles", "mm": "millimeter millimeters",
    "cm": "centimeter centimeters centimetres", "m": "meter meters metre metres", "km": "kilometer kilometers",
    "s": "second seconds sec secs", "min": "minute minutes mins", "h": "hour hours hr hrs", "day": "days",
    "week": "weeks", "year": "years yr yrs", "g": "gram grams", "kg": "kilogram kilograms", "degree": "degrees deg",
    "dollar": "dollars usd", "cent": "cents", "km/h": "kph", "mph": "", "radian": "radians rad", "percent": "",
}  # fmt: skip
_CANONICAL = {word: unit for unit, words in _UNITS.items() for word in [unit, *words.split()]}


def plain(text: str) -> str:
    """`text` without what changes only its looks: dollar signs, spaces of all kinds, \\left, \\dfrac, a last full stop.

    One space is left between two digits ("1 3/4" is not "13/4") and after a LaTeX command.
    """
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    text = _SPACES.sub(" ", _DROPPED.sub(" ", text)).strip().rstrip(".;,").strip()
    text = re.sub(r"([\^_])\{(\w)\}", r"\1\2", text)
    text = re.sub(r"(\\text) *\{ *([^{}]*?) *\}", r"\1{\2}", text)
    return re.sub(r" ?([^\w\\ {}]) ?| (?=[{}])|(?<=[{}]) ", lambda m: m.group(1) or "", text)


def key(text: str) -> str:
    """`text` (plain) with no space but between digits: equal keys, equal answers."""
    return re.sub(r"(?<!\d) | (?!\d)", "", text)


def exact(text: str) -> Fraction | None:
    """The value of a plain integer, decimal, fraction or mixed number; None for anything else."""
    if (match := _DECIMAL.fullmatch(text)) and (match[2] or match[3]):
        value = Fraction(f"{re.sub('[, ]', '', match[2] or '0')}.{match[3] or '0'}")
        return -value if match[1] == "-" else value
    if match := _FRACTION.fullmatch(text):
        sign, above, below, *tex = match.groups()
        return _ratio(sign, 0, above or tex[0] or tex[1], below or tex[2] or tex[3])
    if match := _MIXED.fullmatch(text):
        sign, whole, above, below, *tex = match.groups()
        return _ratio(sign, int(whole), above or tex[0] or tex[1], below or tex[2] or tex[3])
    return None


def decimals(text: str) -> int:
    """How many digits follow the point of a plain decimal; 0 for anything else."""
    match = _DECIMAL.fullmatch(text)
    return len(match[3] or "") if match else 0


def without_unit(text: str) -> tuple[str, str | None]:
    r"""(the rest, its unit or None): "5\text{ cm}^2" is 5 and "cm^2", "50\%" is 50 and "percent".

    A word that is no known unit is taken off where it stands in \text{...}, and its unit is "" (says nothing).
    """
    for ending, unit in ((r"\%", "percent"), ("%", "percent"), (r"^\circ", "degree")):
        if text.endswith(ending) and len(text) > len(ending):
            return text[: -len(ending)].strip(), unit
    match = _UNIT.fullmatch(text)
    if match is None:
        return text, None
    rest, wrapped, power, bare, bare_power = match.groups()
    if wrapped is None:
        known = canonical_unit(bare + (f"^{bare_power}" if bare_power else ""))
        # A lone letter after a digit is a variable (3m), and after a closing brace too.
        return (rest.strip(), known) if known and len(bare) > 1 else (text, None)
    return rest.strip(), canonical_unit(wrapped + (f"^{power}" if power else "")) or ""


def canonical_unit(text: str) -> str | None:
    """The unit's short name ("square inches" is "in^2"), or None where it is unknown."""
    text = re.sub(r"\\text|\\mathrm|[{}$\s]", "", text.lower().replace("square", "2*").replace("cubic", "3*"))
    if text in ("^\\circ", "\\circ"):
        return "degree"
    if text in ("%", "\\%"):
        return "percent"
    match = re.fullmatch(r"([23])?\*?([a-z/]+)(?:\^?(\d))?", text)
    if match is None or match[2] not in _CANONICAL:
        return None
    power = match[1] or match[3]
    return _CANONICAL[match[2]] + (f"^{power}" if power else "")


def _ratio(sign: str, whole: int, above: str, below: str) -> Fraction | None:
    if int(below) == 0:
        return None
    value = whole + Fraction(int(above), int(below))
    return -value if sign == "-" else value


def _matrix(mark: str) -> str:
    return "\\begin{pmatrix}" if mark.startswith("\\begin") else "\\end{pmatrix}"
