"""A router's training and held-out scoring: a question read in one pass, beside its judged steps read one by one.

    python -m performance.router [--questions 64] [--updates 6] [--out FILE]

Tokens are counted at the paper's scale, on simulated questions whose steps are as long and as many as those of
`performance.schedule`, 37.7 % of them better from the target (Table 1), and balanced as for training. Time is measured
with the lab's router start on worked solutions of the lab's questions of which the same share is escalated: whole
updates, forward and backward, in process CPU time, so that other jobs count for little; in turns. Both ways go through
the trainer; one by one, an example is a row of its own. Held-out scoring is compared with the scorer of sweep and
labelling, on the same questions: it keeps keys and values of what it has read, up to its budget. Last come whole
trainings of the last layer, with the frozen ones run once or in every epoch.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from performance.conditions import Finding, conditions, report
from performance.virtual import MEDIAN_TOKENS, RUNAWAY, RUNAWAY_TOKENS, SIGMA, lognormal, steps_of
from transformers import AutoModelForSequenceClassification, TrainingArguments

from arbitrage.config.router import Router, RouterTraining
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.hf.packed import pack
from arbitrage.engines.scoring.labels import RouterFormat
from arbitrage.engines.scoring.scalar_router import ROUTER_FILE
from arbitrage.engines.scoring.scorers import RouterScorer
from arbitrage.engines.scoring.step_format import step_input_ids
from arbitrage.lab.question_stream import draw_questions
from arbitrage.routing.frozen_layers import computed_once
from arbitrage.routing.heldout import packed_scores
from arbitrage.routing.hf_trainer import Judged, RouterTrainer, Updates
from arbitrage.routing.losses import class_loss
from arbitrage.routing.router_model import freeze_below
from arbitrage.speculation.steps import AuthoredStep, Ids

POSITIVE = 0.377  # of all steps (Table 1)
PROBLEM_TOKENS = 100  # of a question at the paper's scale; our assumption
MAX_LENGTH = 4096
ROUNDS = 5  # of held-out scoring and of whole trainings; medians count
BATCH = 32  # judged steps an update: the lab's
COLUMNS = 4096
START = Path("src/arbitrage/lab/zoo/router_start")
TOKENS, SECONDS = 5.0, 3.0  # the goals

Example = tuple[Any, int]  # ids, class
Question = list[Example]  # its judged steps


def balanced(questions: Sequence[Question], rng: random.Random) -> list[Question]:
    """As many examples of class 0 as of class 1, all of class 1 and the others drawn at random."""
    keep = POSITIVE / (1 - POSITIVE)
    return [[(ids, y) for ids, y in question if y or rng.random() < keep] for question in questions]


def simulated(count: int) -> Iterator[Question]:
    """Questions at the paper's scale: only lengths, and which ids are shared, are real."""
    rng = random.Random(0)
    fresh = iter(range(2**31))
    for number in range(count):
        path = list(islice(fresh, PROBLEM_TOKENS))
        question: Question = []
        for _ in range(steps_of(number)):
            drafted, escalated = _simulated_step(fresh, rng), rng.random() < POSITIVE
            if len(path) + len(drafted) <= MAX_LENGTH:
                question.append((np.array(path + drafted), int(escalated)))
            path += _simulated_step(fresh, rng) if escalated else drafted
        yield question


def _simulated_step(fresh: Iterator[int], rng: random.Random) -> list[int]:
    tokens = RUNAWAY_TOKENS if rng.random() < RUNAWAY else lognormal(MEDIAN_TOKENS, SIGMA, rng.random())
    return list(islice(fresh, tokens))


def of_the_lab(count: int, tokenizer: Any) -> Iterator[Question]:
    """Worked solutions as paths; a rejected draft step is a step of the question before."""
    rng = random.Random(0)
    wrong: Sequence[str] = ("So it is 1.",)
    for number in islice(draw_questions("labels", "performance.router", "lessons"), count):
        history: list[AuthoredStep] = []
        question: Question = []
        for text in number.steps:
            escalated = rng.random() < POSITIVE
            drafted = AuthoredStep("draft", rng.choice(wrong) if escalated else text)
            ids: Ids = step_input_ids(tokenizer, number.problem, history, drafted, "\n\n", True)
            question.append((np.array(ids), int(escalated)))
            history.append(AuthoredStep("target" if escalated else "draft", text))
        wrong = number.steps
        yield question


def together(questions: Sequence[Question], columns: int = COLUMNS) -> list[Judged]:
    """A row a question."""
    return [
        Judged(tree, np.array([question[member][1] for member in tree.members]))
        for question in questions
        for tree in pack([ids for ids, _ in question], columns)
    ]


def apart(questions: Sequence[Question]) -> list[Judged]:
    """A row an example."""
    return together([[example] for question in questions for example in question])


def tokens_ratio(questions: Sequence[Question], columns: int = COLUMNS) -> float:
    """Ids read one by one for each that is read together; padding not counted."""
    alone = sum(len(ids) for question in questions for ids, _ in question)
    return alone / sum(len(row.tree) for row in together(questions, columns))


