"""Fit a router that reads scalars, or the draft's hidden states: in seconds, on the CPU, to all of its data at once.

    fit_scalars("results/lab/router/small/scalars/dataset", "mlp", seed=42, out_dir="router")

The output directory appears whole. It holds model.safetensors, router.json (`engines.scoring.scalar_router`) and
training.json. torch is needed here, and not where the router decides.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from arbitrage.engines.scoring.scalar_router import ROUTER_FILE, ScalarFormat
from arbitrage.engines.weight_files import SINGLE
from arbitrage.io.atomic import whole_directory
from arbitrage.io.tables import read_frame
from arbitrage.routing.label_classes import RoutingError
from arbitrage.routing.losses import loss_function, targets_of
from arbitrage.runtime.paths import REPORT, TRAIN

WIDTH = 32  # of the hidden layer
ROUNDS = 300
PENALTY = 1e-3  # of the squared weights on standardised scalars, beside the mean loss
CONSTANT = 1e-9  # a scalar that varies less is left as it is


def fit_scalars(dataset_dir: str | Path, network: str, seed: int, out_dir: str | Path) -> dict[str, Any]:
    """Fit a router to `dataset_dir`/train.parquet, into `out_dir`; network: `mlp` or `logistic`.

    The same data, seed and number of threads give the same weights, byte for byte. Returns what training.json holds.
    Raises RoutingError where the fit is not finite, TableError where the training part cannot be read.
    """
    begin, folder = time.perf_counter(), Path(dataset_dir)
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    examples = read_frame(folder / TRAIN, "examples")
    values = np.stack(examples["scalars"].to_list()).astype(np.float64)
    mean, spread = values.mean(axis=0), values.std(axis=0)
    scale = np.where(spread > CONSTANT, spread, 1.0)
    targets = torch.from_numpy(targets_of(examples, report["loss"]))
    layers = _layers(values.shape[1], network, seed)
    losses = _fit(layers, torch.from_numpy((values - mean) / scale), targets, loss_function(report["loss"]))
    if not np.isfinite(losses[-1]):
        raise RoutingError(
            f"{folder / TRAIN}: the loss is {losses[-1]} after {len(losses)} rounds; expected a finite number. What it "
            f"reads is too far apart (largest, standardised: {np.abs((values - mean) / scale).max():g}); look at the "
            "columns draft_logprobs and target_logprobs of the table `steps`, and at the table `states`"
        )
    weights = {name: weight.detach().numpy() for name, weight in layers.items()} | {"mean": mean, "scale": scale}
    training_report = {
        "data_sha256": hashlib.sha256((folder / TRAIN).read_bytes()).hexdigest(),
        "kind": report["kind"],
        "network": network,
        "loss": report["loss"],
        "seed": seed,
        "threads": torch.get_num_threads(),
        "optimizer": f"L-BFGS on all examples, {PENALTY:g} times the squared weights beside the loss",
        "examples": len(examples),
        "parameters": int(sum(weight.numel() for weight in layers.values())),
        "updates": len(losses),
        "seconds": round(time.perf_counter() - begin, 3),
        "losses": [{"update": at, "loss": losses[at]} for at in range(0, len(losses), max(len(losses) // 50, 1))],
    }
    form = ScalarFormat(
        kind=report["kind"],
        network=network,
        loss=report["loss"],
        names=tuple(report["names"]),
        state_width=report["state_width"],
    )
    with whole_directory(Path(out_dir)) as directory:
        save_file({name: np.ascontiguousarray(weight) for name, weight in weights.items()}, directory / SINGLE)
        (directory / ROUTER_FILE).write_text(form.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (directory / "training.json").write_text(json.dumps(training_report, indent=2) + "\n", encoding="utf-8")
    return training_report


def _layers(inputs: int, network: str, seed: int) -> dict[str, torch.Tensor]:
    """Weights drawn from the seed, float64, by name: an output layer, and a hidden one before it with `mlp`."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {"hidden": (WIDTH, inputs), "out": (1, WIDTH)} if network == "mlp" else {"out": (1, inputs)}
    layers = {}
    for name, (rows, columns) in sizes.items():
        drawn = torch.randn(rows, columns, generator=generator, dtype=torch.float64) / columns**0.5
        layers[f"{name}.weight"] = drawn.requires_grad_()
        layers[f"{name}.bias"] = torch.zeros(rows, dtype=torch.float64, requires_grad=True)
    return layers


def _fit(layers: dict[str, torch.Tensor], values: torch.Tensor, targets: torch.Tensor, loss_of: Any) -> list[float]:
    """Minimise the loss in place; the mean loss of each round, without the penalty."""
    solver = torch.optim.LBFGS(list(layers.values()), max_iter=ROUNDS, line_search_fn="strong_wolfe")
    losses: list[float] = []

    def closure() -> torch.Tensor:
        solver.zero_grad()
        states = values
        if "hidden.weight" in layers:
            states = torch.tanh(values @ layers["hidden.weight"].T + layers["hidden.bias"])
        logits = states @ layers["out.weight"].T + layers["out.bias"]
        both = torch.cat([torch.zeros_like(logits), logits], dim=1)
        loss: torch.Tensor = loss_of(both, targets) / len(targets)
        losses.append(float(loss.detach()))
        whole = loss + PENALTY * sum(
            weight.square().sum() for name, weight in layers.items() if name.endswith("weight")
        )
        whole.backward()
        return whole

    solver.step(closure)
    return losses
