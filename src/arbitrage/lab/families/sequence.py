"""Sequences given by a rule; terms are named a1, a2, ..."""

import re
from fractions import Fraction
from random import Random

from arbitrage.lab.families.base import LabQuestion, Truth, Wording, choose, finish, integers, read_any

WORDINGS = (
    Wording("Find the term a{index} of the sequence where {rule}."),
    Wording("A sequence has {rule}. Find a{index}."),
    Wording("In a sequence, {rule}. What is a{index}?"),
)
CONSTANT = Wording("a1 = {first} and each term is the last one plus {difference}")
INDEXED = Wording("a1 = {first} and each term is the last one plus its index")
FALLING = Wording("a1 = {first} and each term is the last one minus {difference}")
PAIRED = Wording("a1 = {first}, a2 = {second} and each term is the sum of the last two")
LAST = {1: (4, 5), 2: (7, 8), 3: (11, 12)}
LARGEST = {1: 9, 2: 9, 3: 14}


def read_rule(rule: str, index: int) -> tuple[list[int], list[tuple[str, int]]] | None:
    """The terms a1..a`index` and, for each term not given, the sign and operand that made it from the last term."""
    numbers = integers(re.sub(r"a\d", "a", rule))
    terms = numbers[:1]
    operations: list[tuple[str, int]] = []
    if PAIRED.read(rule):
        terms = numbers[:2]
        while len(terms) < index:
            operations.append(("+", terms[-2]))
            terms.append(terms[-1] + terms[-2])
        return terms, operations
    for wording, sign in ((INDEXED, "+"), (CONSTANT, "+"), (FALLING, "-")):
        if wording.read(rule):
            while len(terms) < index:
                operand = len(terms) + 1 if wording is INDEXED else numbers[1]
                operations.append((sign, operand))
                terms.append(terms[-1] + operand if sign == "+" else terms[-1] - operand)
            return terms, operations
    return None


class Sequence:
    """A sequence has a1 = 3 and each term is the last one plus 4. Find a7."""

    name = "sequence"

    def generate(self, rng: Random, difficulty: int, wording: int | None = None) -> LabQuestion:
        """Write a question (see `Family.generate`)."""
        index, largest = rng.randint(*LAST[difficulty]), LARGEST[difficulty]
        kind = rng.choice((CONSTANT, INDEXED, FALLING, PAIRED))
        difference = rng.randint(2, largest)
        first = rng.randint(1, largest)
        if kind is FALLING:
            first += difference * (index - 1)
        if kind is PAIRED:
            index -= difficulty - 1
            rule = kind.fill(first=rng.randint(1, 5), second=rng.randint(1, 6))
        else:
            rule = kind.fill(first=first, difference=difference)
        read = read_rule(rule, index)
        assert read is not None, f"unreadable rule {rule!r}"
        terms, operations = read
        given_terms = len(terms) - len(operations)
        lines = [
            f"a{position} = {terms[position - 2]} {sign} {operand} = {terms[position - 1]}"
            for position, (sign, operand) in enumerate(operations, start=given_terms + 1)
        ]
        problem = choose(rng, WORDINGS, wording).fill(index=index, rule=rule)
        return LabQuestion(problem, finish(lines, str(terms[-1])), str(terms[-1]), self.name)

    def truth(self, problem: str) -> Truth | None:
        """What is true of `problem`, or None if it is about no sequence."""
        fields = read_any(WORDINGS, problem)
        if fields is None or not fields["index"].isdigit():
            return None
        read = read_rule(fields["rule"], int(fields["index"]))
        if read is None:
            return None
        terms, operations = read
        truth = Truth(answer=Fraction(terms[-1]))
        truth.names.update((f"a{position}", Fraction(term)) for position, term in enumerate(terms, start=1))
        truth.goals.update(map(Fraction, terms))
        truth.numbers.update(map(Fraction, integers(problem)))
        given_terms = len(terms) - len(operations)
        for position, (_, operand) in enumerate(operations, start=given_terms):
            truth.add(terms[position], (terms[position - 1], operand))
            times = position - given_terms + 1
            if not PAIRED.read(fields["rule"]) and not INDEXED.read(fields["rule"]):
                truth.add(terms[position], (terms[0], times, operand))
        return truth
