"""Running sums: add up a list."""

from fractions import Fraction
from itertools import combinations
from random import Random

from arbitrage.lab.families.base import (
    LabQuestion,
    Truth,
    Wording,
    choose,
    finish,
    integers,
    listing,
    read_any,
    replay,
)

WORDINGS = (
    Wording("Find the sum of {items}."),
    Wording("A shop sells {items} cups on different days. How many cups is that in total?"),
    Wording("Ana walks {items} km on different days. How many km does she walk in total?"),
    Wording("Add the numbers {items}. What is the total?"),
)
LENGTHS = {1: (3, 4), 2: (6, 7), 3: (9, 11)}
LARGEST = {1: 9, 2: 11, 3: 19}


class RunningSum:
    """Find the sum of 12, 7, 25 and 9."""

    name = "running_sum"

    def generate(self, rng: Random, difficulty: int, wording: int | None = None) -> LabQuestion:
        """Write a question (see `Family.generate`)."""
        items = rng.sample(range(2, LARGEST[difficulty] + 1), rng.randint(*LENGTHS[difficulty]))
        lines, total = [], items[0]
        for item in items[1:]:
            lines.append(f"{total} + {item} = {total + item}")
            total += item
        problem = choose(rng, WORDINGS, wording).fill(items=listing(items))
        return LabQuestion(problem, finish(lines, str(total)), str(total), self.name)

    def truth(self, problem: str) -> Truth | None:
        """What is true of `problem`, or None if it is not a running sum."""
        fields = read_any(WORDINGS, problem)
        if fields is None:
            return None
        items = integers(fields["items"])
        totals = [sum(items[: count + 1]) for count in range(len(items))]
        truth = Truth(answer=Fraction(totals[-1]), numbers={Fraction(item) for item in items})
        replay(truth, totals, [[item] for item in items[1:]])
        # Items may be paired in any order ("7 + 9 = 16") before they join the total.
        for first, second in combinations(items, 2):
            truth.facts.add((Fraction(first + second), tuple(sorted((Fraction(first), Fraction(second))))))
        return truth
