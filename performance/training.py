"""Tokens a second that the lab's trainings reach on one core, beside the rate of its matrix products.

    python -m performance.training [--steps 6] [--out FILE]

Forward and backward passes on worked solutions, in process CPU time, so that other jobs count for little: with the
arithmetic that trainings use on this CPU (`lab/arithmetic.py`) and with what one would write without thinking, bfloat16
autocast and the default kernel; interleaved, medians. The share of the machine's rate counts 6 operations a weight and
token.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from performance.conditions import Finding, conditions, report

from arbitrage.config.zoo import Zoo
from arbitrage.lab.arithmetic import Arithmetic, arithmetic_for
from arbitrage.lab.batches import worked_solutions
from arbitrage.lab.models import llama_config, new_language_model
from arbitrage.lab.tokenizer import build_tokenizer
from arbitrage.lab.training import language_loss

WAYS = {"ours": arithmetic_for("cpu"), "plain": Arithmetic(torch.bfloat16, "sdpa")}
SPEEDUP = 2.0
SIDE = 1024


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process that `work` takes."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def product_rate(dtype: torch.dtype, rounds: int = 5) -> float:
    """Operations a second of square matrix products, the best of some rounds."""
    left, right = torch.randn(2, SIDE, SIDE).to(dtype)
    left @ right
    return max(2 * SIDE**3 / cpu_seconds(lambda: left @ right) for _ in range(rounds))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6, help="Batches each way")
    parser.add_argument("--out", type=Path, help="JSON; results/benchmarks/training.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    surroundings = conditions()
    zoo = Zoo()
    tokenizer = build_tokenizer(questions=2000)
    shape = (zoo.base.width, zoo.target.layers, zoo.base.heads, zoo.base.inner)
    model = new_language_model(llama_config(tokenizer, *shape), seed=0)
    batches = worked_solutions(tokenizer, "zoo-training", 0, zoo.target.tokens_per_batch)
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    for step in range(options.steps + 1):
        batch = next(batches)
        for name, way in WAYS.items():
            model.set_attn_implementation(way.attention)

            def work() -> None:
                with way.autocast("cpu"):  # noqa: B023 - called at once
                    loss = language_loss(model, batch)  # noqa: B023 - called at once
                loss.backward()
                model.zero_grad()

            seconds = cpu_seconds(work)
            if step:  # the first warms up
                rates[name].append(batch.ids.numel() / seconds)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    products = {"bfloat16": product_rate(torch.bfloat16), "float32": product_rate(torch.float32)}
    weights = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and "embed_tokens" not in name)
    used = str(WAYS["ours"].dtype).removeprefix("torch.")
    findings = [
        Finding(f"the target's training, {used}, {WAYS['ours'].attention} attention", medians["ours"], "tokens/s"),
        Finding("the same, bfloat16 autocast, default attention", medians["plain"], "tokens/s"),
        Finding.at_least("ours / plain", medians["ours"] / medians["plain"], "x", SPEEDUP),
        Finding("matrix products, bfloat16", products["bfloat16"] / 1e9, "GFLOP/s"),
        Finding("matrix products, float32", products["float32"] / 1e9, "GFLOP/s"),
        Finding(f"share of the {used} rate", 600 * weights * medians["ours"] / products[used], "%"),
    ]
    report("training", surroundings, findings, {"tokens_per_second": rates, "shape": shape}, options.out)


if __name__ == "__main__":
    main()
