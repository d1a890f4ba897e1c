"""Unit rates: prices of several things, each given for a number of pieces."""

import re
from fractions import Fraction
from itertools import combinations
from random import Random

from arbitrage.lab.families.base import LabQuestion, Truth, Wording, choose, finish, integers, listing, read_any

WORDINGS = (
    Wording("{offers}. Find the cost of {wanted}."),
    Wording("In a shop, {offers}. How much do {wanted} cost?"),
    Wording("{offers}. What is the total cost of {wanted}?"),
)
NOUNS = ("pens", "books", "cups", "hats", "bags", "keys")
ITEMS = {1: (1, 2), 2: (2, 3), 3: (4, 4)}
LARGEST = {1: 6, 2: 6, 3: 9}
OFFER = re.compile(r"(\d+) (\w+) cost (\d+) dollars")


class UnitRates:
    """3 pens cost 12 dollars and 5 books cost 40 dollars. Find the cost of 4 pens and 2 books."""

    name = "rates"

    def generate(self, rng: Random, difficulty: int, wording: int | None = None) -> LabQuestion:
        """Write a question (see `Family.generate`)."""
        count = rng.randint(*ITEMS[difficulty])
        offers, needs, lines = [], [], []
        total = 0
        for position, noun in enumerate(rng.sample(NOUNS, count)):
            pieces, price, need = (rng.randint(2, LARGEST[difficulty]) for _ in range(3))
            offers.append(f"{pieces} {noun} cost {pieces * price} dollars")
            needs.append(f"{need} {noun}")
            lines += [f"{noun}: {pieces * price} / {pieces} = {price}", f"{noun}: {need} * {price} = {need * price}"]
            if position:
                lines.append(f"{total} + {need * price} = {total + need * price}")
            total += need * price
        offered = listing(offers) if count > 1 else offers[0]
        needed = listing(needs) if count > 1 else needs[0]
        problem = choose(rng, WORDINGS, wording).fill(offers=offered, wanted=needed)
        return LabQuestion(problem, finish(lines, str(total)), str(total), self.name)

    def truth(self, problem: str) -> Truth | None:
        """What is true of `problem`, or None if it is about no prices."""
        fields = read_any(WORDINGS, problem)
        if fields is None:
            return None
        offers = {noun: (int(pieces), int(cost)) for pieces, noun, cost in OFFER.findall(fields["offers"])}
        needs = {noun: int(need) for need, noun in re.findall(r"(\d+) (\w+)", fields["wanted"])}
        if not offers or offers.keys() != needs.keys():
            return None
        truth = Truth(answer=Fraction(0), numbers=set(map(Fraction, integers(problem))))
        costs = []
        for noun, (pieces, cost) in offers.items():
            price = Fraction(cost, pieces)
            truth.add(price, (cost, pieces))
            truth.add(price * needs[noun], (price, needs[noun]))
            truth.add(price * needs[noun], (cost, pieces, needs[noun]))
            truth.facts.add((Fraction(cost), tuple(sorted((price, Fraction(pieces))))))
            costs.append(price * needs[noun])
            truth.prices[noun], truth.amounts[noun] = price, {price, costs[-1], Fraction(cost)}
        for size in range(2, len(costs) + 1):
            for group in combinations(costs, size):
                truth.add(sum(group, Fraction(0)), group)
        for position in range(1, len(costs)):
            so_far = sum(costs[:position], Fraction(0))
            truth.add(so_far + costs[position], (so_far, costs[position]))
        truth.answer = sum(costs, Fraction(0))
        return truth
