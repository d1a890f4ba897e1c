"""Questions and solutions as token ids in padded batches, for training."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from arbitrage.lab.question_stream import draw_questions
from arbitrage.lab.tokenizer import prompt_text

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

    def to(self, device: str) -> "Batch":
        """The batch on another device."""
        return Batch(self.ids.to(device), self.labels.to(device))


def encode_document(tokenizer: "PreTrainedTokenizerFast", problem: str, solution: str) -> Document:
    """Ids and labels of one document: `<bos>problem\\n` (not learned), then the solution and `<eos>` (learned)."""
    prompt = [tokenizer.bos_token_id, *tokenizer.encode(prompt_text(problem), add_special_tokens=False)]
    answer = [*tokenizer.encode(solution, add_special_tokens=False), tokenizer.eos_token_id]
    return prompt + answer, [IGNORED] * len(prompt) + answer


def pad_documents(documents: list[Document], pad: int) -> Batch:
    """Right-pad documents to one length. Causal attention never looks at what follows, so no mask is needed."""
    length = max(len(ids) for ids, _ in documents)
    ids = torch.tensor([document + [pad] * (length - len(document)) for document, _ in documents])
    labels = torch.tensor([labels + [IGNORED] * (length - len(labels)) for _, labels in documents])
    return Batch(ids, labels)


def language_batches(tokenizer: "PreTrainedTokenizerFast", seed: int, tokens_per_batch: int) -> Iterator[Batch]:
    """Endless batches of fresh questions; documents of similar length go together, so little is padding."""
    questions = draw_questions("zoo-training", seed, "training", distinct=False)
    shuffle = torch.Generator().manual_seed(seed)
    while True:
        pool = []
        for _ in range(DOCUMENTS_PER_POOL):
            question = next(questions)
            pool.append(encode_document(tokenizer, question.problem, question.solution))
        batches = group_by_length(pool, tokens_per_batch)
        for index in torch.randperm(len(batches), generator=shuffle).tolist():
            yield pad_documents(batches[index], int(tokenizer.pad_token_id))


def group_by_length(documents: list[Document], tokens: int) -> list[list[Document]]:
    """Cut documents, sorted by length, into groups that hold at most `tokens` tokens when padded."""
    groups: list[list[Document]] = [[]]
    for document in sorted(documents, key=lambda item: len(item[0])):
        if groups[-1] and (len(groups[-1]) + 1) * len(document[0]) > tokens:
            groups.append([])
        groups[-1].append(document)
    return groups
