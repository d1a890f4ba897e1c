"""Remainders of c * b^e, one factor at a time."""

from fractions import Fraction
from random import Random

from arbitrage.lab.families.base import LabQuestion, Truth, Wording, choose, finish, integers, read_any

WORDINGS = (
    Wording("Find the remainder of {power} by {modulus}."),
    Wording("Find the remainder when {power} is divided by {modulus}."),
    Wording("What is {power} mod {modulus}?"),
    Wording("Compute {power} modulo {modulus}."),
)
EXPONENTS = {1: (2, 3), 2: (4, 6), 3: (8, 9)}
MODULI = {1: (5, 9), 2: (5, 9), 3: (7, 11)}


class ModularPower:
    """Find the remainder when 5 * 7^6 is divided by 11."""

    name = "modular"

    def generate(self, rng: Random, difficulty: int, wording: int | None = None) -> LabQuestion:
        """Write a question (see `Family.generate`)."""
        modulus = rng.randint(*MODULI[difficulty])
        base, factor = rng.randint(2, min(9, modulus - 1)), rng.randint(2, min(9, modulus - 1))
        exponent = rng.randint(*EXPONENTS[difficulty])
        lines, residue = [], factor
        for power in range(1, exponent + 1):
            product = residue * base
            residue = product % modulus
            written = f"{base}^{power}" if power > 1 else f"{base}"
            lines.append(f"{factor} * {written} = {product} = {residue} (mod {modulus})")
        problem = choose(rng, WORDINGS, wording).fill(power=f"{factor} * {base}^{exponent}", modulus=modulus)
        return LabQuestion(problem, finish(lines, str(residue)), str(residue), self.name)

    def truth(self, problem: str) -> Truth | None:
        """What is true of `problem`, or None if it asks for no remainder."""
        fields = read_any(WORDINGS, problem)
        if fields is None or len(integers(problem)) != 4:
            return None
        factor, base, exponent, modulus = integers(problem)
        residues = [factor * base**power % modulus for power in range(exponent + 1)]
        pure = [base**power % modulus for power in range(exponent + 1)]
        truth = Truth(Fraction(residues[-1]), modulus=modulus, power_base=base, exponent=exponent)
        truth.numbers.update(map(Fraction, integers(problem)))
        truth.goals.update(map(Fraction, residues + pure))
        products: set[tuple[int, int]] = set()
        for left in range(exponent + 1):
            for right in range(exponent + 1 - left):
                products.update(((residues[left], pure[right]), (pure[left], pure[right])))
        for literals in products:
            product = literals[0] * literals[1]
            quotient, residue = divmod(product, modulus)
            truth.add(product, literals)
            truth.add(residue, (*literals, modulus))
            truth.add(residue, (product, modulus))
            truth.add(residue, (product, quotient * modulus))
            truth.add(residue, (product, quotient, modulus))
            truth.facts.add((Fraction(product), tuple(sorted(map(Fraction, (quotient, modulus, residue))))))
        return truth
