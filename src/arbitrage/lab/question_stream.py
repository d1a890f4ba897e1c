"""The lab as a source of questions: splits that cannot overlap, difficulty profiles, benchmarks, a labelling pool.

A question's split is a hash of its normalised text, so two splits never share a question, whatever the seeds.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal, TypedDict

from arbitrage.lab.families import FAMILIES, LabQuestion

Split = Literal["zoo-training", "prm", "labels", "validation", "lab500", "labolympiad"]
Benchmark = Literal["lab500", "labolympiad"]

SPLIT_PERCENT: dict[Split, int] = {
    "zoo-training": 50,
    "prm": 10,
    "labels": 15,
    "validation": 5,
    "lab500": 10,
    "labolympiad": 10,
}
BENCHMARK_SIZE = 500


class LabRow(TypedDict):
    """One question as the pipeline's question tables have it."""

    question_id: str
    source: str
    problem: str
    solution: str
    answer: str


@dataclass(frozen=True, slots=True)
class Profile:
    """Shares of difficulties 1, 2 and 3, and the weight of each family (families not named weigh 1)."""

    difficulties: tuple[float, float, float]
    weights: dict[str, float]

    def draw(self, rng: Random) -> LabQuestion:
        """Write one question of this profile, of whatever split."""
        names = list(FAMILIES)
        family = rng.choices(names, [self.weights.get(name, 1.0) for name in names])[0]
        difficulty = rng.choices((1, 2, 3), self.difficulties)[0]
        return FAMILIES[family].generate(rng, difficulty)


HARD_WEIGHTS = {"mix": 6.0, "chain": 2.0}
UNEVEN_WEIGHTS = {"chain": 3.0, "running_sum": 2.5, "linear": 2.0, "modular": 0.6, "to_base": 0.5, "from_base": 0.3}
# What the language models are taught: more of what takes them longest to learn, fractions above all.
LESSON_WEIGHTS = {
    "mix": 2.5,
    "fraction": 2.5,
    "chain": 1.5,
    "linear": 1.5,
    "from_base": 1.3,
    "to_base": 1.3,
    "sequence": 1.3,
}
PROFILES: dict[str, Profile] = {
    "lab500": Profile((0.0, 1.0, 0.0), {}),
    "labolympiad": Profile((0.0, 0.0, 1.0), HARD_WEIGHTS),
    "training": Profile((0.2, 0.5, 0.3), {"mix": 3.0, "chain": 1.5}),
    "lessons": Profile((0.15, 0.45, 0.4), LESSON_WEIGHTS),
    "labels": Profile((0.1, 0.6, 0.3), UNEVEN_WEIGHTS),
}


def normalise(problem: str) -> str:
    """Lower case, white space collapsed: what decides whether two questions are the same."""
    return " ".join(problem.lower().split())


def _digest(problem: str) -> bytes:
    return hashlib.sha256(normalise(problem).encode()).digest()


def split_of(problem: str) -> Split:
    """The one split a question belongs to."""
    percentile = int.from_bytes(_digest(problem)[:8], "big") % 100
    for split, percent in SPLIT_PERCENT.items():
        if percentile < percent:
            return split
        percentile -= percent
    raise AssertionError(f"split shares sum to {sum(SPLIT_PERCENT.values())}, expected 100")


def draw_questions(split: Split, seed: int | str, profile: str, distinct: bool = True) -> Iterator[LabQuestion]:
    """Endless questions of one split. With `distinct`, none comes twice.

    Raises KeyError if `profile` is not one of `PROFILES`.
    """
    rng = Random(f"{split} {profile} {seed}")
    chosen = PROFILES[profile]
    seen: set[bytes] = set()
    while True:
        question = chosen.draw(rng)
        if split_of(question.problem) != split:
            continue
        if distinct:
            digest = _digest(question.problem)
            if digest in seen:
                continue
            seen.add(digest)
        yield question


def to_row(question: LabQuestion) -> LabRow:
    """The table row of a question; its id is made of family and text, so it does not depend on seed or order."""
    return LabRow(
        question_id=f"{question.family}-{_digest(question.problem).hex()[:12]}",
        source=question.family,
        problem=question.problem,
        solution=question.solution,
        answer=question.answer,
    )


def lab_questions(split: Split, n: int, seed: int, profile: str | None = None) -> Iterator[LabRow]:
    """`n` distinct questions of a split; the profile is the split's own if it has one, else `training`."""
    chosen = profile or (split if split in PROFILES else "training")
    questions = draw_questions(split, seed, chosen)
    for _ in range(n):
        yield to_row(next(questions))


def benchmark_questions(benchmark: Benchmark, n: int = BENCHMARK_SIZE) -> list[LabRow]:
    """The first `n` of a benchmark's fixed 500 questions (seed 0).

    Raises ValueError if `n` exceeds 500.
    """
    if n > BENCHMARK_SIZE:
        raise ValueError(f"{benchmark} has {BENCHMARK_SIZE} questions, {n} were asked for")
    return list(lab_questions(benchmark, n, seed=0))


def label_pool(n: int, seed: int, duplicate_share: float = 0.05) -> Iterator[LabRow]:
    """`n` rows of a pool to sample labelling questions from: uneven families, and some rows that repeat others.

    A repeat differs from its original in case and spacing only, as copies in scraped collections do.
    """
    rng = Random(f"pool {seed}")
    questions = draw_questions("labels", seed, "labels", distinct=False)
    earlier: list[LabRow] = []
    for _ in range(n):
        if earlier and rng.random() < duplicate_share:
            copy = rng.choice(earlier)
            yield {**copy, "problem": copy["problem"].upper().replace(" ", "  ", 1)}
            continue
        row = to_row(next(questions))
        earlier.append(row)
        yield row
