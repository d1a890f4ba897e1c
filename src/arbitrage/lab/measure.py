"""Measures a zoo: accuracy, how often its models differ, their speed, the PRM."""

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from arbitrage.lab.checker import check_answer, check_step
from arbitrage.lab.generation import (
    context_ids,
    continue_texts,
    load_classifier,
    load_language_model,
    load_tokenizer,
    require_one_vocabulary,
    split_steps,
)
from arbitrage.lab.question_stream import Benchmark, LabRow, benchmark_questions
from arbitrage.lab.zoo_cards import JUDGES, ROLES
from arbitrage.quantisation.rounding import quantise_directory

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BENCHMARKS: tuple[Benchmark, ...] = ("lab500", "labolympiad")
LANGUAGE_MODELS = tuple(role for role in ROLES if role not in JUDGES)
TIMED_TOKENS = 100
TIMED_CONTEXT = 80
TIMED_ROUNDS = 5
TIMED_STEP = 12


def solve(model: Any, tokenizer: "PreTrainedTokenizerFast", rows: Sequence[LabRow]) -> list[str]:
    """The model's greedy solutions."""
    return continue_texts(model, tokenizer, [context_ids(tokenizer, row["problem"]) for row in rows])


def summarise(rows: Sequence[LabRow], texts: Sequence[str]) -> dict[str, Any]:
    """Shares of right answers (all, and by family) and of right steps after right ones, and mean steps written."""
    right = [check_answer(row["problem"], text) for row, text in zip(rows, texts, strict=True)]
    families: dict[str, list[bool]] = {}
    verdicts: list[bool] = []
    for row, text, hit in zip(rows, texts, right, strict=True):
        families.setdefault(row["source"], []).append(hit)
        steps = split_steps(text)
        for index, step in enumerate(steps):
            verdicts.append(check_step(row["problem"], steps[:index], step))
            if not verdicts[-1]:
                break
    return {
        "accuracy": statistics.fmean(right),
        "step_accuracy": statistics.fmean(verdicts),
        "mean_steps": statistics.fmean(len(split_steps(text)) for text in texts),
        "accuracy_by_family": {family: statistics.fmean(hits) for family, hits in sorted(families.items())},
    }


def differing_share(
    draft: Any, target: Any, tokenizer: "PreTrainedTokenizerFast", rows: Sequence[LabRow], texts: Sequence[str]
) -> float:
    """The share of contexts, along the solutions in `texts`, after which the two models write different steps."""
    contexts = []
    for row, text in zip(rows, texts, strict=True):
        steps = split_steps(text)
        contexts += [context_ids(tokenizer, row["problem"], steps[:count]) for count in range(len(steps))]
    written = [
        continue_texts(model, tokenizer, contexts, max_new_tokens=48, stop_at_separator=True)
        for model in (draft, target)
    ]
    return statistics.fmean(first != second for first, second in zip(*written, strict=True))


@torch.inference_mode()
def milliseconds_per_token(model: Any) -> float:
    """Batch-1 time of one forward pass with a cache, the median over rounds."""
    from transformers import DynamicCache

    rounds = []
    for _ in range(TIMED_ROUNDS):
        cache = DynamicCache(config=model.config)
        ids = torch.arange(1, TIMED_CONTEXT + 1, device=model.device)[None]
        model(input_ids=ids, past_key_values=cache, use_cache=True)
        _wait_for(model)
        started = time.perf_counter()
        for _ in range(TIMED_TOKENS):
            model(input_ids=ids[:, :1], past_key_values=cache, use_cache=True)
        _wait_for(model)
        rounds.append((time.perf_counter() - started) / TIMED_TOKENS * 1e3)
    return statistics.median(rounds)


@torch.inference_mode()
def milliseconds_per_decision(model: Any) -> float:
    """Batch-1 time to score a step of TIMED_STEP tokens after a cached history, the median over rounds."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    ids = torch.arange(1, TIMED_CONTEXT + 1, device=model.device)[None]
    model.model(input_ids=ids, past_key_values=cache, use_cache=True)
    _wait_for(model)
    rounds = []
    for _ in range(TIMED_TOKENS):
        started = time.perf_counter()
        state = model.model(input_ids=ids[:, :TIMED_STEP], past_key_values=cache, use_cache=True).last_hidden_state
        model.score(state[:, -1]).item()
        rounds.append((time.perf_counter() - started) * 1e3)
        cache.crop(-TIMED_STEP)
    return statistics.median(rounds)


def _wait_for(model: Any) -> None:
    """Wait until the model's GPU, if it is on one, has done what it was given."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)


def low_bit_accuracy(
    target: Path, bits: Sequence[int], group_size: int, rows: Sequence[LabRow], device: str
) -> dict[str, float]:
    """Accuracy of the target rounded to each number of bits, keyed by that number."""
    accuracy = {}
    for number in bits:
        with TemporaryDirectory() as folder:
            quantise_directory(target, Path(folder), number, group_size)
            texts = solve(load_language_model(Path(folder), device), load_tokenizer(target), rows)
        accuracy[str(number)] = statistics.fmean(
            check_answer(row["problem"], text) for row, text in zip(rows, texts, strict=True)
        )
        print(f"{number} bits, group {group_size}: {accuracy[str(number)]:.3f}", flush=True)
    return accuracy


def evaluate_zoo(zoo: Path, questions: int, bits: Sequence[int], group_size: int, device: str) -> dict[str, Any]:
    """All measurements of the models in the folders of `zoo` on `device`, but those noted when they were trained."""
    require_one_vocabulary([zoo / name for name in (*LANGUAGE_MODELS, *JUDGES)])
    tokenizer = load_tokenizer(zoo / "target")
    models = {name: load_language_model(zoo / name, device) for name in LANGUAGE_MODELS}
    metrics: dict[str, Any] = {"device": device, "questions_per_benchmark": questions}
    for benchmark in BENCHMARKS:
        rows = benchmark_questions(benchmark, questions)
        texts = {name: solve(model, tokenizer, rows) for name, model in models.items()}
        metrics[benchmark] = {name: summarise(rows, texts[name]) for name in models}
        sample = slice(0, min(100, questions))
        metrics[benchmark]["differing_steps"] = differing_share(
            models["draft"], models["target"], tokenizer, rows[sample], texts["draft"][sample]
        )
        metrics[benchmark]["low_bit_accuracy"] = low_bit_accuracy(zoo / "target", bits, group_size, rows, device)
        for name in models:
            print(f"{benchmark} {name}: {metrics[benchmark][name]['accuracy']:.3f}", flush=True)
    metrics["low_bit_group_size"] = group_size
    times = {name: milliseconds_per_token(model) for name, model in models.items()}
    metrics["milliseconds_per_token"] = times
    metrics["time_ratio"] = times["target"] / times["draft"]
    judges = {name: load_classifier(zoo / name, device) for name in JUDGES}
    metrics["milliseconds_per_decision"] = {name: milliseconds_per_decision(model) for name, model in judges.items()}
    for name in judges:
        metrics[name] = json.loads((zoo / name / "training.json").read_text())["measured"]
    return metrics
