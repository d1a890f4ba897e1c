r"""Sets of real numbers, however they are written: intervals, inequalities, `\ne`, `|x| < a`, joined by `or`, `\cup`.

Here they are read from text; what they are, and how two are compared and joined, is in `pieces`.
"""

import re

from arbitrage.grading.extract import split_list, split_outside
from arbitrage.grading.normalise import key
from arbitrage.grading.pieces import EVERYTHING, Piece, Region, intersection, union

RELATION = re.compile(r"\\(?:le|ge|ne)(?![a-zA-Z]) ?|<|>")
_VARIABLE = r"(?:[a-zA-Z]|\\(?!infty|pi)[a-zA-Z]+)(?:_(?:\w|\{\w+\}))?"
_LONE = re.compile(rf"({_VARIABLE})")
_ABSOLUTE = re.compile(rf"\|({_VARIABLE})(?: ?([-+])(.+?))?\|")
_BUILDER = re.compile(rf"\\\{{({_VARIABLE})(?: ?\\in ?(?:\\mathbb\{{R\}}|\\mathbb R))?[|:](.+)\\\}}")
MEMBER = re.compile(rf"({_VARIABLE}) ?\\(in|notin)(?![a-zA-Z]) ?(.+)")
_FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le", "\\ne": "\\ne"}
_ALL = (r"\mathbb{R}", r"\mathbb R")
_MINUS_SET = re.compile(r"(?<=[\])}R])-(\\\{)")
_ALL_WORDS = re.compile(
    r"(?:\\text\{)?all (?:real )?(?:numbers|reals|values|real)(?: of)?\}? ?[a-z]?"
    r"(?: ?(?:\\text\{)? ?(?:except|other than|but)(?: for)?\}? ?(?:x=|x\\ne ?)?(.+?)\}?)?",
    re.IGNORECASE,
)
_POSITIVE, _NEGATIVE = Piece("0", False, "\\infty", False), Piece("-\\infty", False, "0", False)
_HALF_LINES = {
    r"\mathbb{R}^+": _POSITIVE,
    r"\mathbb{R}_{>0}": _POSITIVE,
    r"\mathbb{R}^-": _NEGATIVE,
    r"\mathbb{R}_{<0}": _NEGATIVE,
    r"\mathbb{R}_{\ge0}": Piece("0", True, "\\infty", False),
    r"\mathbb{R}_{\le0}": Piece("-\\infty", False, "0", True),
}


def read_region(text: str) -> Region | None:
    """The region that a text (plain) stands for, None where it is something else: a pair, a list, an equation."""
    if builder := _BUILDER.fullmatch(text):
        region = read_region(builder[2])
        return region if region and region.variable in (None, builder[1]) else None
    alternatives = [part for piece in _split(text, r"\text{or}") for part in _split(piece, r"\cup")]
    if len(alternatives) > 1:
        return union([read_region(part) for part in alternatives])
    text = _MINUS_SET.sub(r"\\setminus\1", _all_reals(text))
    if r"\setminus" in text:
        outer, *removed = _split(text, r"\setminus")
        region, holes = read_region(outer), [_points(part) for part in removed]
        if region is None or any(points is None for points in holes):
            return None
        region.holes += [point for points in holes for point in points or []]
        return region
    conditions = [part for piece in _split(text, r"\text{and}") for part in split_outside(piece, ",")]
    if len(conditions) > 1:
        texts = [None if RELATION.search(part) or "=" in part else part for part in conditions]
        return intersection([read_region(part) for part in conditions], texts)
    return _term(text.strip())


def _all_reals(text: str) -> str:
    """Words for all real numbers, or all but some, as signs."""
    match = _ALL_WORDS.fullmatch(text)
    if match is None:
        return text
    left_out = ",".join(split_list(match[1])) if match[1] else ""
    return r"\mathbb{R}" + (rf"\setminus\{{{left_out}\}}" if left_out else "")


def _split(text: str, mark: str) -> list[str]:
    return split_outside(text, mark)