def measure(model: Any, questions: Sequence[Question], most: int) -> dict[str, list[float]]:
    """CPU seconds an example, of at most `most` updates of an epoch; the ways in turns."""
    ways = {}
    for name, rows in {"together": together(questions), "one by one": apart(questions)}.items():
        updates = [[rows[place] for place in places] for places in Updates(rows, BATCH, seed=0)]
        ways[name] = updates[:most]
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(output_dir=folder, use_cpu=True, report_to="none", dataloader_pin_memory=False)
        trainer = RouterTrainer(class_loss, BATCH, COLUMNS, model=model, args=settings, train_dataset=questions)
        for number in range(-1, min(map(len, ways.values()))):
            for name, updates in ways.items():
                rows = updates[max(number, 0)]
                begin = time.process_time()
                trainer.training_step(model, trainer.collate(rows))
                model.zero_grad()
                if number >= 0:  # the first warms up
                    seconds[name].append((time.process_time() - begin) / sum(len(row.labels) for row in rows))
    return seconds


def measure_frozen(model: Any, questions: Sequence[Question], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of whole trainings of the last layer, frozen ones run once or in every epoch; the ways in turns."""
    rows, start = together(questions), {name: weight.clone() for name, weight in model.state_dict().items()}
    freeze_below(model, 1)
    seconds: dict[str, list[float]] = {"once": [], "every epoch": []}
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            num_train_epochs=RouterTraining().epochs,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            remove_unused_columns=False,
        )
        for number in range(-1, rounds):
            for name, values in seconds.items():
                model.load_state_dict(start)
                begin = time.process_time()
                with computed_once(model, rows, COLUMNS) if name == "once" else nullcontext(rows) as read:
                    RouterTrainer(class_loss, BATCH, COLUMNS, model=model, args=settings, train_dataset=read).train()
                if number >= 0:  # the first warms up
                    values.append(time.process_time() - begin)
    return seconds


def measure_scoring(model: Any, tokenizer: Any, questions: Sequence[Question], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of scoring all examples, the ways in turns; `tokens, ...`: ids read in a round, padding counted."""
    inputs = [ids for question in questions for ids, _ in question]
    names = [str(number) for number, question in enumerate(questions) for _ in question]
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        form = RouterFormat(classes=2, boundary=1, ordinal=False, annotate=True, separator="\n\n")
        (Path(folder) / ROUTER_FILE).write_text(form.model_dump_json())
        router = RouterScorer(resolve(folder), Router())
    read: list[int] = []
    router.model.base_model.register_forward_pre_hook(
        lambda _, __, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    ways: dict[str, Callable[[], list[float]]] = {
        "together": lambda: packed_scores(router, inputs, names),
        "one by one": lambda: router.score([tuple(ids.tolist()) for ids in inputs]),
    }
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-1, rounds):
        for name, score in ways.items():
            router.forget()
            read.clear()
            begin = time.process_time()
            score()
            if number >= 0:  # the first warms up
                measured[name].append(time.process_time() - begin)
            measured[f"tokens, {name}"] = [float(sum(read))]
    return measured


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=64, help="Of the lab, that are timed")
    parser.add_argument("--updates", type=int, default=8, help="Of each way")
    parser.add_argument("--out", type=Path, help="JSON; results/benchmarks/router.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    surroundings = conditions({"router start": str(START)})
    rng = random.Random(1)
    paper = balanced(list(simulated(1000)), rng)
    start = resolve(START)
    tokenizer = start.tokenizer()
    whole = list(of_the_lab(options.questions, tokenizer))
    lab = balanced(whole, rng)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(
        START, num_labels=2, ignore_mismatched_sizes=True, dtype=torch.float32
    )
    seconds = measure(model, lab, options.updates)
    scoring = measure_scoring(model, tokenizer, whole, ROUNDS)
    frozen = measure_frozen(model, lab, ROUNDS)
    trained = {name: statistics.median(values) for name, values in frozen.items()}
    scored = {name: statistics.median(values) for name, values in scoring.items()}
    tokens_scored = scored["tokens, one by one"] / scored["tokens, together"]
    # An update is of rows of like length, some short and some long: the mean stands for an epoch, a median does not
    means = {name: statistics.fmean(values) for name, values in seconds.items()}
    findings = [
        Finding.at_least("tokens, one by one / together, paper's scale", tokens_ratio(paper), "x", TOKENS),
        Finding("the same, the lab's questions", tokens_ratio(lab), "x"),
        Finding.at_least(
            "seconds, one by one / together, the lab", means["one by one"] / means["together"], "x", SECONDS
        ),
        Finding("examples a second, together", 1 / means["together"], "1/s"),
        Finding("held-out scoring, tokens, one by one / together", tokens_scored, "x"),
        Finding("held-out scoring, seconds, one by one / together", scored["one by one"] / scored["together"], "x"),
        Finding(
            "the last layer, seconds, frozen ones every epoch / once", trained["every epoch"] / trained["once"], "x"
        ),
    ]
    details = {"seconds_an_example": seconds, "scoring": scoring, "frozen": frozen}
    report("router", surroundings, findings, details, options.out)


if __name__ == "__main__":
    main()
