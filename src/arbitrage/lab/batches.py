"""Documents as token ids in padded batches, in an order that a resumed training takes up where it was left."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import TYPE_CHECKING

import torch
from torch.utils.data import DataLoader, Dataset

from arbitrage.lab.families import SEPARATOR
from arbitrage.lab.question_stream import Split, draw_questions
from arbitrage.lab.tokenizer import MARKS, prompt_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

IGNORED = -100
DOCUMENTS_PER_POOL = 4096

Document = tuple[list[int], list[int]]
"""Ids and labels of one document, equally long; IGNORED where nothing is learned."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Right-padded documents: token ids and what the loss is computed on, both (documents, positions)."""

    ids: torch.Tensor
    labels: torch.Tensor

    def to(self, device: str | torch.device) -> "Batch":
        """The batch on another device."""
        return Batch(self.ids.to(device), self.labels.to(device))


class PooledBatches(Dataset[list[list[Document]]]):
    """Endless batches of at most `tokens` padded tokens; pool k of the documents is `pool(k)`.

    Documents of similar length of one pool share a batch, so that little is padding. The order depends on `seed` and
    the position alone: setting `position`, (pool, batches already taken of it), resumes an interrupted training.
    `workers`: processes that make the next pools meanwhile, for a GPU that would wait for them; set it before the first
    batch is taken. 0: this process makes each pool when it is due.
    """

    def __init__(self, pool: Callable[[int], list[Document]], pad: int, tokens: int, seed: int) -> None:
        self.position = (0, 0)
        self.workers = 0
        self._pool, self._pad, self._tokens, self._seed = pool, pad, tokens, seed
        self._loaded = -1
        self._groups: list[list[Document]] = []
        self._pools: Iterator[list[list[Document]]] | None = None

    def __next__(self) -> Batch:
        """The next batch."""
        number, taken = self.position
        if number != self._loaded:
            if self._pools is None or number != self._loaded + 1:
                self._pools = self._pools_from(number)
            self._groups = next(self._pools)
            self._loaded = number
        batch = pad_documents(self._groups[taken], self._pad)
        self.position = (number, taken + 1) if taken + 1 < len(self._groups) else (number + 1, 0)
        return batch

    def __getitem__(self, number: int) -> list[list[Document]]:
        """The documents of pool `number`, a batch each, in their order."""
        groups = group_by_length(self._pool(number), self._tokens)
        Random(f"order {self._seed} {number}").shuffle(groups)
        return groups

    def _pools_from(self, number: int) -> Iterator[list[list[Document]]]:
        loader = DataLoader(
            self,
            batch_size=None,
            sampler=count(number),
            num_workers=self.workers,
            collate_fn=_as_it_is,
            generator=torch.Generator(),  # for its own numbers: the global one is the training's
            multiprocessing_context="fork" if self.workers else None,  # `pool` cannot be pickled
        )
        return iter(loader)


def _as_it_is(groups: list[list[Document]]) -> list[list[Document]]:
    return groups


def encode_document(
    tokenizer: "PreTrainedTokenizerFast", problem: str, solution: str, authors: Sequence[int] | None = None
) -> Document:
    """Ids and labels of one document: `<bos>problem\\n` (not learned), then the solution and `<eos>` (learned).

    With `authors`, one number a step, each step begins with its author's mark as a router reads it (not learned).
    """
    prompt = [tokenizer.bos_token_id, *tokenizer.encode(prompt_text(problem), add_special_tokens=False)]
    answer = [*tokenizer.encode(solution, add_special_tokens=False), tokenizer.eos_token_id]
    if authors is None:
        return prompt + answer, [IGNORED] * len(prompt) + answer
    separator, marks = token_id(tokenizer, SEPARATOR), mark_ids(tokenizer)
    ids, labels, step = [marks[authors[0]]], [IGNORED], 0
    for token in answer:
        ids.append(token)
        labels.append(token)
        if token == separator:
            step += 1
            ids.append(marks[authors[step]])
            labels.append(IGNORED)
    return prompt + ids, [IGNORED] * len(prompt) + labels


def mark_ids(tokenizer: "PreTrainedTokenizerFast") -> tuple[int, int]:
    """The ids of the marks of a step by the draft and by the target."""
    return token_id(tokenizer, MARKS[0]), token_id(tokenizer, MARKS[1])


def token_id(tokenizer: "PreTrainedTokenizerFast", text: str) -> int:
    """The id of a text that is one token."""
    number = tokenizer.convert_tokens_to_ids(text)
    assert isinstance(number, int)
    return number


def pad_documents(documents: list[Document], pad: int) -> Batch:
    """Right-pad documents to one length. Causal attention never looks at what follows, so no mask is needed."""
    length = max(len(ids) for ids, _ in documents)
    ids = torch.tensor([document + [pad] * (length - len(document)) for document, _ in documents])
    labels = torch.tensor([labels + [IGNORED] * (length - len(labels)) for _, labels in documents])
    return Batch(ids, labels)


def worked_solutions(
    tokenizer: "PreTrainedTokenizerFast", split: Split, seed: int, tokens_per_batch: int, marked_share: float = 0.0
) -> PooledBatches:
    """Batches of fresh questions of a split with their worked solutions, drawn by the profile `lessons`.

    In `marked_share` of the documents every step begins with the mark of a random author.
    """

    def pool(number: int) -> list[Document]:
        rng = Random(f"marks {seed} {number}")
        questions = draw_questions(split, f"{seed} pool {number}", "lessons", distinct=False)
        documents = []
        for question in (next(questions) for _ in range(DOCUMENTS_PER_POOL)):
            marked = rng.random() < marked_share
            authors = [rng.randint(0, 1) for _ in question.steps] if marked else None
            documents.append(encode_document(tokenizer, question.problem, question.solution, authors))
        return documents

    return PooledBatches(pool, int(tokenizer.pad_token_id), tokens_per_batch, seed)


def group_by_length(documents: list[Document], tokens: int) -> list[list[Document]]:
    """Cut documents, sorted by length, into groups that hold at most `tokens` tokens when padded."""
    groups: list[list[Document]] = [[]]
    for document in sorted(documents, key=lambda item: len(item[0])):
        if groups[-1] and (len(groups[-1]) + 1) * len(document[0]) > tokens:
            groups.append([])
        groups[-1].append(document)
    return groups
