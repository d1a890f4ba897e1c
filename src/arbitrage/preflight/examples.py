"""A few questions of every benchmark as a model is asked them, with their right answers: for people to look at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from arbitrage.config.study import Study
from arbitrage.preflight.check_hub import UnreachableError, checkpoint
from arbitrage.questions.files import Row
from arbitrage.speculation.protocols import EngineError

SHOWN = 3  # of each benchmark


@dataclass(frozen=True)
class Example:
    """prompt: what the model reads, special tokens and all; golds: right answers; besides: what else grading asks."""

    benchmark: str
    question_id: str
    model: str
    prompt: str
    golds: tuple[str, ...]
    besides: str


def examples(study: Study, questions: Mapping[str, Sequence[Row]]) -> Iterator[Example]:
    """The first questions of every benchmark, rendered for the first pair's draft.

    Nothing where its tokenizer cannot be had, which is a fault that the check of models tells.
    """
    from arbitrage.engines.checkpoints import Checkpoint
    from arbitrage.engines.prompting import Prompter

    name = next(iter(study.pairs.values())).draft
    model, origin = study.models[name], study.origin(name)
    try:
        files = checkpoint(str(origin.path), origin.revision, weights=False)
        tokenizer = Checkpoint(str(origin.path), files.directory).tokenizer(chat=True)
        prompter = Prompter(name, tokenizer, model)
    except (EngineError, UnreachableError):
        return
    for benchmark, rows in questions.items():
        for row in rows[:SHOWN]:
            try:
                prompt = tokenizer.decode(list(prompter.prompt_ids(row["problem"])), clean_up_tokenization_spaces=False)
            except EngineError:
                continue
            asks = {key: value for key, value in json.loads(row["grading"]).items() if key != "answer_type"}
            besides = ", ".join(f"{key} {value}" for key, value in asks.items())
            yield Example(benchmark, row["question_id"], name, prompt, tuple(row["answers"]), besides)
