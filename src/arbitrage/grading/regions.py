r"""Sets of real numbers, however they are written: intervals, inequalities, `\ne`, `|x| < a`, joined by `or`, `\cup`.

A region is kept as texts: pieces with their ends, points besides, and holes. Ends are compared by the caller, as
mathematics, so that [\frac12, 8] and 0.5 \le x \le 8 are one region.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from arbitrage.grading.extract import split_list, split_outside
from arbitrage.grading.normalise import key

Same = Callable[[str, str], bool]
Match = Callable[[Sequence[str], Sequence[str], Same], bool]

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
_INFINITE = ("\\infty", "-\\infty")


@dataclass(frozen=True)
class Piece:
    """An interval by its ends and whether these belong to it."""

    low: str
    low_closed: bool
    high: str
    high_closed: bool


_EVERYTHING = Piece("-\\infty", False, "\\infty", False)
_POSITIVE, _NEGATIVE = Piece("0", False, "\\infty", False), Piece("-\\infty", False, "0", False)
_HALF_LINES = {
    r"\mathbb{R}^+": _POSITIVE,
    r"\mathbb{R}_{>0}": _POSITIVE,
    r"\mathbb{R}^-": _NEGATIVE,
    r"\mathbb{R}_{<0}": _NEGATIVE,
    r"\mathbb{R}_{\ge0}": Piece("0", True, "\\infty", False),
    r"\mathbb{R}_{\le0}": Piece("-\\infty", False, "0", True),
}


@dataclass
class Region:
    """variable: the letter that an inequality names, None for intervals. A hole is a point that is left out."""

    pieces: list[Piece] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    holes: list[str] = field(default_factory=list)
    variable: str | None = None

    def is_like(self, other: "Region", same: Same, match: Match) -> bool:
        """Whether two regions are equal; `same` compares ends, `match` lists in any order."""
        if self.variable and other.variable and self.variable != other.variable:
            return False

        def ends(one: str, two: str) -> bool:
            ours, theirs = self.pieces[int(one)], other.pieces[int(two)]
            if (ours.low_closed, ours.high_closed) != (theirs.low_closed, theirs.high_closed):
                return False
            return same(ours.low, theirs.low) and same(ours.high, theirs.high)

        numbers = [[str(number) for number in range(len(one.pieces))] for one in (self, other)]
        return (
            match(numbers[0], numbers[1], ends)
            and match(self.points, other.points, same)
            and match(self.holes, other.holes, same)
        )

    def bound(self, variable: str) -> str | None:
        r"""The inequality of a half-line ("x>3"), None for any other region."""
        if len(self.pieces) != 1 or self.points or self.holes:
            return None
        piece = self.pieces[0]
        if piece.high == "\\infty" and piece.low != "-\\infty":
            return variable + ("\\ge " if piece.low_closed else ">") + piece.low
        if piece.low == "-\\infty" and piece.high != "\\infty":
            return variable + ("\\le " if piece.high_closed else "<") + piece.high
        return None


def read_region(text: str) -> Region | None:
    """The region that a text (plain) stands for, None where it is something else: a pair, a list, an equation."""
    if builder := _BUILDER.fullmatch(text):
        region = read_region(builder[2])
        return region if region and region.variable in (None, builder[1]) else None
    alternatives = [part for piece in _split(text, r"\text{or}") for part in _split(piece, r"\cup")]
    if len(alternatives) > 1:
        return _union([read_region(part) for part in alternatives])
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
        return _intersection([read_region(part) for part in conditions], conditions)
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
        return Region([_EVERYTHING])
    if half := _HALF_LINES.get(key(text)):
        return Region([half])
    if member := MEMBER.fullmatch(text):
        if member[2] == "notin":
            points = _points(member[3])
            return None if points is None else Region([_EVERYTHING], holes=points, variable=member[1])
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
            return Region([_EVERYTHING], holes=split_list(right) or [right], variable=lone[1])
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
        return Region([_EVERYTHING], holes=[low, high], variable=variable)
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


def _union(regions: list[Region | None]) -> Region | None:
    readable = [region for region in regions if region is not None]
    names = {region.variable for region in readable if region.variable}
    if len(readable) != len(regions) or len(names) > 1 or any(region.holes for region in readable):
        return None
    pieces = [piece for region in readable for piece in region.pieces]
    points = [point for region in readable for point in region.points]
    if not pieces and names:
        return None  # values of a letter, which are a list
    for number, piece in enumerate(pieces):  # a point at an open end closes it
        low, high = piece.low in points and not piece.low_closed, piece.high in points and not piece.high_closed
        if low or high:
            points = [p for p in points if not (low and p == piece.low) and not (high and p == piece.high)]
            pieces[number] = Piece(piece.low, piece.low_closed or low, piece.high, piece.high_closed or high)
    holes: list[str] = []
    merged = True
    while merged:  # (a, b) and (b, c) are (a, c) without b
        merged = False
        for first in pieces:
            second = next((piece for piece in pieces if piece is not first and piece.low == first.high), None)
            if second is None:
                continue
            if first.high in points:
                points.remove(first.high)
            elif not (first.high_closed or second.low_closed):
                holes.append(first.high)
            pieces = [piece for piece in pieces if piece is not first and piece is not second]
            pieces.append(Piece(first.low, first.low_closed, second.high, second.high_closed))
            merged = True
            break
    return Region(pieces, points, holes, next(iter(names), None))


def _intersection(regions: list[Region | None], texts: list[str]) -> Region | None:
    r"""Of inequalities in one letter: a lower and an upper bound, and points left out. `x \ne 1, 2` leaves out both."""
    holes: list[str] = []
    bounds: list[Piece] = []
    names: set[str] = set()
    for region, text in zip(regions, texts, strict=True):
        if region is None:
            if not holes or RELATION.search(text) or "=" in text:
                return None
            holes.append(text)
            continue
        if region == Region([_EVERYTHING]):
            continue
        if region.points or len(region.pieces) != 1 or region.variable is None:
            return None
        names.add(region.variable)
        holes += region.holes
        bounds += region.pieces
    if len(names) != 1:
        return None
    low, high = ("-\\infty", False), ("\\infty", False)
    for piece in bounds:
        if piece.low not in _INFINITE:
            if low[0] not in _INFINITE:
                return None
            low = (piece.low, piece.low_closed)
        if piece.high not in _INFINITE:
            if high[0] not in _INFINITE:
                return None
            high = (piece.high, piece.high_closed)
    return Region([Piece(*low, *high)], holes=holes, variable=names.pop())
