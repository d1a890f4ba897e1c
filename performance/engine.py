"""Step generation: our transformers engine against `model.generate`, and against vLLM where it is installed.

    python -m performance.engine [--questions 150] [--steps 3] [--runs 5] [--out FILE.json]

The same prompts, as the sweep makes them: each question's context grows by the step just written. `model.generate` gets
length-sorted, left-padded batches of the same size, the same threads and the separator as a stop string. What is timed
is generation alone; the text must be the same. Medians over interleaved runs. Passes of one token are counted with and
without refilling: on a GPU a pass takes about as long for few rows as for many, and their number is what it saves.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import torch
from performance.conditions import Finding, conditions, report
from performance.pairs import lab_questions
from transformers import StoppingCriteriaList, StopStringCriteria

from arbitrage.config.load import load_study
from arbitrage.config.study import Study
from arbitrage.engines.factory import open_pair
from arbitrage.engines.hf.generator import REFILLED_COLUMNS, TransformersGenerator
from arbitrage.speculation.protocols import EngineError, Generator
from arbitrage.speculation.steps import Ids

ROLES = ("draft", "target")
GPU = REFILLED_COLUMNS["cuda"]
Rounds = Sequence[Sequence[Ids]]
Write = Callable[[Sequence[Ids]], list[str]]


def rounds_of(engine: Generator, problems: Sequence[str], steps: int, limit: int) -> list[list[Ids]]:
    """Contexts of `steps` rounds: prompts, then prompts with what the model wrote, for those that are not finished."""
    contexts = [engine.prompt_ids(problem) for problem in problems]
    rounds = []
    for _ in range(steps):
        rounds.append(contexts)
        written = engine.generate(contexts, [limit] * len(contexts))
        pairs = zip(contexts, written, strict=True)
        contexts = [ids + engine.step_ids(step.text) for ids, step in pairs if step.finish_reason == "separator"]
    return rounds


def by_engine(engine: Generator, limit: int) -> Write:
    """One of our engines as the sweep uses it: what it read in one round it need not read in the next."""
    return lambda contexts: [step.text for step in engine.generate(contexts, [limit] * len(contexts))]


def by_generate(engine: TransformersGenerator, limit: int, batch_size: int) -> Write:
    """`model.generate` on the engine's own model."""
    pad, separator = engine.tokenizer.pad_token_id, engine.stop.separator
    stops = StoppingCriteriaList([StopStringCriteria(engine.tokenizer, [separator])])

    def write(contexts: Sequence[Ids]) -> list[str]:
        texts = [""] * len(contexts)
        order = sorted(range(len(contexts)), key=lambda index: len(contexts[index]))
        for first in range(0, len(order), batch_size):
            indices = order[first : first + batch_size]
            width = max(len(contexts[index]) for index in indices)
            ids = torch.tensor([(pad,) * (width - len(contexts[index])) + contexts[index] for index in indices])
            mask = torch.tensor([[0] * (width - len(contexts[p])) + [1] * len(contexts[p]) for p in indices])
            with torch.inference_mode():
                out = engine.model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    max_new_tokens=limit,
                    do_sample=False,
                    stopping_criteria=stops,
                    pad_token_id=pad,
                    eos_token_id=sorted(engine.stop.eos_ids),
                )
            for index, row in zip(indices, out[:, width:].tolist(), strict=True):
                text = engine.stop.decode([token for token in row if token != pad])
                at = text.find(separator)
                texts[index] = text if at < 0 else text[: at + len(separator)]
        return texts

    return write


def passes(engine: TransformersGenerator, rounds: Rounds, limit: int, columns: int) -> int:
    """Forward passes of one token while the steps are written, in batches that are refilled for `columns` columns."""
    count = 0

    def counted(model: object, inputs: object, named: dict[str, torch.Tensor]) -> None:
        nonlocal count
        count += named["input_ids"].shape[1] == 1

    kept, engine.refilled_columns = engine.refilled_columns, columns
    hook = engine.model.register_forward_pre_hook(counted, with_kwargs=True)
    engine.forget()
    for contexts in rounds:
        by_engine(engine, limit)(contexts)
    hook.remove()
    engine.refilled_columns = kept
    return count


