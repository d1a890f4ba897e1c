"""Models of a study before anything is generated: reachable, tokenizer and template fit, context and memory enough."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arbitrage.config.devices import model_devices
from arbitrage.config.models import Model
from arbitrage.config.study import Study
from arbitrage.engines.checkpoints import load_configs, load_tokenizer
from arbitrage.preflight.check_hub import Checkpoint, UnreachableError, checkpoint
from arbitrage.preflight.check_scorers import prm_findings, router_start_findings
from arbitrage.preflight.findings import Finding
from arbitrage.speculation.protocols import EngineError

LIVE_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Load:
    """What one model puts on one device, in bytes: weights, and keys and values of its longest batch."""

    subject: str
    device: str
    weights: int
    cache: int


def model_findings(study: Study, problems: Sequence[str]) -> Iterator[Finding]:
    """Findings on every model, the PRM and the router's start, then on the memory of each device.

    problems: questions as they will be asked; the longest decides whether contexts fit.
    """
    loads: list[Load] = []
    for name, model in study.models.items():
        origin = study.models[model.quantise.model] if model.quantise else model
        yield from _generator(study, f"models.{name}", origin, model, problems, loads)
    prm = _found("prm", study.prm.path, study.prm.revision)
    yield prm[0]
    if prm[1]:
        yield from prm_findings(study, prm[1].directory)
        loads.append(Load("prm", study.prm.device, prm[1].weights or 0, 0))
    start = prm
    if study.router.init:
        start = _found("router.init", study.router.init, study.router.revision)
        yield start[0]
    if start[1]:
        yield from router_start_findings(study, start[1].directory)
        loads.append(Load("router", study.router.device, start[1].weights or 0, 0))
    yield from _memory(loads)


def _generator(
    study: Study, subject: str, origin: Model, model: Model, problems: Sequence[str], loads: list[Load]
) -> Iterator[Finding]:
    assert origin.path is not None, "a model is quantised from one with a path (config/validate.py)"
    finding, found = _found(subject, origin.path, origin.revision, weights=model.server.url is None)
    yield finding
    if found is None:
        return
    try:
        prompts, eos_missing = _prompts(study, found.directory, model, problems)
    except EngineError as error:
        yield Finding(subject, "fault", str(error))
        return
    yield Finding(subject, "ok", f"separator {study.generation.separator!r}, chat template and one BOS")
    if eos_missing:
        yield Finding(subject, "warning", "its tokenizer names no end-of-sequence token; solutions end by length only")
    try:
        config = load_configs(found.directory, weights=False)[0].get_text_config(decoder=True)
    except EngineError as error:
        yield Finding(subject, "fault", str(error))
        return
    longest = max(prompts, default=0)
    yield _context(study, subject, config, longest)
    loads += _loads(study, subject, model, found, config, longest)


def _prompts(study: Study, directory: Path, model: Model, problems: Sequence[str]) -> tuple[list[int], bool]:
    """Lengths of all prompts in ids, and whether there is no end-of-sequence token. Raises EngineError."""
    from arbitrage.engines.prompting import Prompter
    from arbitrage.engines.step_boundary import StopRule

    tokenizer = load_tokenizer(directory, chat=True, weights=False)
    StopRule(tokenizer, study.generation.separator, ())
    prompter = Prompter(str(directory), tokenizer, model)
    return [len(prompter.prompt_ids(problem)) for problem in problems], tokenizer.eos_token_id is None


def _context(study: Study, subject: str, config: Any, longest: int) -> Finding:
    limit = int(getattr(config, "max_position_embeddings", None) or 2**31)
    wanted = longest + study.generation.max_tokens
    if longest >= limit:
        return Finding(subject, "fault", f"the longest prompt has {longest:,} ids, its context {limit:,}; leave it out")
    if wanted > limit:
        return Finding(
            subject,
            "warning",
            f"prompt and solution may take {wanted:,} ids, its context is {limit:,}: such solutions end by length; "
            f"generation.max_tokens of {limit - longest:,} never does",
        )
    return Finding(subject, "ok", f"context {limit:,}, at most {wanted:,} needed")


def _loads(study: Study, subject: str, model: Model, found: Checkpoint, config: Any, longest: int) -> Iterator[Load]:
    """What a model puts on each of its devices. Servers that run elsewhere load nothing; vLLM's cache takes what is
    left and waits where that is little."""
    if model.engine == "openai" and model.server.url is not None:
        return
    bits = model.quantise.bits if model.quantise and model.quantise.method == "gptq" else None
    weights = (found.weights or 0) * (bits or 16) // 16
    heads = int(config.num_attention_heads)
    kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    token = 2 * int(config.num_hidden_layers) * kv_heads * width * LIVE_BYTES[model.dtype]
    paged = model.engine != "transformers"
    cache = 0 if paged else model.batch_size * (longest + study.generation.max_tokens) * token
    devices = model_devices(model)
    for device in devices:
        yield Load(subject, device, weights // len(devices), cache)


def _found(subject: str, path: str, revision: str | None, weights: bool = True) -> tuple[Finding, Checkpoint | None]:
    """Where a checkpoint is, and itself where it is anywhere, with `weights` that can be read."""
    try:
        found = checkpoint(path, revision, weights)
    except UnreachableError as error:
        return Finding(subject, "fault", str(error)), None
    return Finding(subject, "ok", f"{path}: {found.place}"), found


def _memory(loads: Sequence[Load]) -> Iterator[Finding]:
    """One finding a CUDA device: what its models need, against what it has."""
    devices: dict[str, list[Load]] = defaultdict(list)
    for load in loads:
        if load.device.startswith("cuda"):
            devices[load.device].append(load)
    for device, members in sorted(devices.items()):
        weights = sum(load.weights for load in members) / 2**30
        cache = sum(load.cache for load in members) / 2**30
        names = ", ".join(load.subject for load in members)
        needed = f"{names}: {weights:.1f} GiB of weights, up to {cache:.1f} GiB of keys and values at full batches"
        total = device_memory(device)
        if total is None:
            yield Finding(f"device {device}", "warning", f"{needed}; this machine does not have it, so unchecked")
        elif weights > 0.95 * total:
            yield Finding(f"device {device}", "fault", f"{needed}; it has {total:.1f} GiB: use another device or dtype")
        elif weights + cache > 0.95 * total:
            yield Finding(f"device {device}", "warning", f"{needed}; it has {total:.1f} GiB: lower `batch_size`")
        else:
            yield Finding(f"device {device}", "ok", f"{needed}; it has {total:.1f} GiB")


def device_memory(device: str) -> float | None:
    """GiB of a CUDA device of this machine; None where it has no such device."""
    import torch

    index = torch.device(device).index or 0
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        return None
    return float(torch.cuda.get_device_properties(index).total_memory) / 2**30
