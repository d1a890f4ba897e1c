"""Decontamination: which questions are also in a benchmark, word for word or reworded (paper: silent; our choice).

A question is seen as the words of its one spelling (`spelling`): runs of letters, numbers, and the signs
`+ - * / ^ = < >`; LaTeX markup and all other punctuation go, so that spacing and spelling make no difference and other
numbers do. Letters that stand alone next to each other are one word: `m n` is `mn`. It overlaps when

- `whole`: all the words of a benchmark question stand in it, in a row. A benchmark question of fewer than n words is
  found by this rule alone; one of fewer than `SHORTEST` words only where the question has exactly the same words;
- `ngram`: it shares n words in a row with a benchmark question, and these are no template. As in GPT-3's
  decontamination (arXiv 2005.14165, appendix C) n-grams met too often are ignored: those that, numbers left open, stand
  in more than `TEMPLATE` questions are how questions of that kind are worded. Without this exception, questions that
  are generated from templates, the lab's and many of NuminaMath's, would be taken for copies of one another.
"""

import re
from collections import Counter

from arbitrage.questions.spelling import spell

TEMPLATE = 10  # questions a wording may occur in before it is a template
SHORTEST = 3  # words; what is shorter ("find 7") stands inside other questions by chance

_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[-+*/^=<>]")
_LONE_LETTERS = re.compile(r"(?<![^\W\d_])([^\W\d_])[\s,;|()\[\].:'_]+(?=[^\W\d_](?![^\W\d_]))")

Words = tuple[str, ...]


def words(text: str) -> Words:
    """The words of a text, in order: what overlap is judged by."""
    return tuple(_WORD.findall(_LONE_LETTERS.sub(r"\1", spell(text))))


def find_overlaps(problems: list[str], benchmark: list[str], ngram: int) -> list[str | None]:
    """For each problem the rule by which it overlaps with the benchmark (`whole` or `ngram`), None where it does not.

    `problems` should be distinct: copies count towards `TEMPLATE`. Time is linear in the words of both.
    """
    index = _Index([words(text) for text in benchmark], ngram)
    rules: list[str | None] = []
    wordings: Counter[Words] = Counter()
    shared: dict[int, set[Words]] = {}
    for number, problem in enumerate(problems):
        tokens = words(problem)
        rules.append("whole" if index.holds_whole(tokens) else None)
        met, same = index.compare(tokens)
        wordings.update(met)
        if same:
            shared[number] = same
    for number, same in shared.items():
        if rules[number] is None and any(wordings[wording] <= TEMPLATE for wording in same):
            rules[number] = "ngram"
    return rules


class _Index:
    """The benchmark's questions: whole ones by their first words, n-grams as they are and with numbers left open."""

    def __init__(self, questions: list[Words], ngram: int) -> None:
        self.ngram = ngram
        self.whole = set(questions)
        self.grams = {gram for question in questions for gram in _grams(question, ngram)}
        self.wordings = {gram for question in questions for gram in _grams(_open_numbers(question), ngram)}
        self.lengths: dict[Words, set[int]] = {}  # head of a question (at most n words) -> lengths of such questions
        self.heads: dict[str, set[int]] = {}  # first word -> lengths of the heads that start with it
        for question in questions:
            if len(question) >= SHORTEST:
                head = question[:ngram]
                self.lengths.setdefault(head, set()).add(len(question))
                self.heads.setdefault(head[0], set()).add(len(head))

    def holds_whole(self, tokens: Words) -> bool:
        """Does a benchmark question stand in `tokens` from its first word to its last?"""
        if tokens in self.whole:
            return True
        for start, token in enumerate(tokens):
            for size in self.heads.get(token, ()):
                for length in self.lengths.get(tokens[start : start + size], ()):
                    if tokens[start : start + length] in self.whole:
                        return True
        return False

    def compare(self, tokens: Words) -> tuple[set[Words], set[Words]]:
        """Wordings (n-grams with numbers left open) shared with the benchmark; and those shared numbers and all."""
        wordings = _grams(_open_numbers(tokens), self.ngram)
        met = {wording for wording in wordings if wording in self.wordings}
        if not met:
            return met, met
        grams = _grams(tokens, self.ngram)
        return met, {wording for wording, gram in zip(wordings, grams, strict=True) if gram in self.grams}


def _grams(tokens: Words, size: int) -> list[Words]:
    return [tokens[start : start + size] for start in range(len(tokens) - size + 1)]


def _open_numbers(tokens: Words) -> Words:
    return tuple("0" if token[0].isdigit() else token for token in tokens)