def measure(
    role: str, engine: TransformersGenerator, rounds: Rounds, writers: dict[str, Write], limit: int, runs: int
) -> tuple[list[Finding], dict[str, Any]]:
    """Findings on one model. writers: "ours" and those it is compared with."""
    seconds: dict[str, list[float]] = {writer: [] for writer in writers}
    texts: dict[str, list[str]] = {}
    for _ in range(runs):
        for writer, write in writers.items():
            engine.forget()
            start = time.perf_counter()
            texts[writer] = [text for contexts in rounds for text in write(contexts)]
            seconds[writer].append(time.perf_counter() - start)
    tokens = sum(len(engine.step_ids(text)) for text in texts["ours"])
    findings = []
    for writer in [name for name in writers if name != "ours"]:
        ratio = median(theirs / mine for mine, theirs in zip(seconds["ours"], seconds[writer], strict=True))
        measure_name = f"{role}: tokens/s, ours / {writer}"
        findings.append(
            Finding.at_least(measure_name, ratio, "x", 1.3) if writer != "vllm" else Finding(measure_name, ratio, "x")
        )
        same = sum(a == b for a, b in zip(texts["ours"], texts[writer], strict=True)) / len(texts["ours"])
        findings.append(Finding.at_least(f"{role}: steps of the same text as {writer}", 100 * same, "%", 100))
    counts = {kind: passes(engine, rounds, limit, columns) for kind, columns in (("as it is", 0), ("refilled", GPU))}
    saved = counts["as it is"] / counts["refilled"]
    findings.append(Finding(f"{role}: passes of one token, places not refilled / refilled", saved, "x"))
    rates = {writer: round(tokens / median(times)) for writer, times in seconds.items()}
    print(f"{role}: tokens/s {rates}")
    detail = {"tokens_per_s": rates, "seconds": seconds, "passes": counts, "steps": len(texts["ours"])}
    return findings, detail | {"tokens": tokens}


def on_vllm(study: Study, pair: str, role: str, stack: ExitStack) -> Generator | None:
    """The pair's `role` run by vLLM until `stack` is closed; None where vLLM is not installed or cannot run it."""
    if importlib.util.find_spec("vllm") is None:
        print(f"{role}: vLLM is not installed here, the comparison with it is skipped")
        return None
    name = study.pairs[pair].draft if role == "draft" else study.pairs[pair].target
    models = study.models | {name: study.models[name].model_copy(update={"engine": "vllm"})}
    try:
        engines = stack.enter_context(open_pair(study.model_copy(update={"models": models}), pair))
    except EngineError as error:
        print(f"{role}: vLLM does not run it here, the comparison with it is skipped: {error}")
        return None
    return engines[ROLES.index(role)]


def main() -> None:
    """Measure the lab's draft and target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=150, help="Questions whose steps are written")
    parser.add_argument("--steps", type=int, default=3, help="Rounds of steps")
    parser.add_argument("--runs", type=int, default=5, help="Interleaved runs")
    parser.add_argument("--out", type=Path, help="JSON; results/benchmarks/engine.json")
    options = parser.parse_args()
    study = load_study([Path("config.yaml")])
    pair, limit = next(iter(study.pairs)), study.generation.max_step_tokens
    problems = [question.problem for question in lab_questions(study, "lab500", options.questions)]
    names = dict(zip(ROLES, (study.pairs[pair].draft, study.pairs[pair].target), strict=True))
    findings, detail = [], {}
    surroundings = conditions({role: str(study.model_path(name)) for role, name in names.items()})
    with open_pair(study, pair) as both:
        engines: Sequence[Any] = both
        for role, engine in zip(ROLES, engines, strict=True):
            batch_size = study.models[names[role]].batch_size
            writers = {"ours": by_engine(engine, limit), "model.generate": by_generate(engine, limit, batch_size)}
            rounds = rounds_of(engine, problems, options.steps, limit)
            with ExitStack() as stack:
                if (other := on_vllm(study, pair, role, stack)) is not None:
                    writers["vllm"] = by_engine(other, limit)
                of_role, detail[role] = measure(role, engine, rounds, writers, limit, options.runs)
            findings += of_role
    report("engine", surroundings, findings, detail, options.out)


if __name__ == "__main__":
    main()
