"""Number bases: from ten to a small base by division, and back by Horner's rule."""

from fractions import Fraction
from random import Random

from arbitrage.lab.families.base import LabQuestion, Truth, Wording, choose, finish, integers, read_any, replay

TO_WORDINGS = (
    Wording("Write {number} in base {base}."),
    Wording("Convert {number} from base 10 to base {base}."),
    Wording("What are the digits of {number} in base {base}?"),
)
FROM_WORDINGS = (
    Wording("Convert {digits} from base {base} to base 10."),
    Wording("The digits {digits} are in base {base}. Write the number in base 10."),
    Wording("What number in base 10 has the digits {digits} in base {base}?"),
)
BASES = {1: (3, 4), 2: (2, 3), 3: (2, 3)}
NUMBERS = {1: (9, 50), 2: (16, 99), 3: (64, 255)}


def random_digits(rng: Random, difficulty: int) -> tuple[int, list[int], int]:
    """A base, the digits of a number (most significant first), and the number."""
    base, number = rng.randint(*BASES[difficulty]), rng.randint(*NUMBERS[difficulty])
    digits: list[int] = []
    rest = number
    while rest:
        digits.insert(0, rest % base)
        rest //= base
    return base, digits, number


class ToBase:
    """Write 57 in base 3."""

    name = "to_base"

    def generate(self, rng: Random, difficulty: int, wording: int | None = None) -> LabQuestion:
        """Write a question (see `Family.generate`)."""
        base, digits, number = random_digits(rng, difficulty)
        lines, rest = [], number
        while rest:
            lines.append(f"{rest} = {rest // base} * {base} + {rest % base}")
            rest //= base
        answer = "".join(map(str, digits))
        problem = choose(rng, TO_WORDINGS, wording).fill(number=number, base=base)
        return LabQuestion(problem, finish(lines, answer), answer, self.name)

    def truth(self, problem: str) -> Truth | None:
        """What is true of `problem`, or None if it is no conversion into a base."""
        fields = read_any(TO_WORDINGS, problem)
        if fields is None or not (fields["number"].isdigit() and fields["base"].isdigit()):
            return None
        rest, base = int(fields["number"]), int(fields["base"])
        truth = Truth(answer=Fraction(0), numbers={Fraction(rest), Fraction(base)})
        digits = ""
        while rest:
            quotient, remainder = divmod(rest, base)
            truth.goals.update((Fraction(rest), Fraction(remainder), Fraction(quotient)))
            for literals in ((quotient, base, remainder), (quotient * base, remainder)):
                truth.facts.add((Fraction(rest), tuple(sorted(map(Fraction, literals)))))
            truth.add(quotient * base, (quotient, base))
            truth.add(remainder, (rest, base))
            truth.add(remainder, (rest, quotient * base))
            truth.add(remainder, (rest, quotient, base))
            if remainder == 0:
                truth.add(quotient, (rest, base))
            digits = str(remainder) + digits
            rest = quotient
        truth.answer = Fraction(digits)
        truth.goals.add(truth.answer)
        return truth


class FromBase:
    """Convert 2010 from base 3 to base 10."""

    name = "from_base"

    def generate(self, rng: Random, difficulty: int, wording: int | None = None) -> LabQuestion:
        """Write a question (see `Family.generate`)."""
        base, digits, number = random_digits(rng, difficulty)
        lines, value = [], digits[0]
        for digit in digits[1:]:
            lines.append(f"{value} * {base} + {digit} = {value * base + digit}")
            value = value * base + digit
        problem = choose(rng, FROM_WORDINGS, wording).fill(digits="".join(map(str, digits)), base=base)
        return LabQuestion(problem, finish(lines, str(number)), str(number), self.name)

    def truth(self, problem: str) -> Truth | None:
        """What is true of `problem`, or None if it is no conversion from a base."""
        fields = read_any(FROM_WORDINGS, problem)
        if fields is None or not (fields["digits"].isdigit() and fields["base"].isdigit()):
            return None
        base, digits = int(fields["base"]), [int(digit) for digit in fields["digits"]]
        values = [digits[0]]
        for digit in digits[1:]:
            values.append(values[-1] * base + digit)
        truth = Truth(answer=Fraction(values[-1]), numbers=set(map(Fraction, integers(problem))))
        replay(truth, values, [[base, digit] for digit in digits[1:]])
        # The other usual way: powers of the base, the value of each place, and their sums from the left.
        powers = [base**exponent for exponent in reversed(range(len(digits)))]
        worth = [digit * power for digit, power in zip(digits, powers, strict=True)]
        running = [sum(worth[: count + 1]) for count in range(len(worth))]
        replay(truth, running, [[value] for value in worth[1:]])
        truth.add(values[-1], [value for value in worth if value])
        truth.add(values[-1], [literal for pair in zip(digits, powers, strict=True) for literal in pair])
        for exponent, (digit, power) in enumerate(zip(reversed(digits), reversed(powers), strict=True)):
            truth.add(power, (base, exponent))
            truth.add(digit * power, (digit, power))
            truth.add(digit * power, (digit, base, exponent))
        for value, digit in zip(values, digits[1:], strict=False):
            truth.add(value * base, (value, base))
            truth.add(value * base + digit, (value * base, digit))
        return truth
