"""Two stages: a first question whose answer, n, starts (and may return in) an arithmetic chain."""

from fractions import Fraction
from random import Random

from arbitrage.lab.families.base import SEPARATOR, LabQuestion, Truth, Wording, choose, finish, read_any
from arbitrage.lab.families.chain import (
    LARGEST,
    LARGEST_OPERAND,
    chain_truth,
    describe,
    random_operations,
    read_operations,
    work,
)
from arbitrage.lab.families.gcd import GreatestCommonDivisor
from arbitrage.lab.families.modular import ModularPower
from arbitrage.lab.families.running_sum import RunningSum
from arbitrage.lab.families.sequence import Sequence

WORDINGS = (
    Wording("Let n be {phrase}. Start with n. {operations}. What is the result?"),
    Wording("Call n {phrase}. Begin at n. {operations}. Find the final value."),
)
STAGES = (GreatestCommonDivisor(), ModularPower(), RunningSum(), Sequence())
LENGTHS = {1: (1, 2), 2: (3, 4), 3: (5, 6)}


class Mix:
    """Let n be the gcd of 84 and 36. Start with n. Add 7. Multiply by 3. What is the result?"""

    name = "mix"

    def generate(self, rng: Random, difficulty: int, wording: int | None = None) -> LabQuestion:
        """Write a question (see `Family.generate`)."""
        # The first wording of every stage reads "Find ...", so that its phrase can follow "Let n be".
        first = rng.choice(STAGES).generate(rng, 2 if difficulty == 3 else 1, wording=0)
        n = int(first.answer)
        largest = max(LARGEST[difficulty], n)
        count = rng.randint(*LENGTHS[difficulty])
        operations = random_operations(rng, n, count, largest, LARGEST_OPERAND[difficulty])
        lines, value = work(n, operations)
        lines = [*(step.removesuffix(SEPARATOR) for step in first.steps[:-1]), f"n = {n}", *lines]
        phrase = first.problem.removeprefix("Find ").removesuffix(".")
        problem = choose(rng, WORDINGS, wording).fill(phrase=phrase, operations=describe(operations))
        return LabQuestion(problem, finish(lines, str(value)), str(value), self.name)

    def truth(self, problem: str) -> Truth | None:
        """What is true of `problem`, or None if it has not two stages."""
        fields = read_any(WORDINGS, problem)
        if fields is None:
            return None
        operations = read_operations(fields["operations"])
        stages = (stage.truth(f"Find {fields['phrase']}.") for stage in STAGES)
        first = next((truth for truth in stages if truth is not None), None)
        if operations is None or first is None:
            return None
        truth = chain_truth(int(first.answer), operations)
        truth.absorb(first)
        truth.names["n"] = first.answer
        truth.aliases.add("n")
        truth.numbers.update(Fraction(operand) for _, operand in operations)
        return truth
