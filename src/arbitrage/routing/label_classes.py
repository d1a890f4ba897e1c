"""From an advantage to a class (Table 1 of the paper): its sign, or finer quantiles on either side of zero.

Whatever the number of classes, 0 is a boundary between two of them, and a router routes by one scalar: the total
probability of the classes above that boundary. With two classes this is the paper's P(advantage > 0); with more it is
the same event, so the number has the same unit and a threshold means the same for every variant. (An expected class
would not: its scale depends on the number of classes.) Balancing keeps it so, giving both sides of zero equal weight.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arbitrage.errors import UserError


class RoutingError(UserError, ValueError):
    """Data a router cannot be trained on; the message names the value, what was expected and the remedy."""


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of a variant: class k holds the advantages with edges[k - 1] < advantage <= edges[k].

    edges: ascending, inside (-1, 1), 0.0 among them; one fewer than there are classes.
    """

    edges: tuple[float, ...]

    @property
    def count(self) -> int:
        """How many classes there are; fewer than asked for where the advantages had too few distinct values."""
        return len(self.edges) + 1

    @property
    def boundary(self) -> int:
        """The first class above zero: a step's advantage is positive where its class is at least this."""
        return self.edges.index(0.0) + 1

    def label(self, advantage: float) -> int:
        """The class of an advantage, 0 the lowest. A tie (advantage 0) is below the boundary."""
        return bisect_left(self.edges, advantage)

    def labels(self, advantages: Sequence[float] | np.ndarray) -> np.ndarray:
        """`label` of each advantage, int8."""
        return np.searchsorted(self.edges, advantages, side="left").astype(np.int8)


def fit_classes(advantages: Sequence[float] | np.ndarray, classes: int) -> Classes:
    """Edges for `classes` (even) classes (Table 1): half of them quantiles of the advantages <= 0, half of those > 0.

    Many advantages are equal (0 above all: both models wrote the same step), so a quantile may fall inside a run of
    ties, which cannot be cut. Each cut then moves to the nearest end of a run, and no class is left empty; where a side
    has fewer distinct values than classes, each value is a class of its own and the side has fewer classes.
    Raises RoutingError where no advantage, or every advantage, is positive.
    """
    values = np.asarray(advantages, dtype=np.float64)
    below, above = values[values <= 0.0], values[values > 0.0]
    if not len(below) or not len(above):
        raise RoutingError(
            f"{len(above)} of {len(values)} training steps have advantage > 0; a router needs both kinds: "
            "label more questions (questions.sample), or choose a pair whose models differ"
        )
    return Classes((*_cuts(below, classes // 2), 0.0, *_cuts(above, classes // 2)))


def _cuts(values: np.ndarray, parts: int) -> list[float]:
    """At most parts - 1 ascending values that cut `values` into non-empty runs of about equal size.

    A tie larger than an equal share is a class of its own, and the other classes share what is below and above it: else
    they would be single values beside it.
    """
    distinct, counts = np.unique(values, return_counts=True)
    parts = min(parts, len(distinct))
    tie = distinct[counts.argmax()]
    if parts > 1 and counts.max() * parts > len(values):
        below, above = values[values < tie], values[values > tie]
        most, least = min(parts - 1, len(np.unique(below))), parts - 1 - min(parts - 1, len(np.unique(above)))
        parts_below = min(max(round((parts - 1) * len(below) / (len(below) + len(above))), least), most)
        cuts_below = [*_cuts(below, parts_below), float(below.max())] if parts_below else []
        cuts_above = [float(tie), *_cuts(above, parts - 1 - parts_below)] if parts_below < parts - 1 else []
        return cuts_below + cuts_above
    reached = np.cumsum(counts)
    cuts: list[int] = []
    for part in range(1, parts):
        nearest = int(np.abs(reached - len(values) * part / parts).argmin())
        first = cuts[-1] + 1 if cuts else 0
        last = len(distinct) - 1 - (parts - part)  # leaves a distinct value for each run still to come
        cuts.append(min(max(nearest, first), last))
    return [float(distinct[cut]) for cut in cuts]
