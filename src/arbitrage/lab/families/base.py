"""What every family of questions shares: the question record, its truth, and wordings that can be read back."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random
from typing import Protocol

SEPARATOR = "\n\n"

Leaves = tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class LabQuestion:
    """One generated question.

    `steps` concatenate to the solution: each ends with the separator, except the last, which boxes the answer.
    """

    problem: str
    steps: tuple[str, ...]
    answer: str
    family: str

    @property
    def solution(self) -> str:
        """The whole worked solution, separators included."""
        return "".join(self.steps)


@dataclass(slots=True)
class Truth:
    """Everything that is true of one question, as the checker needs it; derived from the question's text alone.

    `facts` holds (value, sorted literals) of every calculation that belongs to the question: a bare calculation such
    as `22 - 5 = 17` is right only if it is one of them, so that a true sum of the wrong numbers is not taken for one.
    """

    answer: Fraction
    facts: set[tuple[Fraction, Leaves]] = field(default_factory=set)
    goals: set[Fraction] = field(default_factory=set)
    numbers: set[Fraction] = field(default_factory=set)
    names: dict[str, Fraction] = field(default_factory=dict)
    modulus: int | None = None
    power_base: int | None = None
    exponent: int = 0
    euclid: frozenset[int] = frozenset()
    divisor: int | None = None
    denominators: tuple[int, ...] = ()
    aliases: set[str] = field(default_factory=set)
    prices: dict[str, Fraction] = field(default_factory=dict)
    amounts: dict[str, set[Fraction]] = field(default_factory=dict)

    def add(self, value: int | Fraction, literals: Iterable[int | Fraction]) -> None:
        """Record that `value` follows from `literals`; the value may then be mentioned on its own."""
        exact = Fraction(value)
        self.facts.add((exact, tuple(sorted(Fraction(literal) for literal in literals))))
        self.goals.add(exact)

    def absorb(self, other: "Truth") -> None:
        """Take over what is true of a part of this question (its first stage)."""
        self.facts |= other.facts
        self.goals |= other.goals
        self.numbers |= other.numbers
        self.names |= other.names
        self.modulus, self.power_base, self.exponent = other.modulus, other.power_base, other.exponent
        self.aliases |= other.aliases
        self.euclid, self.divisor = other.euclid, other.divisor


class Family(Protocol):
    """A kind of question: it writes questions with solutions, and reads the truth off a question's text."""

    name: str

    def generate(self, rng: Random, difficulty: int, wording: int | None = None) -> LabQuestion:
        """Write a question; difficulty is 1 (easy), 2 (as lab500) or 3 (as labolympiad)."""
        ...

    def truth(self, problem: str) -> Truth | None:
        """What is true of `problem`, or None if this family did not write it."""
        ...


class Wording:
    """A sentence with fields, such as `Find {phrase}.`, that can be filled in and read back."""

    def __init__(self, template: str) -> None:
        self.template = template
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(template))
        self._pattern = re.compile(pattern + r"\Z")

    def fill(self, **fields: object) -> str:
        """The sentence with its fields filled in."""
        return self.template.format(**fields)

    def read(self, problem: str) -> dict[str, str] | None:
        """The fields of a sentence written with this wording, or None."""
        match = self._pattern.match(problem)
        return match.groupdict() if match else None


def read_any(wordings: Sequence[Wording], problem: str) -> dict[str, str] | None:
    """The fields of `problem` by the first wording that fits, or None."""
    for wording in wordings:
        fields = wording.read(problem)
        if fields is not None:
            return fields
    return None


def choose(rng: Random, wordings: Sequence[Wording], index: int | None) -> Wording:
    """The wording at `index`, or a random one."""
    return wordings[index] if index is not None else rng.choice(wordings)


def finish(lines: Iterable[str], answer: str) -> tuple[str, ...]:
    """Close each line with the separator and append the step that boxes the answer."""
    return (*(line + SEPARATOR for line in lines), f"The answer is \\boxed{{{answer}}}")


def integers(text: str) -> list[int]:
    """All whole numbers written in `text`, in order."""
    return [int(number) for number in re.findall(r"\d+", text)]


def listing(items: Sequence[object]) -> str:
    """`3, 5 and 8`."""
    return ", ".join(str(item) for item in items[:-1]) + f" and {items[-1]}"


def replay(truth: Truth, values: Sequence[int | Fraction], operands: Sequence[Sequence[int | Fraction]]) -> None:
    """Add the facts of a left-to-right calculation: `values[i]` and `operands[i:j]` give `values[j]`, for all i < j."""
    truth.goals.update(Fraction(value) for value in values)
    for start in range(len(values) - 1):
        literals: list[int | Fraction] = [values[start]]
        for end in range(start, len(operands)):
            literals.extend(operands[end])
            truth.add(values[end + 1], literals)
