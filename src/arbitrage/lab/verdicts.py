"""Solutions with the checker's verdict on every step: what the lab's PRM learns from and is measured on.

A step's label is *right so far*: its own claims hold, and so do those of all steps before it. Up to the first error
that is the label of PRM800K and ProcessBench, which stop there; what follows an error rests on it and counts as wrong.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from operator import and_
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pandas as pd

from arbitrage.io.atomic import whole_file
from arbitrage.lab.checker import check_step
from arbitrage.lab.families import SEPARATOR, LabQuestion
from arbitrage.lab.generation import (
    context_ids,
    continue_texts,
    load_language_model,
    load_tokenizer,
    require_one_vocabulary,
    split_steps,
)
from arbitrage.lab.question_stream import draw_questions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MAX_STEPS = 30
# (author, temperature, whether to go on where the last solution is cut off), for each question in turn.
MANNERS = ((0, 0.0, False), (1, 0.7, True), (0, 1.0, True), (1, 1.0, False), (0, 0.7, True), (1, 0.0, True))


@dataclass(frozen=True, slots=True)
class Judged:
    """A solution with the checker's verdicts.

    authors: who wrote each step (0 draft, 1 target); claims: whether each step's own claims hold; sampled: whether any
    of it was sampled; written: the first step that was written in this manner and not taken over from another solution.
    """

    problem: str
    steps: tuple[str, ...]
    authors: tuple[int, ...]
    claims: tuple[bool, ...]
    sampled: bool = False
    written: int = 0

    @property
    def right(self) -> tuple[bool, ...]:
        """Whether the solution is right up to and including each step: the label."""
        return tuple(accumulate(self.claims, and_))


def judge(
    problem: str, steps: Sequence[str], authors: Sequence[int], sampled: bool = False, written: int = 0
) -> Judged:
    """The checker's verdicts on a solution of at most MAX_STEPS steps."""
    kept = tuple(steps[:MAX_STEPS])
    claims = tuple(check_step(problem, kept[:index], step) for index, step in enumerate(kept))
    return Judged(problem, kept, tuple(authors[: len(kept)]), claims, sampled, written)


def write_judged(
    models: Sequence[Any], tokenizer: "PreTrainedTokenizerFast", problems: Sequence[str], seed: int
) -> list[Judged]:
    """Solutions of each problem by (draft, target), in several manners.

    Alone, greedily and sampled; and taking turns: one model goes on, from a random step, where another had begun,
    so that both are seen after right and after wrong steps of either.
    """
    rng = Random(f"prm {seed}")
    judged: list[Judged] = []
    begun: list[tuple[list[str], list[int], bool]] = [([], [], False) for _ in problems]
    for number, (author, temperature, goes_on) in enumerate(MANNERS):
        starts: list[tuple[list[str], list[int], bool]] = []
        for steps, authors, sampled in begun:
            cut = rng.randint(0, max(0, len(steps) - 1)) if goes_on else 0
            starts.append((steps[:cut], authors[:cut], sampled and cut > 0))
        contexts = [context_ids(tokenizer, problem, start[0]) for problem, start in zip(problems, starts, strict=True)]
        texts = continue_texts(models[author], tokenizer, contexts, temperature, seed=seed + number)
        begun = []
        for problem, (steps, authors, sampled), text in zip(problems, starts, texts, strict=True):
            written = split_steps(text)[:MAX_STEPS]
            begun.append((steps + written, authors + [author] * len(written), sampled or temperature > 0))
            judged.append(judge(problem, *begun[-1], written=len(steps)))
        print(f"manner {number + 1} of {len(MANNERS)}: {len(judged)} solutions", flush=True)
    return judged


def problems_of(split: Any, count: int, seed: int) -> list[str]:
    """Distinct problems of a split, of the families and difficulties that the zoo's models are taught."""
    stream = draw_questions(split, seed, "lessons")
    return [next(stream).problem for _ in range(count)]


def corrupted(question: LabQuestion, rng: Random) -> Judged:
    """The worked solution of a question with one number changed somewhere, judged."""
    steps = [step.removesuffix(SEPARATOR) for step in question.steps]
    index = rng.randrange(len(steps))
    digits = [position for position, letter in enumerate(steps[index]) if letter.isdigit()]
    if digits:
        position = rng.choice(digits)
        other = rng.choice([digit for digit in "0123456789" if digit != steps[index][position]])
        steps[index] = steps[index][:position] + other + steps[index][position + 1 :]
    return judge(question.problem, steps, [1] * len(steps))


def corruptions(split: Any, seed: int | str) -> Iterator[Judged]:
    """Endless corrupted solutions of fresh questions."""
    rng = Random(f"corruptions {seed}")
    for question in draw_questions(split, seed, "lessons", distinct=False):
        yield corrupted(question, rng)


def write_solutions(
    draft: Path, target: Path, out: Path, questions: int, held_out: int, seed: int, device: str
) -> None:
    """Have draft and target solve questions of the prm split and write the judged solutions to the table `out`."""
    require_one_vocabulary([draft, target])
    tokenizer = load_tokenizer(target)
    models = [load_language_model(folder, device) for folder in (draft, target)]
    problems = problems_of("prm", questions + held_out, seed)
    save_judged(out, write_judged(models, tokenizer, problems, seed), set(problems[:held_out]))


def save_judged(path: Path, judged: Sequence[Judged], held_out: set[str]) -> None:
    """Write solutions as a parquet table, whole or not at all; `held_out`: the problems no model may learn from."""
    frame = pd.DataFrame([{**asdict(one), "held_out": one.problem in held_out} for one in judged])
    with whole_file(path) as temporary:
        frame.to_parquet(temporary, index=False)


def load_judged(path: Path) -> tuple[list[Judged], list[Judged]]:
    """The solutions of a table to learn from, and those held out."""
    parts: tuple[list[Judged], list[Judged]] = ([], [])
    for row in pd.read_parquet(path).to_dict("records"):
        lists = {name: tuple(row[name].tolist()) for name in ("steps", "authors", "claims")}
        one = Judged(row["problem"], **lists, sampled=bool(row["sampled"]), written=int(row["written"]))
        parts[bool(row["held_out"])].append(one)
    return parts
