"""Step generation: our transformers engine against `model.generate`, and against vLLM where it is installed.

    python -m benchmarks.engine [--questions 150] [--steps 3] [--runs 5] [--out FILE.json]

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
from pathlib import Path
from statistics import median

import torch
from benchmarks.conditions import Finding, conditions, report
from transformers import StoppingCriteriaList, StopStringCriteria

from arbitrage.engines.protocols import Ids
from arbitrage.engines.transformers import REFILLED_COLUMNS, TransformersGenerator
from arbitrage.lab.source import draw_questions
from arbitrage.sections.models import Model
from arbitrage.sections.stages import Generation

ZOO = Path("src/arbitrage/lab/zoo")
GENERATION = Generation(max_steps=40, max_tokens=900, max_step_tokens=64)
BATCH = 64
GPU = REFILLED_COLUMNS["cuda"]
Write = Callable[[Sequence[Ids]], list[str]]


def contexts_of(engine: TransformersGenerator, questions: int, steps: int) -> list[list[Ids]]:
    """Contexts of `steps` rounds: prompts, then prompts with what the model wrote, for those that are not finished."""
    stream = draw_questions("prm", 1, "training")
    contexts = [engine.prompt_ids(next(stream).problem) for _ in range(questions)]
    rounds = []
    for _ in range(steps):
        rounds.append(contexts)
        written = engine.generate(contexts, [GENERATION.max_step_tokens] * len(contexts))
        pairs = zip(contexts, written, strict=True)
        contexts = [ids + engine.step_ids(step.text) for ids, step in pairs if step.finish_reason == "separator"]
    return rounds


def plain_generate(engine: TransformersGenerator) -> Write:
    """`model.generate` on the engine's own model."""
    pad = engine.tokenizer.pad_token_id
    stops = StoppingCriteriaList([StopStringCriteria(engine.tokenizer, [GENERATION.separator])])

    def write(contexts: Sequence[Ids]) -> list[str]:
        texts = [""] * len(contexts)
        order = sorted(range(len(contexts)), key=lambda place: len(contexts[place]))
        for first in range(0, len(order), BATCH):
            places = order[first : first + BATCH]
            width = max(len(contexts[place]) for place in places)
            ids = torch.tensor([(pad,) * (width - len(contexts[place])) + contexts[place] for place in places])
            mask = torch.tensor([[0] * (width - len(contexts[p])) + [1] * len(contexts[p]) for p in places])
            with torch.inference_mode():
                out = engine.model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    max_new_tokens=GENERATION.max_step_tokens,
                    do_sample=False,
                    stopping_criteria=stops,
                    pad_token_id=pad,
                    eos_token_id=sorted(engine.stop.eos_ids),
                )
            for place, row in zip(places, out[:, width:].tolist(), strict=True):
                text = engine.stop.decode([token for token in row if token != pad])
                at = text.find(GENERATION.separator)
                texts[place] = text if at < 0 else text[: at + len(GENERATION.separator)]
        return texts

    return write


def ours(engine: TransformersGenerator) -> Write:
    """The engine as the sweep uses it: what it read in one round it need not read in the next."""
    return lambda contexts: [
        step.text for step in engine.generate(contexts, [GENERATION.max_step_tokens] * len(contexts))
    ]


def vllm_engine(name: str) -> Write | None:
    """The vLLM engine on the same model; None where vLLM is not installed."""
    if importlib.util.find_spec("vllm") is None:
        return None
    from arbitrage.engines.vllm import VllmGenerator

    engine = VllmGenerator(str(ZOO / name), Model(path=str(ZOO / name), engine="vllm"), GENERATION, 1)
    return lambda contexts: [
        step.text for step in engine.generate(contexts, [GENERATION.max_step_tokens] * len(contexts))
    ]


def passes(engine: TransformersGenerator, rounds: Sequence[Sequence[Ids]], columns: int) -> int:
    """Forward passes of one token while the steps are written, in batches that are refilled for `columns` columns."""
    count = 0

    def counted(model: object, given: object, named: dict[str, torch.Tensor]) -> None:
        nonlocal count
        count += named["input_ids"].shape[1] == 1

    kept, engine.refilled_columns = engine.refilled_columns, columns
    hook = engine.model.register_forward_pre_hook(counted, with_kwargs=True)
    engine.forget()
    for contexts in rounds:
        ours(engine)(contexts)
    hook.remove()
    engine.refilled_columns = kept
    return count


def measure(name: str, questions: int, steps: int, runs: int) -> tuple[list[Finding], dict[str, object]]:
    """Findings for one model of the zoo."""
    model = Model(path=str(ZOO / name), batch_size=BATCH)
    engine = TransformersGenerator(str(ZOO / name), model, GENERATION, 1)
    rounds = contexts_of(engine, questions, steps)
    writers: dict[str, Write] = {"ours": ours(engine), "model.generate": plain_generate(engine)}
    if (third := vllm_engine(name)) is not None:
        writers["vllm"] = third
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
    for writer in list(writers)[1:]:
        ratio = median(b / a for a, b in zip(seconds["ours"], seconds[writer], strict=True))
        same = sum(a == b for a, b in zip(texts["ours"], texts[writer], strict=True)) / len(texts["ours"])
        goal = 1.3 if writer == "model.generate" else None
        measure = f"{name}: tokens/s, ours against {writer}"
        findings.append(Finding.at_least(measure, ratio, "x", goal) if goal else Finding(measure, ratio, "x"))
        findings.append(Finding.at_least(f"{name}: same text as {writer}", same, "of the steps", 1.0))
    counts = {kind: passes(engine, rounds, columns) for kind, columns in (("not refilled", 0), ("refilled", GPU))}
    saved = counts["not refilled"] / counts["refilled"]
    findings.append(Finding(f"{name}: passes of one token, places not refilled / refilled", saved, "x"))
    rates = {writer: round(tokens / median(times)) for writer, times in seconds.items()}
    detail = {"tokens_per_s": rates, "seconds": seconds, "passes": counts, "steps": len(texts["ours"])}
    return findings, detail | {"tokens": tokens}


def main() -> None:
    """Measure draft and target of the zoo."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=150, help="questions whose steps are written")
    parser.add_argument("--steps", type=int, default=3, help="rounds of steps")
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs")
    parser.add_argument("--out", type=Path, help="JSON; results/benchmarks/engine.json if absent")
    arguments = parser.parse_args()
    findings, detail = [], {}
    for name in ("draft", "target"):
        found, detail[name] = measure(name, arguments.questions, arguments.steps, arguments.runs)
        findings += found
        print(f"{name}: {detail[name]['tokens_per_s']}")  # type: ignore[index]
    if importlib.util.find_spec("vllm") is None:
        print("vLLM is not installed here: skipped")
    report(
        "engine", conditions({name: str(ZOO / name) for name in ("draft", "target")}), findings, detail, arguments.out
    )


if __name__ == "__main__":
    main()
