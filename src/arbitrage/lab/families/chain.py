"""Arithmetic chains: a start value and a list of operations to apply one after another."""

import re
from fractions import Fraction
from random import Random

from arbitrage.lab.families.base import LabQuestion, Truth, Wording, choose, finish, integers, read_any, replay

WORDINGS = (
    Wording("Start with {start}. {operations}. What is the result?"),
    Wording("Take the number {start}. {operations}. What do you get?"),
    Wording("Begin at {start}. {operations}. Find the final value."),
)
VERBS = {"+": "Add", "-": "Subtract", "*": "Multiply by"}
LENGTHS = {1: (3, 4), 2: (5, 7), 3: (9, 11)}
LARGEST = {1: 50, 2: 60, 3: 150}
LARGEST_OPERAND = {1: 9, 2: 9, 3: 19}

Operation = tuple[str, int]


def apply(operation: Operation, value: int) -> int:
    """The value after one operation."""
    sign, operand = operation
    return value + operand if sign == "+" else value - operand if sign == "-" else value * operand


def random_operations(rng: Random, start: int, count: int, largest: int, largest_operand: int) -> list[Operation]:
    """Operations that keep every value in 1..largest; no two are the same, so that each names its place."""
    operations: list[Operation] = []
    value = start
    while len(operations) < count:
        sign = rng.choice("++--*")
        operand = rng.randint(2, 4) if sign == "*" else rng.randint(2, largest_operand)
        operation = (sign, operand)
        if 1 <= apply(operation, value) <= largest and operation not in operations:
            operations.append(operation)
            value = apply(operation, value)
    return operations


def describe(operations: list[Operation]) -> str:
    """`Add 8. Subtract 5`."""
    return ". ".join(f"{VERBS[sign]} {operand}" for sign, operand in operations)


def read_operations(text: str) -> list[Operation] | None:
    """The operations of a text written by `describe`, or None."""
    signs = {verb: sign for sign, verb in VERBS.items()}
    operations: list[Operation] = []
    for part in text.split(". "):
        match = re.fullmatch(r"(Add|Subtract|Multiply by) (\d+)", part)
        if match is None:
            return None
        operations.append((signs[match[1]], int(match[2])))
    return operations


def work(start: int, operations: list[Operation]) -> tuple[list[str], int]:
    """The lines of the calculation and its result."""
    lines, value = [], start
    for operation in operations:
        result = apply(operation, value)
        lines.append(f"{value} {operation[0]} {operation[1]} = {result}")
        value = result
    return lines, value


def chain_truth(start: int, operations: list[Operation]) -> Truth:
    """What is true of a chain; also of the second stage of a mix."""
    values = [start]
    for operation in operations:
        values.append(apply(operation, values[-1]))
    truth = Truth(answer=Fraction(values[-1]))
    replay(truth, values, [[operand] for _, operand in operations])
    return truth


class Chain:
    """Start with 14. Add 8. Subtract 5. Multiply by 3. What is the result?"""

    name = "chain"

    def generate(self, rng: Random, difficulty: int, wording: int | None = None) -> LabQuestion:
        """Write a question (see `Family.generate`)."""
        largest = LARGEST[difficulty]
        start = rng.randint(2, min(50, largest))
        count = rng.randint(*LENGTHS[difficulty])
        operations = random_operations(rng, start, count, largest, LARGEST_OPERAND[difficulty])
        lines, value = work(start, operations)
        problem = choose(rng, WORDINGS, wording).fill(start=start, operations=describe(operations))
        return LabQuestion(problem, finish(lines, str(value)), str(value), self.name)

    def truth(self, problem: str) -> Truth | None:
        """What is true of `problem`, or None if it is not a chain."""
        fields = read_any(WORDINGS, problem)
        if fields is None or not fields["start"].isdigit():
            return None
        operations = read_operations(fields["operations"])
        if operations is None:
            return None
        truth = chain_truth(int(fields["start"]), operations)
        truth.numbers.update(Fraction(number) for number in integers(problem))
        return truth
