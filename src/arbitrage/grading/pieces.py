r"""Sets of real numbers as pieces with their ends, points besides, and holes: compared, joined, cut with one another.

Ends are texts and are compared by the caller, as mathematics, so that [\frac12, 8] and 0.5 \le x \le 8 are one region.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Same = Callable[[str, str], bool]
Match = Callable[[Sequence[str], Sequence[str], Same], bool]

_INFINITE = ("\\infty", "-\\infty")


@dataclass(frozen=True)
class Piece:
    """An interval by its ends and whether these belong to it."""

    low: str
    low_closed: bool
    high: str
    high_closed: bool


EVERYTHING = Piece("-\\infty", False, "\\infty", False)


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


def union(regions: list[Region | None]) -> Region | None:
    """Of intervals, and points besides; None where a part is none, has holes, or names another letter."""
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


def intersection(regions: list[Region | None], texts: list[str | None]) -> Region | None:
    r"""Of inequalities in one letter: a lower and an upper bound, and points left out; None where it is none.

    texts: what each was read from where that may be one more point left out (`x \ne 1, 2` leaves out both), else None.
    """
    holes: list[str] = []
    bounds: list[Piece] = []
    names: set[str] = set()
    for region, text in zip(regions, texts, strict=True):
        if region is None:
            if not holes or text is None:
                return None
            holes.append(text)
            continue
        if region == Region([EVERYTHING]):
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
