"""Judged solutions as token ids with a label a token, in batches."""

from random import Random
from typing import TYPE_CHECKING

from arbitrage.lab.batches import IGNORED, Document, PooledBatches, mark_ids, token_id
from arbitrage.lab.families import SEPARATOR
from arbitrage.lab.generation import context_ids
from arbitrage.lab.verdicts import Judged, corruptions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Labels of a token: the two of a separator, then the two of another token of a step, then none but the next token.
WRONG, RIGHT, TOKEN_WRONG, TOKEN_RIGHT, PLAIN = range(5)
CORRUPTED_SHARE = 0.3
MARKED_SHARE = 0.4
POOL = 2048


def encode_judged(
    tokenizer: "PreTrainedTokenizerFast", judged: Judged, authors: tuple[int, ...] | None = None
) -> Document:
    """Ids of a solution with every step closed, and labels: WRONG or RIGHT at the separators.

    The other tokens of right steps are TOKEN_RIGHT, those of steps after the first error TOKEN_WRONG; within the
    step of the first error, where it is not known which token is to blame, they are PLAIN, as marks are IGNORED.
    With `authors`, each step begins with a mark.
    """
    separator, marks = token_id(tokenizer, SEPARATOR), mark_ids(tokenizer)
    ids = context_ids(tokenizer, judged.problem)
    labels = [IGNORED] * len(ids)
    before = True
    for index, (step, right) in enumerate(zip(judged.steps, judged.right, strict=True)):
        if authors is not None:
            ids.append(marks[authors[index]])
            labels.append(IGNORED)
        tokens = tokenizer.encode(step, add_special_tokens=False)
        ids += [*tokens, separator]
        labels += [TOKEN_RIGHT if right else PLAIN if before else TOKEN_WRONG] * len(tokens) + [int(right)]
        before = right
    return ids, labels


def judged_batches(
    tokenizer: "PreTrainedTokenizerFast",
    judged: list[Judged],
    seed: int,
    tokens_per_batch: int,
    marked_share: float = MARKED_SHARE,
) -> PooledBatches:
    """Endless batches: the judged solutions in ever new order, CORRUPTED_SHARE fresh corruptions, a share with marks.

    The marks' authors are drawn at random: they say nothing about a step.
    """
    taken = int(POOL * (1 - CORRUPTED_SHARE))
    rounds = -(-len(judged) // taken)

    def pool(number: int) -> list[Document]:
        rng = Random(f"pool {seed} {number}")
        order = list(range(len(judged)))
        Random(f"round {seed} {number // rounds}").shuffle(order)
        part = number % rounds
        chosen = [judged[index] for index in order[part * taken : (part + 1) * taken]]
        fresh = corruptions("zoo-training", f"{seed} {number}")
        chosen += [next(fresh) for _ in range(POOL - taken)]
        documents = []
        for solution in chosen:
            marked = rng.random() < marked_share
            authors = tuple(rng.randint(0, 1) for _ in solution.steps) if marked else None
            documents.append(encode_judged(tokenizer, solution, authors))
        return documents

    return PooledBatches(pool, int(tokenizer.pad_token_id), tokens_per_batch, seed)