def _term(text: str) -> Region | None:
    if text in _ALL:
        return Region([EVERYTHING])
    if half := _HALF_LINES.get(key(text)):
        return Region([half])
    if member := MEMBER.fullmatch(text):
        if member[2] == "notin":
            points = _points(member[3])
            return None if points is None else Region([EVERYTHING], holes=points, variable=member[1])
        region = read_region(member[3])
        if region is not None:
            region.variable = member[1]
        return region
    if text[:1] in "([" and text[-1:] in ")]":
        ends = split_outside(text[1:-1], ",")
        if len(ends) == 2 and len(split_outside(text, ",")) == 1:
            return Region([_piece(ends[0], text[0] == "[", ends[1], text[-1] == "]")])
    if (points := _points(text)) is not None:
        return Region(points=points)
    operands, signs = split_relations(text)
    if len(operands) == 2 and signs == ["="] and _LONE.fullmatch(operands[0]):
        return Region(points=[operands[1]], variable=operands[0])
    if "=" in signs or not signs or not all(operands):
        return None
    if len(operands) == 2:
        return _half_line(operands[0], signs[0], operands[1])
    if len(operands) != 3:
        return None
    lone, absolute = _LONE.fullmatch(operands[1]), _ABSOLUTE.fullmatch(operands[1])
    if lone is None and (absolute is None or absolute[3] is not None):
        return None
    if all(sign in (">", "\\ge") for sign in signs):
        operands, signs = operands[::-1], [_FLIPPED[sign] for sign in signs[::-1]]
    if not all(sign in ("<", "\\le") for sign in signs):
        return None
    piece = _piece(operands[0], signs[0] == "\\le", operands[2], signs[1] == "\\le")
    if lone is not None:
        return Region([piece], variable=lone[1])
    assert absolute is not None
    mirrored = Piece(_negative(piece.high), piece.high_closed, _negative(piece.low), piece.low_closed)
    if piece.low != "0":
        return Region([mirrored, piece], variable=absolute[1])
    whole = Piece(mirrored.low, mirrored.low_closed, piece.high, piece.high_closed)
    return Region([whole], holes=[] if piece.low_closed else ["0"], variable=absolute[1])


def split_relations(text: str) -> tuple[list[str], list[str]]:
    r"""Operands of a chain of `<`, `>`, `\le`, `\ge`, `\ne` and `=` outside brackets, and the signs between them."""
    operands, signs, begin, depth, position = [], [], 0, 0, 0
    while position < len(text):
        character = text[position]
        depth += (character in "([{") - (character in ")]}")
        match = RELATION.match(text, position) if depth == 0 else None
        if match or (depth == 0 and character == "="):
            operands.append(text[begin:position].strip())
            signs.append(match.group().strip() if match else "=")
            begin = position = match.end() if match else position + 1
        else:
            position += 1
    return [*operands, text[begin:].strip()], signs


def _half_line(left: str, sign: str, right: str) -> Region | None:
    if not _LONE.fullmatch(left) and not _ABSOLUTE.fullmatch(left):
        left, sign, right = right, _FLIPPED[sign], left
    closed = sign in ("\\le", "\\ge")
    if lone := _LONE.fullmatch(left):
        if sign == "\\ne":
            return Region([EVERYTHING], holes=split_list(right) or [right], variable=lone[1])
        piece = (
            _piece("-\\infty", False, right, closed)
            if sign in ("<", "\\le")
            else _piece(right, closed, "\\infty", False)
        )
        return Region([piece], variable=lone[1])
    if (absolute := _ABSOLUTE.fullmatch(left)) is None:
        return None
    variable, turn, shift = absolute.groups()
    centre = "" if shift is None else shift if turn == "-" else f"-({shift})"
    low, high = (f"{centre}-({right})", f"{centre}+{right}") if centre else (_negative(right), right)
    if sign in ("<", "\\le"):
        return Region([_piece(low, closed, high, closed)], variable=variable)
    if sign == "\\ne":
        return Region([EVERYTHING], holes=[low, high], variable=variable)
    outside = [_piece("-\\infty", False, low, closed), _piece(high, closed, "\\infty", False)]
    return Region(outside, variable=variable)


def _negative(text: str) -> str:
    return f"-{text}" if re.fullmatch(r"[\w.]+|\\frac\{\w+\}\{\w+\}|\\sqrt\{\w+\}", text) else f"-({text})"


def _points(text: str) -> list[str] | None:
    if text.startswith("\\{") and text.endswith("\\}") and text.count("\\{") == 1:
        return split_outside(text[2:-2], ",")
    return None


def _piece(low: str, low_closed: bool, high: str, high_closed: bool) -> Piece:
    low, high = low.replace("+\\infty", "\\infty"), high.replace("+\\infty", "\\infty")
    return Piece(low, low_closed, high, high_closed)
