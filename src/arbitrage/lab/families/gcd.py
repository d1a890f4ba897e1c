"""Greatest common divisors by Euclid's algorithm in its oldest form, by subtraction."""

import itertools
from fractions import Fraction
from functools import cache
from math import gcd
from random import Random

from arbitrage.lab.families.base import LabQuestion, Truth, Wording, choose, finish, integers, read_any

WORDINGS = (
    Wording("Find the gcd of {pair}."),
    Wording("What is the greatest common divisor of {pair}?"),
    Wording("Find the largest number that divides both {pair}."),
)
LARGEST = {1: 30, 2: 50, 3: 99}
SUBTRACTIONS = {1: (2, 3), 2: (4, 6), 3: (8, 10)}


def descend(first: int, second: int) -> list[tuple[int, int]]:
    """All pairs from (first, second) to equal numbers, each by subtracting the smaller number from the larger."""
    pairs = [(first, second)]
    while first != second:
        first, second = (first - second, second) if first > second else (first, second - first)
        pairs.append((first, second))
    return pairs


@cache
def pairs_of(difficulty: int) -> tuple[tuple[int, int], ...]:
    """All pairs of a difficulty: how many subtractions they take is what makes them hard."""
    low, high = SUBTRACTIONS[difficulty]
    limit = LARGEST[difficulty]
    pairs = []
    for larger in range(limit // 4, limit + 1):
        for smaller in range(6, larger):
            if low <= len(descend(larger, smaller)) - 1 <= high and (gcd(larger, smaller) > 1 or larger % 3 == 0):
                pairs.append((larger, smaller))
    return tuple(pairs)


class GreatestCommonDivisor:
    """Find the gcd of 84 and 36."""

    name = "gcd"

    def generate(self, rng: Random, difficulty: int, wording: int | None = None) -> LabQuestion:
        """Write a question (see `Family.generate`)."""
        first, second = rng.choice(pairs_of(difficulty))
        if rng.random() < 0.5:
            first, second = second, first
        pairs = descend(first, second)
        lines = [f"gcd({a}, {b}) = gcd({c}, {d})" for (a, b), (c, d) in itertools.pairwise(pairs)]
        answer = pairs[-1][0]
        lines.append(f"gcd({answer}, {answer}) = {answer}")
        problem = choose(rng, WORDINGS, wording).fill(pair=f"{first} and {second}")
        return LabQuestion(problem, finish(lines, str(answer)), str(answer), self.name)

    def truth(self, problem: str) -> Truth | None:
        """What is true of `problem`, or None if it asks for no gcd."""
        fields = read_any(WORDINGS, problem)
        if fields is None:
            return None
        first, second = integers(fields["pair"])
        pairs = descend(first, second)
        answer = Fraction(gcd(first, second))
        reached = frozenset(number for pair in pairs for number in pair) | {0}
        truth = Truth(answer=answer, numbers={Fraction(first), Fraction(second)}, euclid=reached)
        truth.divisor, truth.names["gcd"] = int(answer), answer
        truth.goals.update(Fraction(number) for number in reached)
        for pair in pairs:
            larger, smaller = max(pair), min(pair)
            quotient, remainder = divmod(larger, smaller)
            truth.add(larger - smaller, (larger, smaller))
            for times in range(1, quotient + 1):
                truth.add(larger - times * smaller, (larger, smaller, times))
            truth.add(remainder, (larger, smaller))
            truth.facts.add((Fraction(larger), tuple(sorted(map(Fraction, (quotient, smaller, remainder))))))
            truth.facts.add((Fraction(larger), tuple(sorted(map(Fraction, (smaller, larger - smaller))))))
            if remainder == 0:
                truth.facts.add((Fraction(larger), tuple(sorted(map(Fraction, (quotient, smaller))))))
        return truth
