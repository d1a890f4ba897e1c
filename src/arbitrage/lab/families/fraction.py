"""Sums and differences of fractions over a common denominator."""

import re
from fractions import Fraction
from math import lcm
from random import Random

from arbitrage.lab.families.base import LabQuestion, Truth, Wording, choose, finish, integers, read_any, replay

WORDINGS = (
    Wording("Compute {terms}."),
    Wording("What is {terms}?"),
    Wording("Write {terms} as one fraction."),
)
COMMON = {1: (6, 8), 2: (6, 8, 12), 3: (12, 18, 20)}
COUNT = {1: (2, 2), 2: (3, 3), 3: (4, 5)}


class FractionSum:
    """Compute 1/3 + 3/4 - 1/6."""

    name = "fraction"

    def generate(self, rng: Random, difficulty: int, wording: int | None = None) -> LabQuestion:
        """Write a question (see `Family.generate`)."""
        while True:
            aim = rng.choice(COMMON[difficulty])
            divisors = [number for number in range(2, aim) if aim % number == 0]
            count = rng.randint(*COUNT[difficulty])
            parts = [(rng.randint(1, low - 1), low) for low in (rng.choice(divisors) for _ in range(count))]
            signs = ["+"] + [rng.choice("++-") for _ in range(count - 1)]
            common = lcm(*(low for _, low in parts))
            scaled = [top * common // low for top, low in parts]
            totals = [scaled[0]]
            for sign, top in zip(signs[1:], scaled[1:], strict=True):
                totals.append(totals[-1] + top if sign == "+" else totals[-1] - top)
            if min(totals) > 0 and len(set(parts)) == count:
                break
        lines = [f"The common denominator is {common}"]
        lines += [f"{top}/{low} = {up}/{common}" for (top, low), up in zip(parts, scaled, strict=True) if low != common]
        for position in range(1, count):
            left, right = f"{totals[position - 1]}/{common}", f"{scaled[position]}/{common}"
            lines.append(f"{left} {signs[position]} {right} = {totals[position]}/{common}")
        value = Fraction(totals[-1], common)
        if value.denominator != common:
            lines.append(f"{totals[-1]}/{common} = {value}")
        terms = f"{parts[0][0]}/{parts[0][1]}"
        for sign, (top, low) in zip(signs[1:], parts[1:], strict=True):
            terms += f" {sign} {top}/{low}"
        problem = choose(rng, WORDINGS, wording).fill(terms=terms)
        return LabQuestion(problem, finish(lines, str(value)), str(value), self.name)

    def truth(self, problem: str) -> Truth | None:
        """What is true of `problem`, or None if it is no sum of fractions."""
        fields = read_any(WORDINGS, problem)
        if fields is None or not re.fullmatch(r"\d+/\d+(?: [+-] \d+/\d+)+", fields["terms"]):
            return None
        numbers = integers(fields["terms"])
        parts = [Fraction(top, low) for top, low in zip(numbers[::2], numbers[1::2], strict=True)]
        signed = [
            -part if sign == "-" else part
            for sign, part in zip(["+", *fields["terms"].split()[1::2]], parts, strict=True)
        ]
        totals = [sum(signed[: count + 1], Fraction(0)) for count in range(len(signed))]
        denominators = tuple(numbers[1::2])
        truth = Truth(answer=totals[-1], denominators=denominators, numbers=set(map(Fraction, numbers)))
        truth.goals.update(parts)
        replay(truth, totals, [[part] for part in parts[1:]])
        for multiple in range(1, 5):
            common = lcm(*denominators) * multiple
            tops = [total * common for total in totals]
            scaled = [part * common for part in parts]
            truth.numbers.update((*scaled, *tops, Fraction(common)))
            for position, top in enumerate(scaled[1:], start=1):
                truth.facts.add((tops[position], tuple(sorted((tops[position - 1], top)))))
                truth.facts.add((totals[position], tuple(sorted((tops[position - 1], top, Fraction(common))))))
            truth.facts.add((tops[-1], tuple(sorted(scaled))))
            truth.facts.add((totals[-1], tuple(sorted((*scaled, Fraction(common))))))
        return truth
